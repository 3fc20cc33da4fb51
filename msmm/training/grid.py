"""Fits a model to its optimum for each penalty of a grid, and keeps that with the lowest held-out loss.

In the stage's history a penalty has the place of an epoch. The state is saved after each one, so a stage that
was killed repeats one fit at most, and ends with the same bits.
"""

import pathlib
import time
from collections.abc import Sequence

import keras

from msmm.core.errors import UserError
from msmm.core.files import remove
from msmm.core.progress import ProgressBar
from msmm.scoring.borderline import is_better
from msmm.training.log import TrainingLog
from msmm.training.state import STATE, Progress, assign_values, load_state, save_state, values_of
from msmm.training.task import Task

_WORSE = 2  # penalties in a row without a lower held-out loss, after which the rest is left out


def fit_grid(
    task: Task,
    directory: pathlib.Path,
    settings: dict,
    inputs: dict | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> tuple[keras.Model, dict[str, keras.Model], Progress]:
    """Fits `task`, or continues its fit, and returns (model, fitted parts, progress) at the best penalty.

    Arguments and errors are those of `loop.fit_task`; a callback's epoch is a penalty.
    """
    grid = task.grid
    assert grid is not None
    state, owner = directory / STATE, {"settings": settings, "inputs": inputs or {}}
    model, parts = task.build()
    variables = [variable for part in parts.values() for variable in part.variables]
    best = values_of(variables)
    progress, saved = load_state(state, owner) or (Progress(0.0), {})
    if saved:
        best = _restore(state, variables, saved)
        print(f"{task.name}: goes on after λ {progress.epoch} of {len(grid.penalties)}", flush=True)
    else:
        remove(directory / "log")  # of a fit that was killed before its first state
    listeners = keras.callbacks.CallbackList(list(callbacks), model=model, epochs=len(grid.penalties))
    model.stop_training = progress.stopped
    listeners.on_train_begin()
    logs: dict = {}
    with TrainingLog(directory / "log") as log:
        while (
            progress.epoch < len(grid.penalties)
            and progress.epoch - progress.best_epoch < _WORSE
            and not model.stop_training
        ):
            listeners.on_epoch_begin(progress.epoch)
            logs, lower = _fit_penalty(task, model, grid.penalties[progress.epoch], progress, log)
            best = values_of(variables) if lower else best
            listeners.on_epoch_end(progress.epoch - 1, logs)
            progress.stopped = bool(model.stop_training)
            arrays = {f"variable{i}": value for i, value in enumerate(values_of(variables))}
            save_state(state, arrays | {f"best{i}": value for i, value in enumerate(best)}, progress, owner)
    listeners.on_train_end(logs)
    assign_values(variables, best)
    _report(task, progress)
    return model, parts, progress


def _fit_penalty(
    task: Task, model: keras.Model, penalty: float, progress: Progress, log: TrainingLog
) -> tuple[dict[str, float], bool]:
    """Fits the next penalty and returns (logs of callbacks, whether its held-out loss is the lowest)."""
    assert task.grid is not None
    started = time.monotonic()
    place = f"{progress.epoch + 1}/{len(task.grid.penalties)}"
    with ProgressBar(description=f"{task.name} λ {place}", unit="iterations") as bar:
        train = {"l2": penalty, **task.grid.solve(model, penalty, bar.update)}
    figures = task.evaluate(model)[1]
    progress.epoch += 1
    if lower := is_better(-figures["loss"], progress.best):
        progress.best, progress.best_epoch = -figures["loss"], progress.epoch
    seconds = time.monotonic() - started
    progress.seconds += seconds
    progress.history.append({"epoch": progress.epoch, "train": train, "held-out": figures})
    log.epoch(progress.epoch, train, figures)
    shown = "  ".join(f"{key} {value:.2f}" for key, value in figures.items())
    print(
        f"{task.name}: λ {penalty:g} ({place})  loss {train['loss']:.4f}  held-out {shown}  "
        f"({seconds:.1f} s)",
        flush=True,
    )
    return {"loss": train["loss"]} | {f"val_{key}": value for key, value in figures.items()}, lower


def _restore(state: pathlib.Path, variables: list, saved: dict) -> list:
    """Assigns the saved values to the variables, and returns those of the best penalty."""
    groups = [[saved.get(f"{name}{i}") for i in range(len(variables))] for name in ("variable", "best")]
    for values in groups:
        for value, variable in zip(values, variables, strict=True):
            if value is None or value.shape != tuple(variable.shape):
                raise UserError(f"{state} is of another network: --restart begins the stage again")
    assign_values(variables, groups[0])
    return groups[1]


def _report(task: Task, progress: Progress) -> None:
    """Prints the penalty that is kept, and whether a better one may lie outside of the grid."""
    assert task.grid is not None
    penalties = task.grid.penalties
    outside = len(penalties) > 1 and progress.best_epoch in (1, len(penalties))
    print(
        f"{task.name}: λ {penalties[progress.best_epoch - 1]:g} is kept"
        + ", an end of the grid: a wider grid may hold a better one" * outside,
        flush=True,
    )
