"""Trains one stage's model: epochs, selection on held-out images, resuming, the guard against divergence.

What an interrupted stage finds when it is called again, in this order:
1. `stage.json`: the stage has finished (its caller looks for that).
2. `state.npz`: it goes on after the last whole epoch, with the same batches as if never interrupted.
3. nothing: it begins.
"""

import dataclasses
import json
import math
import os
import pathlib
import time
import zipfile
from collections.abc import Callable, Iterable

import keras
import numpy as np

from msmm.core.errors import UserError
from msmm.core.files import atomic_write, remove
from msmm.core.progress import ProgressBar
from msmm.models import optimizers
from msmm.scoring.borderline import is_better
from msmm.training.log import TrainingLog

# Each rung is about a third of the one before (decision 5): 0.1, 0.03, 0.01, …
_RUNGS = 9
STATE = "state.npz"  # where an interrupted stage goes on
LAST_GOOD = "last_good.npz"  # the state after the last epoch before the loss was no number


@dataclasses.dataclass(frozen=True)
class Task:
    """What a stage trains, and on what.

    build: gives (model from the batches' x to its output, the parts of it that this stage trains
        by name), fresh and the same at each call.
    loss: of (y, output) -> [B].
    epoch: epoch number -> batches (x, y); where `shared`, also (epoch number, Share) -> a worker's part.
    predict: model -> outputs [n, …] for the n held-out images; held_out_y is their y.
    figures: (model, outputs) -> held-out figures by name; `select` names the one that decides, larger
        better unless `smaller_is_better`; of epochs that are equal but for rounding the first is kept.
    chosen: (model, outputs) -> the labels chosen for held-out images, bool [n, C]; None for a regressor.
    optimizer: (learning rate, steps in all) -> optimiser; None: the paper's (IV-A3).
    kept: parts that belong to the stage as they are, untrained.
    before_evaluation: called with (the parts, the epoch) after each epoch's last step.
    """

    name: str
    build: Callable[[], tuple[keras.Model, dict[str, keras.Model]]]
    loss: Callable
    learning_rate: float
    epochs: int
    steps_per_epoch: int
    epoch: Callable[[int], Iterable]
    predict: Callable[[keras.Model], np.ndarray]
    held_out_y: np.ndarray
    figures: Callable[[keras.Model, np.ndarray], dict[str, float]]
    select: str
    smaller_is_better: bool = False
    chosen: Callable[[keras.Model, np.ndarray], np.ndarray] | None = None
    optimizer: Callable[[float, int], keras.optimizers.Optimizer] | None = None
    kept: dict[str, keras.Model] = dataclasses.field(default_factory=dict)
    before_evaluation: Callable[[dict, int], None] | None = None
    shared: bool = False

    def evaluate(self, model: keras.Model) -> tuple[np.ndarray, dict[str, float]]:
        """Held-out outputs and figures, the loss among them."""
        outputs = self.predict(model)
        if not np.isfinite(outputs).all():
            raise DivergedError("the outputs for held-out images were not finite")
        loss = float(keras.ops.mean(self.loss(self.held_out_y, keras.ops.convert_to_tensor(outputs))))
        figures = {"loss": loss, **self.figures(model, outputs)}
        if not np.isfinite(np.array(list(figures.values()), np.float32)).all():
            raise DivergedError("a held-out figure was beyond float32")
        return outputs, figures


@dataclasses.dataclass
class Progress:
    """Where a stage's training stands after a whole epoch; travels in state.npz."""

    learning_rate: float
    epoch: int = 0
    best_epoch: int = 0
    best: float = -math.inf
    seconds: float = 0.0
    history: list = dataclasses.field(default_factory=list)
    fallbacks: list = dataclasses.field(default_factory=list)


class DivergedError(Exception):
    """The loss is no longer a number."""


