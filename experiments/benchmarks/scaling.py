"""Measures training on random rows in processes of its own: seconds per epoch and memory.

For `benchmark_scaling`, which imports this file without TensorFlow.
"""

import dataclasses
import itertools
import pathlib
import time
from collections.abc import Sequence

from msmm.core import command_line
from msmm.core.errors import UserError
from msmm.training.stage_table import ON_PIXELS, PAPER_STAGES, STAGES

SHARED = tuple(stage for stage in PAPER_STAGES if stage in ON_PIXELS)  # stages whose steps workers share
METHODS = ("tag_neighbour", "sinn", "cnn_rnn", "ria", "sr_cnn_rnn")  # methods whose steps train on features
FEATURE_KINDS = {"f_v": "visual", "f_t": "textual"}


@dataclasses.dataclass(frozen=True)
class Case:
    """A stage or method, the size of its data, and its settings.

    workers: processes of one core each that share every batch; None: one process on all cores.
    backbone, image_size (pixels): of the stages on images.
    """

    of: str
    images: int
    classes: int
    tags: int
    feature_size: int
    steps: int | None = None
    precision: str = "float32"
    batch_size: int = 32
    recompute: bool = False
    workers: int | None = None
    backbone: str = "resnet101"
    image_size: int = 224


@dataclasses.dataclass(frozen=True)
class Cost:
    """The cost of a case in one process.

    seconds, core_seconds: per epoch. peak, own: memory with and without mapped files, MiB. loss: of the last
    step, over the whole batch.
    """

    seconds: float
    core_seconds: float
    peak: float
    own: float
    loss: float


def make_cases(first: Case, **others: Sequence[int]) -> list[Case]:
    """Returns a case and others that differ from it in one field, name -> values."""
    changed = [(name, value) for name, values in others.items() for value in values]
    return [first, *(dataclasses.replace(first, **{name: value}) for name, value in changed)]


def check_case(case: Case, cores: int) -> None:
    """Raises UserError where a case has impossible workers; cores: the number available."""
    if case.workers is None:
        return
    flag = f"--workers={case.workers}"
    if case.workers < 1:
        raise UserError(f"expected 1 or more. Received: {flag}")
    if case.of not in SHARED:
        raise UserError(
            f"workers share the steps of {' and '.join(SHARED)} alone: expected one of them beside {flag}. "
            f"Received: --of={case.of}"
        )
    if case.batch_size % case.workers:
        raise UserError(f"{flag} cannot share batches of {case.batch_size} equally: choose a --batch_size")
    if case.workers > 1 and case.recompute:
        raise UserError(f"--recompute is for a single process: leave it or {flag} out")
    if case.workers > cores:
        raise UserError(f"{flag} takes as many cores, and this process may choose from {cores}")


def _run(case: Case, folder: str):
    """Returns a run whose other stages count as finished."""
    command_line.import_tensorflow()
    from experiments.benchmarks import synthetic
    from msmm.configs import replace_flat
    from msmm.configs.base import Config
    from msmm.training.run import Run

    dataset = synthetic.SyntheticDataset((("train", case.images), ("test", 64)), case.classes, case.tags)
    if case.of in ON_PIXELS:
        dataset = dataclasses.replace(dataset, side=256)
        settings = {"backbone": case.backbone, "image_size": case.image_size}
        settings |= {"bn_momentum": 0.0, "maps_cache_gib": 0.0, "image_cache_gib": 0.0}
    else:
        width = case.feature_size // 32  # of the first block, which makes f_v as wide as wanted
        settings = {"backbone": f"resnet-1-1-1-1-w{width}", "image_size": 32, "sr_cnn_rnn_tags": False}
    settings |= {name: getattr(case, name) for name in ("precision", "batch_size", "recompute")}
    settings |= {"weights": "none", "textual_units": case.feature_size}
    config = replace_flat(Config(), settings)
    return Run(pathlib.Path(folder), dataset, config)


def prepare_case(case: Case, folder: str) -> None:
    """Writes the features that a case trains on."""
    run = _run(case, folder)  # imports TensorFlow without its chatter
    from experiments.benchmarks import synthetic

    if case.of in ON_PIXELS:
        synthetic.fake_stages(run, *["finetune"] * (case.of == "visual"))
        return
    synthetic.fake_stages_without_parts(run)
    kinds = {"cnn"}  # of a compared method
    if case.of in STAGES:
        kinds = {kind for feature, kind in FEATURE_KINDS.items() if feature in STAGES[case.of].reads}
    for kind in kinds:
        for split in run.dataset.splits:
            synthetic.fill_features(run, split, kind, case.feature_size)


def measure_case(case: Case, folder: str) -> Cost:
    """Trains the steps of a case in this process, which may be a worker of TF_CONFIG."""
    run = _run(case, folder)
    from experiments.benchmarks.measuring import Memory
    from msmm.training import stages

    with Memory() as memory:
        distribution = _distribution(case, run)  # before TensorFlow computes anything
        task = stages.make_task(run, case.of)
        model, taken = _steps(task, run.config, distribution)
        steps = min(case.steps or task.data.steps_per_epoch, task.data.steps_per_epoch)
        loss, _ = next(taken)  # the first step compiles
        clocks = time.perf_counter, time.process_time
        before = [clock() for clock in clocks]
        for loss, _ in itertools.islice(taken, steps - 1):  # noqa: B007 - the last one counts
            pass
        whole = task.data.steps_per_epoch / max(1, steps - 1)
        spent = [(clock() - then) * whole for clock, then in zip(clocks, before, strict=True)]
        if case.of not in ON_PIXELS:  # where that takes minutes, and less memory than a step
            task.evaluate(model)
    return Cost(*spent, memory.peak, memory.own, loss)


def _distribution(case: Case, run):
    if (case.workers or 1) == 1:
        return None
    from msmm.training.distribution import Distribution

    return Distribution("multi_worker", run.config)


def _steps(task, config, distribution):
    """Returns the model, and an iterator of (loss, images) of each step of an epoch."""
    from msmm.training import compiling
    from msmm.training.distribution import Replicas

    rate = (
        task.optimisation.learning_rate / 1000
    )  # no matter what it learns; and losses of others stay comparable
    if distribution and not distribution.is_chief:  # what `stages.follow_chief` does
        distribution.receive_epoch()
        replicas = Replicas(distribution, task, config, rate)
        replicas.assign()
        return None, replicas.steps(0)
    model, _ = compiling.build_compiled(task, config, rate)
    if distribution:
        return model, distribution.steps(task, config, 0, rate, model)(0)
    return model, compiling.local_steps(task, model)(0)


def table_row(case: Case, costs: Sequence[Cost]) -> list[str]:
    """Returns a row: of, images, classes, tags, workers, s, core s, µs per image, MiB, MiB, loss.

    costs: of every worker, the chief first. Core seconds are summed, memory is the largest.
    """
    sizes = [f"{number:,}" for number in (case.images, case.classes, case.tags)]
    seconds = costs[0].seconds
    of_cores = sum(cost.core_seconds for cost in costs)
    spent = [f"{seconds:,.1f}", f"{of_cores:,.1f}", f"{seconds / case.images * 1e6:,.0f}"]
    memory = [f"{max(cost.peak for cost in costs):,.0f}", f"{max(cost.own for cost in costs):,.0f}"]
    return [case.of, *sizes, str(case.workers or "-"), *spent, *memory, f"{costs[0].loss:.6g}"]
