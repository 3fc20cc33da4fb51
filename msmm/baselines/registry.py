"""Loads baselines by name from the registry `msmm.configs.baselines.Baselines`, which imports no Keras."""

import importlib
from typing import Any

from msmm.baselines.baseline import Baseline
from msmm.configs.baselines import Baselines, baseline_implementations


def load_baseline(name: str, config: Any = Baselines) -> type[Baseline]:
    """Returns the class of a baseline that the registry of a `Config` (class or instance) names."""
    module, _, cls = baseline_implementations(config)[name].partition(":")
    return getattr(importlib.import_module(module), cls)


def load_baselines(config: Any = Baselines) -> dict[str, type[Baseline]]:
    """Returns name -> class of every baseline, in the order of Table III from its last row up."""
    return {name: load_baseline(name, config) for name in baseline_implementations(config)}