def fit(
    task: Task, config, directory: pathlib.Path, settings: dict, inputs: dict | None = None, steps_by=None
) -> tuple[keras.Model, dict, Progress]:
    """Trains `task`, or goes on with it, and returns (model, parts, progress) at the best epoch.

    settings, inputs: what the result depends on, set by people and found; a state left by others raises
    UserError.
    steps_by: (learning rate, model) -> what takes an epoch's steps; `steps_alone` if None.
    """
    state = directory / STATE
    owner = {"settings": settings, "inputs": inputs or {}}
    progress, saved = _load_state(state, owner) or (Progress(task.learning_rate), {})
    for _ in range(_RUNGS):
        model, parts = compiled(task, config, progress.learning_rate)
        variables = [v for part in parts.values() for v in part.variables]
        optimizer = model.optimizer
        steps = steps_by(progress.learning_rate, model) if steps_by else steps_alone(task, model)
        training = _Training(task, config, model, parts, variables, optimizer, state, owner, steps)
        if saved:
            training.restore(saved)
            print(f"{task.name}: goes on after epoch {progress.epoch}", flush=True)
        try:
            if not saved:
                remove(directory / "log")  # of a training that was killed before its first state
            with TrainingLog(directory / "log") as log:
                if not saved:
                    log.graph(model)
                    log.notes(progress.fallbacks)
                training.run(progress, log)
        except DivergedError as diverged:
            last, failure = progress.learning_rate, f"{diverged} at learning rate {progress.learning_rate:g}"
            if progress.epoch:  # some epoch came to its end
                os.replace(state, directory / LAST_GOOD)
            progress, saved = _fall_back(task, progress, failure), {}
            _save(state, {}, progress, owner)
            continue
        _assign(variables, training.best)
        return model, parts, progress
    kept = f"; the weights of the last good epoch are in {directory / LAST_GOOD}"
    raise UserError(
        f"stage {task.name}: no learning rate from {task.learning_rate:g} down to {last:g} works: {failure} "
        f"({', '.join(f'{name}={value}' for name, value in settings.items())})"
        f"{kept if (directory / LAST_GOOD).exists() else ''}; look at the data, or lower "
        f"--{task.name}_learning_rate further"
    )


def compiled(task: Task, config, learning_rate: float) -> tuple[keras.Model, dict[str, keras.Model]]:
    """The task's fresh model, ready for `train_on_batch`, and the parts of it that train."""
    model, parts = task.build()
    optimizer = optimizer_of(task, config, learning_rate, config.weight_decay)
    model.compile(optimizer, loss=task.loss, jit_compile=False)
    optimizer.build(model.trainable_variables)
    return model, parts


def optimizer_of(task: Task, config, learning_rate: float, weight_decay: float):
    """The task's optimiser; weight_decay: of the paper's."""
    steps = task.epochs * task.steps_per_epoch
    if task.optimizer:
        optimizer = task.optimizer(learning_rate, steps)
    else:
        rate = optimizers.schedule(learning_rate, steps)
        optimizer = optimizers.Momentum(rate, config.momentum, weight_decay)
    if config.precision == "float16":  # whose smallest gradients would be 0
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer


def steps_alone(task: Task, model: keras.Model) -> Callable:
    """Takes the steps of an epoch in this process: of its number, the loss and the images of each."""

    def steps(epoch: int) -> Iterable[tuple[float, int]]:
        for x, y in task.epoch(epoch):
            model.reset_metrics()  # or train_on_batch may return a mean over steps
            yield float(model.train_on_batch(x, y)), len(y)

    return steps


