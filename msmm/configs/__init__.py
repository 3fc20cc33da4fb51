"""One file of settings a data set."""

import dataclasses
from collections.abc import Sequence

from msmm.configs import base, baselines, custom, mscoco, nus_wide, openclipart, scenes
from msmm.core.errors import UserError

CONFIGS: dict[str, type[base.Config]] = {
    "scenes": scenes.Config,
    "nus_wide": nus_wide.Config,
    "mscoco": mscoco.Config,
    "openclipart": openclipart.Config,
    "custom": custom.Config,
}


def get_config(name: str) -> base.Config:
    """The settings of a data set by name."""
    if name not in CONFIGS:
        raise UserError(f"unknown config {name!r}: expected one of {', '.join(CONFIGS)}")
    return CONFIGS[name]()


def settings_of(stage: str) -> tuple[str, ...]:
    """The settings of one stage or compared method alone: their names begin with its own."""
    return tuple(f.name for f in dataclasses.fields(base.Config) if f.name.startswith(f"{stage}_"))


def describe(config: base.Config, methods: Sequence[str] = ()) -> list[tuple[str, str, str]]:
    """(setting, value, unit and source) of every field; a changed value says so.

    methods: the compared methods whose settings come too, after the others.
    """
    rows = []
    own = {f.name for f in dataclasses.fields(baselines.Baselines)}
    wanted = {name for method in methods for name in settings_of(method)}
    fields = [f for f in dataclasses.fields(config) if f.name not in own or f.name in wanted]
    for field in fields:
        value = getattr(config, field.name)
        source = (
            field.metadata["help"] if value == field.default else f"set by hand (default {field.default})"
        )
        rows.append((field.name, ",".join(value) if isinstance(value, tuple) else str(value), source))
    return rows
