import dataclasses

import pytest

from msmm import configs
from msmm.configs.base import Config
from msmm.configs.baselines import Softmax, Training, baseline, baseline_implementations
from msmm.configs.settings import flat_settings, flatten, group, group_names, replace_flat, setting
from msmm.core.errors import UserError
from msmm.training.stage_table import BEYOND_FINETUNE


@pytest.mark.parametrize("name", configs.CONFIGS)
def test_every_setting_states_its_source_and_fits_its_type(name):
    config = configs.get_config(name)
    base = flat_settings(Config())
    assert flat_settings(config).keys() == base.keys()
    for flat_name, flat in flat_settings(config).items():
        assert len(flat.field.metadata["help"]) > 5
        assert type(flat.value(config)) is type(flat.field.default) is type(base[flat_name].field.default)


@pytest.mark.parametrize("name", configs.CONFIGS)
def test_an_overridden_default_keeps_the_limits_of_its_setting(name):
    config, base = configs.get_config(name), flat_settings(Config())
    for flat_name, flat in flat_settings(config).items():
        limits = [
            {k: v for k, v in f.metadata.items() if k != "help"} for f in (flat.field, base[flat_name].field)
        ]
        assert limits[0] == limits[1], flat_name


@pytest.mark.parametrize(
    ("name", "rates"),
    [("nus_wide", (1e-3, 1e-3, 1e-3, 0.1, 0.1)), ("mscoco", (2e-3, 2e-3, 2e-3, 1e-4, 1e-4))],
)
def test_settings_of_the_paper(name, rates):
    """Section IV-A3."""
    config = configs.get_config(name)
    groups = (config.finetune, config.visual, config.classifier, config.textual, config.quantity)
    assert tuple(settings.learning_rate for settings in groups) == rates
    assert (config.momentum, config.bn_momentum, config.image_size, config.k) == (0.9, 0.9997, 224, 3)
    assert (config.backbone, config.weights, config.finetune.trunk) == ("resnet101", "imagenet", True)


def test_a_derived_config_inherits_overridden_settings():
    """OpenClipart changes the epochs of the regressor, and inherits the learning rate of `custom`."""
    config = configs.get_config("openclipart")
    assert (config.quantity.learning_rate, config.quantity.epochs) == (1e-3, 80)
    assert config.finetune.trunk is False and config.bn_momentum == 0.9997


@pytest.mark.parametrize(
    "wrong",
    [{"batch_size": 0}, {"momentum": 1.0}, {"bn_momentum": -0.1}, {"visual_learning_rate": 0.0},
     {"held_out": -1}, {"image_size": 16}, {"finetune_learning_rate": float("nan")}, {"ria_beam": 0},
     {"weight_decay": -1.0}, {"joint_ema": 1.0}, {"precision": "float64"}, {"tag_neighbour_pool": "test"},
     {"query2label_width": 258}],
)  # fmt: skip
@pytest.mark.parametrize("name", ["nus_wide", "scenes"])
def test_a_setting_out_of_range_is_refused_with_its_name(name, wrong):
    with pytest.raises(UserError, match=f"expected {next(iter(wrong))} "):
        replace_flat(configs.get_config(name), wrong)


def test_an_unknown_setting_is_refused():
    with pytest.raises(TypeError, match="no setting 'visual_epoch'"):
        replace_flat(Config(), {"visual_epoch": 3})


@pytest.mark.parametrize("name", configs.CONFIGS)
def test_flatten_and_replace_flat_are_inverse(name):
    config = configs.get_config(name)
    flat = flatten(config)
    assert flat["visual_epochs"] == config.visual.epochs and flat["sinn_dense"] is config.sinn.dense
    changed = {k: 2 * v for k, v in flat.items() if type(v) is int} | {"backbone_taps": list("abcde")}
    again = replace_flat(config, changed)
    assert flatten(again) == flat | changed | {"backbone_taps": tuple("abcde")}
    assert replace_flat(again, flat) == config


def test_a_group_name_may_be_a_prefix_of_another_group_name():
    @dataclasses.dataclass(frozen=True)
    class SoftmaxX(Training):
        temperature: float = setting(1.0, "divides the logits; a test", above=0)

    @dataclasses.dataclass(frozen=True)
    class Extended(Config):
        softmax_x: SoftmaxX = baseline(SoftmaxX, "tests:SoftmaxX")

    own = group_names(Extended, "softmax")
    assert own == ("softmax_learning_rate", "softmax_epochs")
    assert group_names(Extended, "softmax_x") == (
        "softmax_x_learning_rate", "softmax_x_epochs", "softmax_x_temperature",
    )  # fmt: skip
    config = replace_flat(Extended(), {"softmax_x_epochs": 3, "softmax_epochs": 5})
    assert (config.softmax_x.epochs, config.softmax.epochs) == (3, 5)
    assert list(baseline_implementations(Extended))[-1] == "softmax_x"
    with pytest.raises(UserError, match="expected softmax_x_temperature > 0"):
        replace_flat(config, {"softmax_x_temperature": 0.0})


def test_two_settings_with_one_flat_name_are_refused():
    @dataclasses.dataclass(frozen=True)
    class SoftmaxX(Softmax):
        x_epochs: int = setting(1, "a test")

    @dataclasses.dataclass(frozen=True)
    class Clash(Config):
        softmax: SoftmaxX = group(SoftmaxX)
        softmax_x: Softmax = group(Softmax)

    with pytest.raises(ValueError, match="two settings are called softmax_x_epochs"):
        flat_settings(Clash)


@pytest.mark.parametrize("name", configs.CONFIGS)
def test_extensions_beyond_the_paper_are_off_by_default(name):
    config = configs.get_config(name)
    losses = [getattr(config, stage).loss for stage in ("finetune", "visual", "classifier", "joint")]
    assert losses == ["cross_entropy"] * 4 and config.bias_init == "zeros"
    assert not config.groups and config.precision == "float32"


@pytest.mark.parametrize("name", configs.CONFIGS)
def test_the_trunk_trains_wherever_its_training_has_settings(name):
    trunk = {"nus_wide", "mscoco", "scenes", "coco_photos"}
    finetune, paper = configs.get_config(name).finetune, Config().finetune
    assert finetune.trunk == (name in trunk)
    if not finetune.trunk:
        for flat_name in BEYOND_FINETUNE:
            setting_name = flat_name.removeprefix("finetune_")
            assert getattr(finetune, setting_name) == getattr(paper, setting_name)


def test_an_unknown_config_is_refused():
    with pytest.raises(UserError, match="expected one of scenes"):
        configs.get_config("nuswide")


def test_describe_config_marks_values_set_by_hand():
    config = replace_flat(Config(), {"batch_size": 64, "visual_epochs": 3})
    rows = {name: (value, source) for name, value, source in configs.describe_config(config, ["ria"])}
    assert rows["batch_size"] == ("64", "set by hand (default 32)")
    assert rows["visual_epochs"] == ("3", "set by hand (default 20)")
    assert rows["momentum"][1].endswith("IV-A3")
    assert "ria_order" in rows and "sinn_dense" not in rows