@dataclasses.dataclass
class _Training:
    """A task under way at one learning rate."""

    task: Task
    config: object
    model: keras.Model
    parts: dict[str, keras.Model]
    variables: list
    optimizer: keras.optimizers.Optimizer
    state: pathlib.Path
    owner: dict
    steps: Callable[[int], Iterable[tuple[float, int]]]

    def __post_init__(self):
        self.best = _values(self.variables)

    def run(self, progress: Progress, log: TrainingLog) -> None:
        """Epochs until the last one, or until `patience` of them brought nothing."""
        task = self.task
        while progress.epoch < task.epochs and progress.epoch - progress.best_epoch < self.config.patience:
            started = time.monotonic()
            loss, images = self._epoch(progress.epoch)
            speed = images / (time.monotonic() - started)
            with optimizers.averaged(self.model):
                if task.before_evaluation:
                    task.before_evaluation(self.parts, progress.epoch)
                figures = task.evaluate(self.model)[1]
                value = -figures[task.select] if task.smaller_is_better else figures[task.select]
                progress.epoch += 1
                if is_better(value, progress.best):
                    progress.best, progress.best_epoch = value, progress.epoch
                    self.best = _values(self.variables)
            rate = float(keras.ops.convert_to_numpy(self.optimizer.learning_rate))
            train = {"loss": loss, "learning rate": rate, "images per second": speed}
            progress.history.append({"epoch": progress.epoch, "train": train, "held-out": figures})
            progress.seconds += time.monotonic() - started
            log.epoch(progress.epoch, train, figures)
            self._save(progress)
            shown = "  ".join(f"{key} {value:.2f}" for key, value in figures.items())
            print(
                f"{task.name}: epoch {progress.epoch}/{task.epochs}  loss {loss:.4f}  held-out {shown}  "
                f"({speed:.0f} images/s, learning rate {rate:g})",
                flush=True,
            )

    def _epoch(self, epoch: int) -> tuple[float, int]:
        total, images = 0.0, 0
        description = f"{self.task.name} epoch {epoch + 1}/{self.task.epochs}"
        total_steps = self.task.steps_per_epoch
        bar = ProgressBar(self.steps(epoch), description, total=total_steps, unit="steps")
        for step, (loss, size) in enumerate(bar, 1):
            if not math.isfinite(loss):
                raise DivergedError(f"the loss became {loss} in epoch {epoch + 1}, step {step}")
            total, images = total + loss * size, images + size
            if step % 10 == 0:
                bar.note(f"loss {total / images:.3f}")
        # A ReLU can turn NaN into 0, so that the loss of a network full of NaN looks healthy.
        if not all(np.isfinite(v).all() for v in _values(self.model.trainable_variables)):
            raise DivergedError(f"a weight was not finite after epoch {epoch + 1}")
        return total / images, images

    def _groups(self):
        return {"variable": self.variables, "optimizer": self.optimizer.variables, "best": self.best}

    def _save(self, progress: Progress) -> None:
        arrays = {f"{g}{i}": v for g, values in self._groups().items() for i, v in enumerate(_values(values))}
        _save(self.state, arrays, progress, self.owner)

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Puts back what `_save` stored. Raises UserError where it is of another network."""
        groups = {
            name: [arrays.get(f"{name}{i}") for i in range(len(values))]
            for name, values in self._groups().items()
        }
        for name, values in self._groups().items():
            for value, found in zip(_values(values), groups[name], strict=True):
                if found is None or (found.shape, found.dtype) != (value.shape, value.dtype):
                    raise UserError(f"{self.state} is of another network: --restart begins the stage again")
        _assign(self.variables, groups["variable"])
        _assign(self.optimizer.variables, groups["optimizer"])
        self.best = groups["best"]


def _fall_back(task: Task, progress: Progress, failure: str) -> Progress:
    exponent = round(2 * math.log10(progress.learning_rate)) - 1
    lower = float(f"{10 ** (exponent / 2):.0e}")  # 0.1, 0.03, 0.01, 0.003, …
    message = f"{failure}; the stage begins again at {lower:g}"
    print(f"{task.name}: {message}", flush=True)
    return Progress(lower, fallbacks=[*progress.fallbacks, message])


def _values(variables) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(v) for v in variables]


def _assign(variables, values) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _save(path: pathlib.Path, arrays: dict, progress: Progress, owner: dict) -> None:
    """Writes the state so that the file is either the old one or the whole new one."""
    meta = json.dumps({"progress": dataclasses.asdict(progress), **owner})
    with atomic_write(path) as partial:
        np.savez(partial, meta=np.array(meta), **arrays)


def _load_state(path: pathlib.Path, owner: dict) -> tuple[Progress, dict[str, np.ndarray]] | None:
    if not path.exists():
        return None
    try:
        with zipfile.ZipFile(path) as file:  # NumPy alone leaves what it does not read unchecked
            if damaged := file.testzip():
                raise ValueError(f"bad CRC-32 of {damaged}")
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        meta = json.loads(str(arrays.pop("meta")))
        progress, then = Progress(**meta["progress"]), {"inputs": {}, **meta}
    except Exception as error:  # zipfile, NumPy and json each raise their own
        raise UserError(f"{path} is damaged ({error}): --restart begins the stage again") from error
    check_settings(path.parent, then["settings"], owner["settings"])
    if then["inputs"] != owner["inputs"]:
        raise UserError(
            f"{path} is of other data or of other parts that it builds on: --restart begins the stage again"
        )
    return progress, arrays


def check_settings(directory, then: dict, now: dict) -> None:
    """Raises UserError naming the first setting that differs between a stage's earlier run and this one."""
    for name in sorted(set(then) | set(now)):
        if then.get(name) != now.get(name):
            raise UserError(
                f"{directory} was trained with {name}={then.get(name)}, and now {name}={now.get(name)}: "
                "--restart trains the stage again, another --workdir keeps both"
            )
