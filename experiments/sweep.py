"""Chooses settings of a stage or a compared method on held-out images.

    python -m experiments.sweep --of=ria --learning_rate=1e-4,3e-4,1e-3
    python -m experiments.sweep --of=classifier --learning_rate=1e-3,1e-2 --weight_decay=0,1e-4 --seeds=3
    python -m experiments.sweep --of=quantity --learning_rate=0.001,0.01 --dataset=my_photos

Every setting takes several values, separated by commas, and all combinations are trained with every seed. The
settings of --of are written without its name. Prints the table and the chosen values, and never reads a test
image. Trains in runs/<dataset>/sweep/; an interrupted sweep continues when the command is repeated.
"""

import pathlib

from absl import flags

from msmm import run_flags
from msmm.configs import base, flat_settings, replace_flat
from msmm.core import command_line
from msmm.core.command_line import FLAGS
from msmm.core.errors import UserError

_SETTINGS = flat_settings(base.Config)
_FIELDS = {name: setting.field for name, setting in _SETTINGS.items()}
# Every stage and method has a learning rate.
_NAMES = tuple(s.group for s in _SETTINGS.values() if s.group and s.field.name == "learning_rate")


def _short_name(name: str) -> str | None:
    """Returns the name of a setting without the stage or method that it belongs to; None for a shared one."""
    setting = _SETTINGS[name]
    return setting.field.name if setting.group in _NAMES else None


_SHORT_NAMES = sorted({short for name in _FIELDS if (short := _short_name(name)) and short not in _FIELDS})
_OF = flags.DEFINE_enum("of", None, _NAMES, "The stage or method.", required=True)
_BY = flags.DEFINE_string(
    "by", None, "Held-out metric that chooses; default H-F1, of a stage that predicts quantities MSE."
)
_SEEDS = flags.DEFINE_integer("seeds", 1, "How many runs, with seeds --seed, --seed+1, …", lower_bound=1)
for _short in _SHORT_NAMES:
    flags.DEFINE_list(_short, None, f"Values of the setting {_short} of --of.")
for _name, _field in _FIELDS.items():
    flags.DEFINE_list(_name, None, f"[setting] values: {_field.metadata['help']}")
run_flags.define_run_flags()


def main() -> None:
    name, grid, fixed = _OF.value, {}, {}
    for short in _SHORT_NAMES:
        if FLAGS[short].present and f"{name}_{short}" not in _FIELDS:
            known = ", ".join(s for s in _SHORT_NAMES if f"{name}_{s}" in _FIELDS)
            raise UserError(f"expected a setting of {name}, one of {known}. Received: --{short}")
    for flat, field in _FIELDS.items():
        if texts := _given_values(flat):
            values = parse_values(flat, field.default, texts)
            (grid if len(values) > 1 else fixed)[flat] = values
    if not grid:
        raise UserError(
            "expected a setting with several values, as --learning_rate=0.001,0.01 is. Received: "
            f"--of={name} and {len(fixed)} settings with one value"
        )
    config = replace_flat(run_flags.base_config(), {flat: value for flat, (value,) in fixed.items()})
    metric = _BY.value or ("MSE" if name == "quantity" else "H-F1")
    dataset = run_flags.open_dataset()
    from experiments.sections import sweeping
    from experiments.sections.study import publish

    seeds = range(FLAGS.seed, FLAGS.seed + _SEEDS.value)
    workdir = pathlib.Path(FLAGS.workdir or f"runs/{FLAGS.dataset}")
    trials = sweeping.run_trials(dataset, config, name, grid, seeds, workdir)
    page = sweeping.make_report(dataset, config, name, trials, metric, command_line.command())
    publish(page, workdir, f"sweep_{name}")


def _given_values(flat: str) -> list[str] | None:
    """Returns the texts that the command line gives for a setting, by its full or its short name."""
    short = _short_name(flat)
    if short in _SHORT_NAMES and flat == f"{_OF.value}_{short}" and FLAGS[short].present:
        return FLAGS[short].value
    return FLAGS[flat].value if FLAGS[flat].present else None


def parse_values(name: str, default: object, texts: list[str]) -> list:
    """Returns the values of a flag in the type of the setting's default, each once."""
    if isinstance(default, tuple):  # a list itself, so it has one value
        return [tuple(texts)]
    kind = type(default)
    words = {"true": True, "1": True, "false": False, "0": False}
    try:
        values = [words[text.lower()] if kind is bool else kind(text) for text in texts]
    except (KeyError, ValueError):
        received = ",".join(texts)
        raise UserError(
            f"expected --{name} as values of type {kind.__name__}, separated by commas. Received: {received}"
        ) from None
    return list(dict.fromkeys(values))


if __name__ == "__main__":
    command_line.run(main)
