"""Settings as nested frozen dataclasses: each field states its default, unit, source and limits.

`Config` holds shared settings and one group for each stage and baseline (`config.visual.learning_rate`).
Outside of Python a setting has a flat name, the group's and its own (`visual_learning_rate`): flags,
stage.json and model.json have flat names.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from msmm.core.errors import UserError


def setting(
    default,
    help: str,
    *,
    at_least: float | None = None,
    above: float | None = None,
    below: float | None = None,
    at_most: float | None = None,
    multiple_of: int | None = None,
    choices: Sequence | None = None,
) -> Any:
    """Returns a dataclass field with its help (unit; source) and the limits of its value."""
    limits: dict[str, Any] = {"at_least": at_least, "above": above, "below": below, "at_most": at_most}
    limits |= {"multiple_of": multiple_of, "choices": choices}
    limits = {name: limit for name, limit in limits.items() if limit is not None}
    return dataclasses.field(default=default, metadata={"help": help, **limits})


def fraction(default: float, help: str) -> Any:
    """Returns a field whose value lies in [0, 1)."""
    return setting(default, help, at_least=0, below=1)


def group(kind: type["Settings"], **metadata) -> Any:
    """Returns a field that holds a group of settings with its defaults."""
    return dataclasses.field(default=kind(), metadata=metadata)


def with_defaults(**settings: tuple[Any, str]) -> Any:
    """Returns an inherited group with other defaults, each given as (default, "unit; source")."""
    return _Changes(settings)


@dataclasses.dataclass(frozen=True)
class _Changes:
    settings: Mapping[str, tuple[Any, str]]


class Settings:
    """Base class of `Config` and of its groups. An overridden field keeps the limits of the inherited one."""

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        inherited: dict = {}
        for base in reversed(cls.__mro__[1:]):
            inherited |= getattr(base, "__dataclass_fields__", {})
        for name, value in list(vars(cls).items()):
            if isinstance(value, _Changes):
                value = group(_make_subclass(type(inherited[name].default), value.settings))
                setattr(cls, name, value)
            if isinstance(value, dataclasses.Field) and name in inherited:
                value.metadata = {**inherited[name].metadata, **value.metadata}  # type: ignore[assignment]


def _make_subclass(kind: type, settings: Mapping[str, tuple[Any, str]]) -> type:
    """Returns a subclass of a group with other defaults."""
    types = {field.name: field.type for field in dataclasses.fields(kind)}
    fields: list = [(name, types[name], setting(*value)) for name, value in settings.items()]
    return dataclasses.make_dataclass(kind.__name__, fields, bases=(kind,), frozen=True)


@dataclasses.dataclass(frozen=True)
class FlatSetting:
    """A setting under its flat name; `group` is None for a shared one."""

    name: str
    group: str | None
    field: dataclasses.Field

    def value(self, config) -> Any:
        """Returns the value of the setting in a `Config`."""
        return getattr(getattr(config, self.group) if self.group else config, self.field.name)

    def check(self, value) -> None:
        """Raises UserError if a value is outside of the field's limits."""
        limits = self.field.metadata
        at_least, above, below, at_most = (
            limits.get(name) for name in ("at_least", "above", "below", "at_most")
        )
        choices = limits.get("choices")
        if choices is not None and value not in choices:
            raise UserError(f"expected {self.name} of {', '.join(map(str, choices))}. Received: {value!r}")
        if at_least is not None and below is not None:
            if not at_least <= value < below:
                raise UserError(f"expected {self.name} in [{at_least}, {below}). Received: {value}")
        elif at_least is not None and not value >= at_least:
            raise UserError(f"expected {self.name} >= {at_least}. Received: {value}")
        if above is not None and not value > above:
            raise UserError(f"expected {self.name} > {above}. Received: {value}")
        if at_most is not None and not value <= at_most:
            raise UserError(f"expected {self.name} <= {at_most}. Received: {value}")
        if "multiple_of" in limits and value % limits["multiple_of"]:
            raise UserError(f"expected {self.name} a multiple of {limits['multiple_of']}. Received: {value}")


def flat_settings(config) -> dict[str, FlatSetting]:
    """Returns every setting of a `Config` (class or instance) by its flat name.

    Raises:
        ValueError: two settings have the same flat name.
    """
    flat: dict[str, FlatSetting] = {}
    for flat_setting in _flat_settings(config):
        if flat_setting.name in flat:
            raise ValueError(f"two settings are called {flat_setting.name}")
        flat[flat_setting.name] = flat_setting
    return flat


def _flat_settings(config) -> Iterator[FlatSetting]:
    for field in dataclasses.fields(config):
        if isinstance(field.default, Settings):
            for own in dataclasses.fields(field.default):  # type: ignore[arg-type]
                yield FlatSetting(f"{field.name}_{own.name}", field.name, own)
        else:
            yield FlatSetting(field.name, None, field)


def group_names(config, name: str) -> tuple[str, ...]:
    """Returns the flat names of one group's settings."""
    return tuple(s.name for s in flat_settings(config).values() if s.group == name)


def flatten(config) -> dict[str, Any]:
    """Returns the value of every setting by its flat name."""
    return {name: flat_setting.value(config) for name, flat_setting in flat_settings(config).items()}


ConfigT = TypeVar("ConfigT")


def replace_flat(config: ConfigT, values: Mapping[str, Any]) -> ConfigT:
    """Returns a `Config` with other values for some settings, given by flat name.

    Lists become tuples, as JSON has no tuples.

    Raises:
        TypeError: there is no setting of that name.
        UserError: a value is outside of its limits.
    """
    known = flat_settings(config)
    shared: dict[str, Any] = {}
    groups: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        if name not in known:
            raise TypeError(f"there is no setting {name!r}")
        group, own = known[name].group, known[name].field.name
        values_of_group = shared if group is None else groups.setdefault(group, {})
        values_of_group[own] = tuple(value) if isinstance(value, list) else value
    changed_groups = {name: dataclasses.replace(getattr(config, name), **own) for name, own in groups.items()}
    return dataclasses.replace(config, **shared, **changed_groups)  # type: ignore[type-var]
