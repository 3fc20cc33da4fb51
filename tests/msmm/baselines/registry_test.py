"""What names the compared methods names all of them, in one order."""

import ast

import pytest

from msmm.baselines.registry import METHODS
from msmm.configs.baselines import Baselines
from tests.conftest import ROOT


@pytest.mark.parametrize("door", ["train", "evaluate"])
def test_a_door_offers_every_method(door):
    """Read, not imported: doors share the names of their flags."""
    body = ast.parse((ROOT / "msmm" / f"{door}.py").read_text()).body
    values = [n.value for n in body if isinstance(n, ast.Assign) and n.targets[0].id == "METHODS"]
    assert ast.literal_eval(values[0]) == tuple(METHODS)


def test_every_setting_is_of_a_method_and_every_method_has_a_rate_and_epochs():
    settings = set(Baselines.__dataclass_fields__)
    assert all(any(setting.startswith(f"{name}_") for name in METHODS) for setting in settings)
    assert settings >= {f"{name}_{what}" for name in METHODS for what in ("learning_rate", "epochs")}
