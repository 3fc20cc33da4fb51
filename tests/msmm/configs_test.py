import dataclasses

import pytest

from msmm import configs
from msmm.configs.base import Config
from msmm.core.errors import UserError

RATES = ("finetune", "visual", "classifier", "textual", "quantity")


@pytest.mark.parametrize("name", configs.CONFIGS)
def test_every_setting_states_its_source_and_fits_its_type(name):
    config = configs.get_config(name)
    for field in dataclasses.fields(config):
        assert len(field.metadata["help"]) > 5
        assert type(getattr(config, field.name)) is type(field.default) is type(getattr(Config(), field.name))


@pytest.mark.parametrize(
    ("name", "rates"),
    [("nus_wide", (1e-3, 1e-3, 1e-3, 0.1, 0.1)), ("mscoco", (2e-3, 2e-3, 2e-3, 1e-4, 1e-4))],
)
def test_the_papers_settings(name, rates):
    """Section IV-A3."""
    config = configs.get_config(name)
    assert tuple(getattr(config, f"{stage}_learning_rate") for stage in RATES) == rates
    assert (config.momentum, config.bn_momentum, config.image_size, config.k) == (0.9, 0.9997, 224, 3)
    assert (config.backbone, config.weights, config.finetune_trunk) == ("resnet101", "imagenet", True)


@pytest.mark.parametrize(
    "wrong",
    [{"batch_size": 0}, {"momentum": 1.0}, {"bn_momentum": -0.1}, {"visual_learning_rate": 0.0},
     {"held_out": -1}, {"image_size": 16}, {"finetune_learning_rate": float("nan")}],
)  # fmt: skip
def test_a_setting_out_of_range_is_refused_by_name(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        Config(**wrong)


@pytest.mark.parametrize("name", configs.CONFIGS)
def test_what_is_beyond_the_paper_is_off(name):
    config = configs.get_config(name)
    assert not config.asymmetric_loss and not config.groups and config.precision == "float32"


def test_an_unknown_config_is_refused():
    with pytest.raises(UserError, match="expected one of scenes"):
        configs.get_config("nuswide")


def test_a_value_set_by_hand_is_told_from_the_source():
    rows = {name: (value, source) for name, value, source in configs.describe_config(Config(batch_size=64))}
    assert rows["batch_size"] == ("64", "set by hand (default 32)")
    assert rows["momentum"][1].endswith("IV-A3")
