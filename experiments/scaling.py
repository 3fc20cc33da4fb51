"""Training on random rows, in a process of its own: seconds an epoch and memory.

For `benchmark_scaling`, which imports this without TensorFlow.
"""

import dataclasses
import itertools
import pathlib
import time
from collections.abc import Sequence

from msmm import command_line

ON_IMAGES = ("finetune", "visual", "joint")
STAGES = ("textual", "classifier", "quantity", "quantity_visual")
METHODS = ("logistic", "tag_neighbour", "sinn", "cnn_rnn", "ria", "sr_cnn_rnn")  # those on features


@dataclasses.dataclass(frozen=True)
class Case:
    """What is trained on how many rows of which widths."""

    of: str
    images: int
    classes: int
    tags: int
    feature_size: int
    steps: int | None = None
    precision: str = "float32"
    batch_size: int = 32
    recompute: bool = False


def cases(first: Case, images: Sequence[int], classes: Sequence[int], tags: Sequence[int]) -> list[Case]:
    """A case, and others that differ from it in one number, of those given."""
    numbers = (
        [("images", n) for n in images] + [("classes", n) for n in classes] + [("tags", n) for n in tags]
    )
    return [first, *(dataclasses.replace(first, **{name: number}) for name, number in numbers)]


def _run(case: Case, folder: str):
    """A run whose other stages count as finished."""
    command_line.import_tensorflow()
    from experiments import synthetic
    from msmm.configs.base import Config
    from msmm.run import Run

    dataset = synthetic.Dataset((("train", case.images), ("test", 64)), case.classes, case.tags)
    if case.of in ON_IMAGES:
        dataset = dataclasses.replace(dataset, side=256)
        settings = {"backbone": "resnet101", "bn_momentum": 0.0, "maps_cache_gib": 0.0}
    else:
        width = case.feature_size // 32  # of the first block, which makes f_v as wide as wanted
        settings = {"backbone": f"resnet-1-1-1-1-w{width}", "image_size": 32, "sr_cnn_rnn_tags": False}
    settings |= {name: getattr(case, name) for name in ("precision", "batch_size", "recompute")}
    config = Config(**settings, weights="none", textual_units=case.feature_size)
    return Run(pathlib.Path(folder), dataset, config)


def prepare(case: Case, folder: str) -> None:
    """Writes the features that the case trains on."""
    run = _run(case, folder)  # imports TensorFlow without its chatter
    from experiments import synthetic

    if case.of in ON_IMAGES:
        synthetic.pretend(run, *["finetune"] * (case.of == "visual"))
        return
    synthetic.pretend_on_features(run)
    kinds = {"textual": (), "classifier": ("visual", "textual"), "quantity": ("visual", "textual")}
    for kind in kinds.get(case.of, ("visual",) if case.of in STAGES else ("cnn",)):
        for split in run.dataset.splits:
            synthetic.fill_features(run, split, kind, case.feature_size)


def measure(case: Case, folder: str) -> list[str]:
    """A row of the table: of, images, classes, tags, seconds, microseconds an image, MiB, MiB."""
    run = _run(case, folder)
    from experiments.measuring import Memory
    from msmm import stages, training

    with Memory() as memory:
        task = stages.stage_of(run, case.of).task(run)
        model, _ = training.compiled(task, run.config, task.learning_rate / 1000)  # no matter what it learns
        steps, first = min(case.steps or task.steps_per_epoch, task.steps_per_epoch), None
        for x, y in itertools.islice(task.epoch(0), steps):
            model.train_on_batch(x, y)
            first = first or time.perf_counter()  # the first step compiles
        spent = (time.perf_counter() - first) / max(1, steps - 1) * task.steps_per_epoch
        if case.of not in ON_IMAGES:  # where that takes minutes, and less memory than a step
            task.evaluate(model)
    sizes = [f"{number:,}" for number in (case.images, case.classes, case.tags)]
    cost = [f"{spent:,.1f}", f"{spent / case.images * 1e6:,.0f}"]
    return [case.of, *sizes, *cost, f"{memory.peak:,.0f}", f"{memory.own:,.0f}"]
