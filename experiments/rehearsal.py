"""Rehearses NUS-WIDE from raw files to the report, and measures every step: time, memory, disk, rows/s.

    python -m experiments.rehearsal --rows=2000                          minutes
    python -m experiments.rehearsal --ground_truth=nus_wide_groundtruth  all 269,648 rows, the real labels
    python -m experiments.rehearsal --rows=50000 --classes=5000 --tags=20000
    python -m experiments.rehearsal --rows=2000 --kill                   each step also killed, and continued
    python -m experiments.rehearsal --beside=runs/rehearsal_27000        growth from a smaller rehearsal

Draws the raw files (`experiments.draw_nus_wide`) and packs them, in Apache Beam too where it is installed.
Trains every stage and every compared method with a small trunk at 64 pixels, evaluates, and writes the
report. Every step is a command in a process of its own. "Peak" is the most memory of all its processes
together, "own" the same without mapped files. The table is table.md and table.csv in --folder, the
output of the steps in logs/.
After an interruption the same command continues: finished steps are not repeated.
"""

import pathlib
import shutil
import signal
import sys

from absl import flags

from msmm.core import command_line
from msmm.core.errors import UserError

_ROW_BYTES = 80 * 1024  # of disk: a photograph of 30 KiB, its record, that of Beam, and the runs

_ROWS = flags.DEFINE_integer("rows", 269_648, "Rows of both splits together.", 50)
_CLASSES = flags.DEFINE_integer("classes", 81, "Number of labels, if they are drawn.", 2)
_TAGS = flags.DEFINE_integer("tags", 1000, "Number of tags.", 2)
_GROUND_TRUTH = flags.DEFINE_string("ground_truth", None, "Folder with the real labels. [drawn labels]")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the raw files and of the moments of kills.", 0)
_FOLDER = flags.DEFINE_string("folder", None, "Folder of everything. [runs/rehearsal_<rows>]")
_STEPS = flags.DEFINE_list("steps", [], "Beginnings of names of steps, as tree,pack,stage. [all]")
_KILL = flags.DEFINE_bool("kill", False, "Repeat each step with a kill at a random moment, and let it go on.")
_BESIDE = flags.DEFINE_string("beside", None, "Folder of a smaller rehearsal, to show the growth from it.")
_MEMORY = flags.DEFINE_float("memory_gib", 12.0, "Own memory at which a step is ended, GiB.", 0.1)
_SETTINGS = flags.DEFINE_list("settings", [], "Settings of all runs, as name=value,name=value.")


def main() -> None:
    from experiments.benchmarks.rehearsal_run import KILLED, Rehearsal
    from experiments.benchmarks.rehearsal_steps import TREE, list_steps
    from msmm.core.files import lock_directory, read_json

    if _GROUND_TRUTH.value and flags.FLAGS["classes"].present:
        raise UserError("the real labels of --ground_truth are 81: leave --classes out")
    folder = pathlib.Path(_FOLDER.value or f"runs/rehearsal_{_ROWS.value}")
    smaller = None
    if _BESIDE.value:
        beside = pathlib.Path(_BESIDE.value)
        if not (beside / "steps.json").exists():
            raise UserError(f"no rehearsal in --beside={beside}: expected steps.json there")
        smaller = Rehearsal(beside, read_json(beside / "steps.json")["identity"], 0)
    drawing = {"rows": _ROWS.value, "tags": _TAGS.value, "seed": _SEED.value}
    drawing |= {"ground_truth": _GROUND_TRUTH.value} if _GROUND_TRUTH.value else {"classes": _CLASSES.value}
    draw_flags = tuple(f"--{name}={value}" for name, value in drawing.items())
    settings = _read_settings()
    rehearsal = Rehearsal(folder, {**drawing, "settings": settings}, _MEMORY.value * 2**10)
    steps = _choose(list_steps(folder, folder / TREE, draw_flags, settings))
    killed = []
    if _KILL.value:  # only its first step makes raw files again
        again = folder / KILLED
        lists = (list_steps(again, tree, draw_flags, settings) for tree in (again / TREE, folder / TREE))
        killed = [first if first.name == "tree" else other for first, other in zip(*lists, strict=True)]
    _check_disk(folder)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the step under way is ended too
    with lock_directory(folder):
        rehearsal.run(steps, _choose(killed))
    print(f"\n{rehearsal.write_tables(steps, smaller)}\ntable: {folder / 'table.md'} (and table.csv)")
    if failed := rehearsal.failed(steps):
        print(*failed, sep="\n", file=sys.stderr)
        sys.exit(1)


def _check_disk(folder: pathlib.Path) -> None:
    """Raises UserError where a new rehearsal would fill the disk: after an hour it would be for nothing."""
    if (folder / "data").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    needed, free = _ROWS.value * _ROW_BYTES * (1 + _KILL.value), shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"expected {needed / 2**30:,.0f} GiB of free disk in {folder}, got {free / 2**30:,.0f}: free "
            "some, or choose another --folder"
        )


def _choose(steps: list) -> list:
    """Returns the steps that --steps names, all without it."""
    names = tuple(_STEPS.value)
    unknown = [name for name in names if steps and not any(step.name.startswith(name) for step in steps)]
    if unknown:
        raise UserError(
            f"no step begins with {unknown[0]!r}: choose of {', '.join(step.name for step in steps)}"
        )
    return [step for step in steps if step.name.startswith(names)] if names else steps


def _read_settings() -> dict[str, str]:
    pairs = [text.partition("=") for text in _SETTINGS.value]
    for name, equals, _ in pairs:
        if not equals:
            raise UserError(f"expected name=value in --settings, got {name!r}")
    return {name: value for name, _, value in pairs}


if __name__ == "__main__":
    command_line.run(main)
