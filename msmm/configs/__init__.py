"""One file of settings a data set."""

import dataclasses

from msmm.configs import base, custom, mscoco, nus_wide, openclipart, scenes
from msmm.errors import UserError

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


def describe(config: base.Config) -> list[tuple[str, str, str]]:
    """(setting, value, unit and source) of every field; a changed value says so."""
    rows = []
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        source = (
            field.metadata["help"] if value == field.default else f"set by hand (default {field.default})"
        )
        rows.append((field.name, ",".join(value) if isinstance(value, tuple) else str(value), source))
    return rows
