"""Loads compared methods by name from their registries, which import no Keras.

These are `msmm.configs.baselines.Baselines` and `msmm.configs.modern.ModernHeads`.
"""

import importlib
from typing import Any

from msmm.baselines.baseline import Baseline
from msmm.baselines.map_head import MapHead
from msmm.configs.baselines import baseline_implementations
from msmm.configs.modern import (
    WITH_TAGS,
    ModernHeads,
    group_of_method,
    head_implementations,
    head_methods,
)


def load_baseline(name: str, config: Any = ModernHeads) -> type[Baseline]:
    """Returns the class of a method that a registry of a `Config` (class or instance) names."""
    implementations = baseline_implementations(config) | head_implementations(config)
    module, _, cls = implementations[group_of_method(name)].partition(":")
    kind = getattr(importlib.import_module(module), cls)
    return kind.with_tags() if name.endswith(WITH_TAGS) else kind


def load_baselines(config: Any = ModernHeads) -> dict[str, type[Baseline]]:
    """Returns name -> class of every baseline, in the order of Table III from its last row up."""
    return {name: load_baseline(name, config) for name in baseline_implementations(config)}


def load_heads(config: Any = ModernHeads) -> dict[str, type[MapHead]]:
    """Returns method -> class of every modern head, without tags and with them."""
    return {name: load_baseline(name, config) for name in head_methods(config)}  # type: ignore[misc]
