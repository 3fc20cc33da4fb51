"""The steps of a rehearsal: commands from raw files to the report, and what each must leave behind."""

import dataclasses
import hashlib
import importlib.util
import json
import pathlib
from collections.abc import Callable

from msmm.configs.baselines import baseline_implementations
from msmm.core import checksums
from msmm.training.stage_table import ON_PIXELS, PAPER_STAGES, settings_group

TREE, PACKED, BEAM, RUNS = "tree", "data", "data_beam", "runs"
METHODS = tuple(baseline_implementations())
# A small trunk that trains, and no caches: at 224 px neither maps nor decoded images would fit into them.
SETTINGS = {
    "config": "custom",
    "finetune_trunk": True,
    "backbone": "resnet-1-1-1-1-w8",
    "weights": "none",
    "image_size": 64,
    "maps_cache_gib": 0,
    "image_cache_gib": 0,
    "logistic_iterations": 20,
}
FEATURE_EPOCHS = 2  # of stages on features; stages on images and compared methods take one


@dataclasses.dataclass(frozen=True)
class Step:
    """A command of a rehearsal.

    Attributes:
        name: what it does.
        command: a module and its arguments.
        rows: the rows that it reads: "all", or those of the split "train" or "test" that were kept.
        result: folder -> what it made, which an interruption must not change; None where that has times.
    """

    name: str
    command: tuple[str, ...]
    rows: str = "all"
    result: Callable[[pathlib.Path], object] | None = None


def list_steps(
    folder: pathlib.Path, tree: pathlib.Path, drawing: tuple[str, ...], settings: dict | None = None
) -> list[Step]:
    """Returns the steps in the order in which they need each other.

    Args:
        folder: of packed data, runs and logs.
        tree: of the raw files.
        drawing: flags of `experiments.draw_nus_wide`.
        settings: in place of `SETTINGS`, and further ones.
    """
    pack = ("tfrecords_tools.pack", "--dataset=nus_wide", f"--raw_dir={tree}")
    beam = (
        "--runner=DirectRunner",
        "--beam_options=direct_num_workers=0,direct_running_mode=multi_processing",
    )
    steps = [
        Step("tree", ("experiments.draw_nus_wide", f"--folder={tree}", *drawing), result=_tree_result(tree)),
        Step("pack", (*pack, f"--data_dir={folder / PACKED}"), result=_pack_result(PACKED)),
    ]
    if importlib.util.find_spec("apache_beam"):
        beam_command = (*pack, f"--data_dir={folder / BEAM}", *beam)
        steps.append(Step("pack, Beam", beam_command, result=_pack_result(BEAM)))
    flags = _run_flags(folder, settings or {})
    for stage in PAPER_STAGES:
        steps.append(_training_step(f"stage {stage}", f"--stage={stage}", stage, flags))
    for method in METHODS:
        steps.append(_training_step(f"method {method}", f"--method={method}", method, flags))
    evaluate = ("msmm.evaluate", *flags)
    steps.append(Step("evaluate", evaluate, "test", _output("evaluate")))
    steps.append(
        Step("evaluate, best rule", (*evaluate, "--quantity=best"), "test", _output("evaluate, best rule"))
    )
    return [*steps, Step("report", ("experiments.reproduce_all", *flags))]


def log_path(folder: pathlib.Path, name: str) -> pathlib.Path:
    """Returns the path of a step's standard output."""
    return folder / "logs" / f"{name.replace(', ', '_').replace(' ', '_')}.out"


def kept_rows(folder: pathlib.Path) -> dict[str, int]:
    """Returns the number of rows of each split that packing kept; none before."""
    report = _packed(folder, PACKED) / "report.json"
    if not report.exists():
        return {}
    splits = json.loads(report.read_text(encoding="utf-8"))["splits"]
    return {split: counts["kept"] for split, counts in splits.items()}


def _run_flags(folder: pathlib.Path, settings: dict) -> tuple[str, ...]:
    epochs = {
        f"{settings_group(stage)}_epochs": 1 if stage in ON_PIXELS else FEATURE_EPOCHS
        for stage in PAPER_STAGES
    }
    epochs |= {f"{method}_epochs": 1 for method in METHODS if method != "logistic"}
    values = {**SETTINGS, **epochs, **settings}
    run = ("--dataset=nus_wide", f"--data_dir={folder / PACKED}", f"--workdir={folder / RUNS}")
    return (*run, *(f"--{name}={value}" for name, value in values.items()))


def _training_step(name: str, flag: str, stage: str, flags: tuple[str, ...]) -> Step:
    def weights(folder: pathlib.Path) -> object:
        record = folder / RUNS / "seed0" / stage / "stage.json"
        return json.loads(record.read_text(encoding="utf-8"))["weights"]

    return Step(name, ("msmm.train", flag, *flags), "train", weights)


def _packed(folder: pathlib.Path, data: str) -> pathlib.Path:
    return folder / data / "nus_wide" / "1.0.0"


def _pack_result(data: str) -> Callable:
    def checksums(folder: pathlib.Path) -> object:
        return json.loads((_packed(folder, data) / "report.json").read_text(encoding="utf-8"))["checksums"]

    return checksums


def _tree_result(tree: pathlib.Path) -> Callable:
    def digest(folder: pathlib.Path) -> object:
        files = sorted(path for path in tree.rglob("*") if path.is_file())
        lines = [f"{path.relative_to(tree)} {path.stat().st_size}\n" for path in files]
        lines += [checksums.sha256(path) for path in files if path.suffix == ".zip"]  # photographs are many
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    return digest


def _output(name: str) -> Callable:
    return lambda folder: log_path(folder, name).read_text(encoding="utf-8")
