"""Trains the model of one stage: epochs, selection on held-out images, resuming, the divergence guard.

A stage that is called again continues from the first of these that exists:
1. `stage.json`: the stage has finished (the caller checks that).
2. `state.npz`: training continues after the last whole epoch, bit-equal to an uninterrupted training.
3. neither: training begins.

The loop is the project's own and drives a `keras.callbacks.CallbackList`. `model.fit` was considered instead:
- Each epoch has its own seeded order, shared among workers, while `fit` repeats one data set.
- `fit` reports a float32 running mean of the loss, so recorded figures would change.
- The divergence guard begins again with a new model, which needs a loop around `fit` in any case.
- `BackupAndRestore` deletes its backup after a finished `fit`, and does not record its settings.
- `fit` fails under MultiWorkerMirroredStrategy, and is no faster on a CPU (3.33 s and 3.16 s for 300 steps).
"""

import dataclasses
import math
import os
import pathlib
import time
from collections.abc import Callable, Sequence

import keras
import numpy as np

from msmm.configs.base import Config
from msmm.core.errors import UserError
from msmm.core.files import remove
from msmm.core.progress import ProgressBar
from msmm.models import optimizers
from msmm.scoring.borderline import is_better
from msmm.training.compiling import Steps, build_compiled, drops_on_plateau, local_steps
from msmm.training.log import TrainingLog
from msmm.training.stage_table import settings_group
from msmm.training.state import LAST_GOOD, STATE, Progress, assign_values, load_state, save_state, values_of
from msmm.training.task import DivergedError, Task

# Attempts, each at about a third of the learning rate before (decision 5): 0.1, 0.03, 0.01, …
_ATTEMPTS = 9


