"""Settings, one file per data set."""

from collections.abc import Sequence

from msmm.configs import base, coco_photos, coco_photos_frozen, custom, mscoco, nus_wide, openclipart, scenes
from msmm.configs.baselines import baseline_implementations
from msmm.configs.modern import group_of_method, head_implementations
from msmm.configs.settings import flat_settings, flatten, group_names, replace_flat
from msmm.core.errors import UserError

__all__ = [
    "CONFIGS",
    "describe_config",
    "flat_settings",
    "flatten",
    "get_config",
    "group_names",
    "replace_flat",
]

CONFIGS: dict[str, type[base.Config]] = {
    "scenes": scenes.Config,
    "nus_wide": nus_wide.Config,
    "mscoco": mscoco.Config,
    "openclipart": openclipart.Config,
    "coco_photos": coco_photos.Config,
    "coco_photos_frozen": coco_photos_frozen.Config,
    "custom": custom.Config,
}


def get_config(name: str) -> base.Config:
    """Returns the settings of a data set by its name."""
    if name not in CONFIGS:
        raise UserError(f"unknown config {name!r}: expected one of {', '.join(CONFIGS)}")
    return CONFIGS[name]()


def describe_config(config: base.Config, baselines: Sequence[str] = ()) -> list[tuple[str, str, str]]:
    """Returns (setting, value, unit and source) of every setting; the source marks values set by hand.

    Args:
        config: the settings.
        baselines: the baselines whose settings are included.
    """
    methods = baseline_implementations(config) | head_implementations(config)
    left_out = set(methods) - set(map(group_of_method, baselines))
    rows = []
    for name, setting in flat_settings(config).items():
        if setting.group in left_out:
            continue
        value, field = setting.value(config), setting.field
        source = (
            field.metadata["help"] if value == field.default else f"set by hand (default {field.default})"
        )
        rows.append((name, ",".join(value) if isinstance(value, tuple) else str(value), source))
    return rows
