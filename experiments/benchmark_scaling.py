"""What stages and compared methods on stored features cost: time and memory against images, classes and tags.

    python -m experiments.benchmark_scaling                                  NUS-WIDE's size, every stage
    python -m experiments.benchmark_scaling --of=sinn,tag_neighbour --steps=200
    python -m experiments.benchmark_scaling --images=20000,40000,80000 --classes=81,324 --tags=1000,4000

On random rows. The first of --images, --classes and --tags is the size from which one is changed at a time.
Each case is a process of its own, which trains an epoch and evaluates on the held-out images. "Peak" is the
most memory that it held; "own" is that without files that it has mapped, whose pages the system takes back
when it needs them.
"""

import dataclasses
import multiprocessing
import pathlib
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor

from absl import flags

from msmm import command_line
from msmm.errors import UserError

STAGES = ("textual", "classifier", "quantity", "quantity_visual")
METHODS = ("logistic", "tag_neighbour", "sinn", "cnn_rnn", "ria", "sr_cnn_rnn")  # those on features

_OF = flags.DEFINE_multi_enum("of", STAGES, STAGES + METHODS, "What to train; may be given several times.")
_IMAGES = flags.DEFINE_list("images", ["150000"], "Numbers of training images.")
_CLASSES = flags.DEFINE_list("classes", ["81"], "Numbers of classes.")
_TAGS = flags.DEFINE_list("tags", ["1000"], "Numbers of tags.")
_WIDTH = flags.DEFINE_integer("feature_size", 2048, "Numbers in f_v, and in f_t.", 1)
_STEPS = flags.DEFINE_integer(
    "steps", None, "Stop the epoch after so many steps, and tell its time from them.", 2
)
_FOLDER = flags.DEFINE_string("folder", None, "Where to write, and clean up after. [the system's]")


@dataclasses.dataclass(frozen=True)
class Case:
    """What is trained on how many rows of which widths."""

    of: str
    images: int
    classes: int
    tags: int
    feature_size: int
    steps: int | None = None


def main() -> None:
    from experiments import measuring

    context = multiprocessing.get_context("spawn")
    columns = ["of", "images", "classes", "tags", "s an epoch", "µs an image", "peak MiB", "own MiB"]
    print(measuring.machine("tensorflow", "keras") + f"; features of {_WIDTH.value:,} numbers\n")
    print(measuring.table(columns, []), flush=True)
    for case in cases(_OF.value, *(_numbers(flag) for flag in (_IMAGES, _CLASSES, _TAGS))):
        with tempfile.TemporaryDirectory(dir=_FOLDER.value) as folder:
            for task in (_prepare, _measure):  # each in a fresh process
                with ProcessPoolExecutor(1, context) as process:
                    row = process.submit(task, case, folder).result()
        print(measuring.row(row), flush=True)


def cases(of, images, classes, tags) -> list[Case]:
    """The first of each, and every other one with all else as there."""
    found = []
    for name in of:
        first = Case(name, images[0], classes[0], tags[0], _WIDTH.value, _STEPS.value)
        found.append(first)
        for field, numbers in (("images", images), ("classes", classes), ("tags", tags)):
            found += [dataclasses.replace(first, **{field: number}) for number in numbers[1:]]
    return found


def _numbers(flag) -> list[int]:
    try:
        return [int(number) for number in flag.value]
    except ValueError as error:
        raise UserError(f"expected numbers in --{flag.name}. Received: {','.join(flag.value)}") from error


def _run(case: Case, folder: str):
    """A run whose other stages count as finished; its images are never read."""
    command_line.import_tensorflow()
    from experiments import synthetic
    from msmm.configs.base import Config
    from msmm.run import Run

    dataset = synthetic.Dataset((("train", case.images), ("test", 64)), case.classes, case.tags)
    settings = {"backbone": "resnet-1-1-1-1-w64", "weights": "none", "image_size": 32}
    config = Config(**settings, textual_units=case.feature_size, sr_cnn_rnn_tags=False)
    return Run(pathlib.Path(folder), dataset, config)


def _prepare(case: Case, folder: str) -> None:
    from experiments import synthetic

    run = _run(case, folder)
    synthetic.pretend_on_features(run)
    kinds = {"textual": (), "classifier": ("visual", "textual"), "quantity": ("visual", "textual")}
    for kind in kinds.get(case.of, ("visual",) if case.of in STAGES else ("cnn",)):
        for split in run.dataset.splits:
            synthetic.fill_features(run, split, kind, case.feature_size)


def _measure(case: Case, folder: str) -> list[str]:
    """A row of the table."""
    run = _run(case, folder)
    import itertools

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
        task.evaluate(model)
    sizes = [f"{number:,}" for number in (case.images, case.classes, case.tags)]
    cost = [f"{spent:,.1f}", f"{spent / case.images * 1e6:,.0f}"]
    return [case.of, *sizes, *cost, f"{memory.peak:,.0f}", f"{memory.own:,.0f}"]


if __name__ == "__main__":
    command_line.run(main)