def fit_task(
    task: Task,
    config: Config,
    directory: pathlib.Path,
    settings: dict,
    inputs: dict | None = None,
    steps_by: Callable[[float, keras.Model], Steps] | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> tuple[keras.Model, dict[str, keras.Model], Progress]:
    """Trains `task`, or continues its training, and returns (model, trained parts, progress) at the best
    epoch.

    Args:
        task: what is trained.
        config: all settings.
        directory: of the stage; it receives `state.npz` and `log/`.
        settings: recorded settings that the result depends on.
        inputs: hashes of the data and parts that the result depends on.
        steps_by: (learning rate, model) -> the steps of an epoch; None: this process takes them alone.
        callbacks: Keras callbacks. They receive logs of training and of held-out images ("val_…"); every
            attempt of the divergence guard begins with `on_train_begin` and a new model. After
            `model.stop_training` the epoch under way is completed, and the stage ends.

    Raises:
        UserError: the state belongs to other settings or inputs, or no learning rate works.
    """
    state = directory / STATE
    owner = {"settings": settings, "inputs": inputs or {}}
    progress, saved = load_state(state, owner) or (Progress(task.optimisation.learning_rate), {})
    for _ in range(_ATTEMPTS):
        model, parts = build_compiled(task, config, progress.learning_rate)
        steps = steps_by(progress.learning_rate, model) if steps_by else local_steps(task, model)
        training = _Training(task, config, model, parts, state, owner, steps, callbacks)
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
            if progress.epoch:  # at least one epoch was completed
                os.replace(state, directory / LAST_GOOD)
            progress, saved = _fall_back(task, progress, failure), {}
            save_state(state, {}, progress, owner)
            continue
        assign_values(training.variables, training.best)
        return model, parts, progress
    kept = f"; the weights of the last good epoch are in {directory / LAST_GOOD}"
    raise UserError(
        f"stage {task.name}: no learning rate from {task.optimisation.learning_rate:g} down to {last:g} "
        f"works: {failure} ({', '.join(f'{name}={value}' for name, value in settings.items())})"
        f"{kept if (directory / LAST_GOOD).exists() else ''}; look at the data, or lower "
        f"--{settings_group(task.name)}_learning_rate further"
    )


@dataclasses.dataclass
class _Training:
    """The training of a task at one learning rate."""

    task: Task
    config: Config
    model: keras.Model
    parts: dict[str, keras.Model]
    state: pathlib.Path
    owner: dict
    steps: Steps
    callbacks: Sequence[keras.callbacks.Callback]

    def __post_init__(self):
        self.variables = [v for part in self.parts.values() for v in part.variables]
        self.best = values_of(self.variables)
        by_schedule = optimizers.has_schedule(self.model.optimizer)
        self.drops = by_schedule or drops_on_plateau(self.task, self.config)

    def run(self, progress: Progress, log: TrainingLog) -> None:
        """Trains until the last epoch, a callback's stop, or `patience` epochs without a better value.

        Patience is counted after the learning rate drops, so a stage cannot stop earlier. With a constant
        rate it counts from the best epoch.
        """
        optimisation = self.task.optimisation
        callbacks = keras.callbacks.CallbackList(
            list(self.callbacks),
            model=self.model,
            epochs=optimisation.epochs,
            steps=self.task.data.steps_per_epoch,
            verbose=0,
        )
        self.model.stop_training = progress.stopped
        callbacks.on_train_begin()
        logs: dict = {}
        try:
            while (
                progress.epoch < optimisation.epochs
                and not (self._on_plateau(progress) and (progress.drop is not None or not self.drops))
                and not self.model.stop_training
            ):
                logs = self._run_epoch(progress, log, callbacks)
        except DivergedError:
            callbacks.on_train_end(logs)
            raise
        callbacks.on_train_end(logs)

    def _on_plateau(self, progress: Progress) -> bool:
        """Returns whether `patience` epochs since the best one, or since the rate dropped, were no better."""
        return progress.epoch - max(progress.best_epoch, progress.drop or 0) >= self.config.patience

    def _drop_learning_rate(self, progress: Progress) -> None:
        """Divides the learning rate of a head on features by 10, once: on a plateau, or at two thirds."""
        if progress.drop is not None or not drops_on_plateau(self.task, self.config):
            return
        if self._on_plateau(progress) or progress.epoch >= max(1, self.task.optimisation.epochs * 2 // 3):
            self.model.optimizer.learning_rate = progress.learning_rate / 10
            progress.drop = progress.epoch

    def _run_epoch(self, progress: Progress, log: TrainingLog, callbacks) -> dict:
        """Trains and evaluates one epoch, saves the state, and returns the epoch's logs."""
        task, started = self.task, time.monotonic()
        callbacks.on_epoch_begin(progress.epoch)
        loss, images = self._train_epoch(progress.epoch, callbacks)
        speed = images / (time.monotonic() - started)
        with optimizers.averaged(self.model):
            if task.evaluation.prepare:
                task.evaluation.prepare(self.parts, progress.epoch)
            figures = task.evaluate(self.model)[1]
            value = task.evaluation.score(figures)
            progress.epoch += 1
            if is_better(value, progress.best):
                progress.best, progress.best_epoch = value, progress.epoch
                self.best = values_of(self.variables)
        # Record the epoch: history, TensorBoard, callbacks, state, one line for the user.
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        train = {"loss": loss, "learning rate": rate, "images per second": speed}
        progress.history.append({"epoch": progress.epoch, "train": train, "held-out": figures})
        progress.seconds += time.monotonic() - started
        if progress.drop is None and rate < 0.99 * progress.learning_rate:  # by its schedule
            progress.drop = progress.epoch - 1
        log.epoch(progress.epoch, train, figures)
        logs = {"loss": loss, "learning_rate": rate} | {f"val_{key}": v for key, v in figures.items()}
        callbacks.on_epoch_end(progress.epoch - 1, logs)
        progress.stopped = bool(self.model.stop_training)
        self._drop_learning_rate(progress)
        self._save(progress)
        shown = "  ".join(f"{key} {value:.2f}" for key, value in figures.items())
        print(
            f"{task.name}: epoch {progress.epoch}/{task.optimisation.epochs}  loss {loss:.4f}  "
            f"held-out {shown}  ({speed:.0f} images/s, learning rate {rate:g})",
            flush=True,
        )
        return logs

    def _train_epoch(self, epoch: int, callbacks) -> tuple[float, int]:
        """Takes the steps of an epoch and returns (mean loss, images)."""
        total, images = 0.0, 0
        description = f"{self.task.name} epoch {epoch + 1}/{self.task.optimisation.epochs}"
        total_steps = self.task.data.steps_per_epoch
        bar = ProgressBar(self.steps(epoch), description, total=total_steps, unit="steps")
        for step, (loss, size) in enumerate(bar, 1):
            if not math.isfinite(loss):
                raise DivergedError(f"the loss became {loss} in epoch {epoch + 1}, step {step}")
            callbacks.on_train_batch_end(step - 1, {"loss": loss})
            total, images = total + loss * size, images + size
            if step % 10 == 0:
                bar.note(f"loss {total / images:.3f}")
        # A ReLU can turn NaN into 0, so that the loss of a network full of NaN looks healthy.
        if not all(np.isfinite(v).all() for v in values_of(self.model.trainable_variables)):
            raise DivergedError(f"a weight was not finite after epoch {epoch + 1}")
        return total / images, images

    def _saved_groups(self) -> dict[str, list]:
        return {
            "variable": self.variables,
            "optimizer": self.model.optimizer.variables,
            "best": self.best,
        }

    def _save(self, progress: Progress) -> None:
        arrays = {
            f"{group}{i}": value
            for group, values in self._saved_groups().items()
            for i, value in enumerate(values_of(values))
        }
        save_state(self.state, arrays, progress, self.owner)

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Restores what `_save` stored. Raises UserError if the state belongs to another network."""
        restored = {}
        for group, values in self._saved_groups().items():
            restored[group] = [arrays.get(f"{group}{i}") for i in range(len(values))]
            for value, stored in zip(values_of(values), restored[group], strict=True):
                if stored is None or (stored.shape, stored.dtype) != (value.shape, value.dtype):
                    raise UserError(f"{self.state} is of another network: --restart begins the stage again")
        assign_values(self.variables, restored["variable"])
        assign_values(self.model.optimizer.variables, restored["optimizer"])
        self.best = restored["best"]


def _fall_back(task: Task, progress: Progress, failure: str) -> Progress:
    """Returns the progress from which the stage begins again, at about a third of the learning rate."""
    exponent = round(2 * math.log10(progress.learning_rate)) - 1
    lower = float(f"{10 ** (exponent / 2):.0e}")  # 0.1, 0.03, 0.01, 0.003, …
    message = f"{failure}; the stage begins again at {lower:g}"
    print(f"{task.name}: {message}", flush=True)
    return Progress(lower, fallbacks=[*progress.fallbacks, message])
