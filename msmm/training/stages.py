"""Trains the stages of `stage_table`, Algorithm 1 stage by stage, and the baselines of Tables III and IV."""

import functools
import hashlib
import json
import math
import pathlib
import shutil
from collections.abc import Callable, Sequence

import keras
import numpy as np

from msmm.configs import flatten, group_names
from msmm.configs.base import Config
from msmm.core import checksums
from msmm.core.errors import UserError
from msmm.core.files import (
    atomic_directory,
    json_bytes,
    lock_directory,
    read_json,
    remove,
    write_bytes,
    write_json,
)
from msmm.scoring.metrics import per_class_f1
from msmm.scoring.ranking_metrics import average_precision
from msmm.training import baseline_tasks, joint, model_parts, stage_table, stage_tasks
from msmm.training.distribution import Distribution, Replicas
from msmm.training.grid import fit_grid
from msmm.training.log import GREEN, TrainingLog, label_lines
from msmm.training.loop import fit_task
from msmm.training.run import Run
from msmm.training.stage_table import COMMON_OPTIONS, COMMON_SETTINGS, JOINT, STAGES, Stage
from msmm.training.state import LAST_GOOD, STATE, check_settings, differing_settings
from msmm.training.task import Task


def train(
    run: Run,
    stage: str,
    restart: bool = False,
    distribution: Distribution | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> None:
    """Trains a stage or baseline, and before it the stages that it needs; does nothing if it has finished.

    A stage whose inputs have been trained again since is trained again, too.

    Args:
        run: what to train on, with which settings, and where.
        stage: a stage of `STAGES` or a baseline.
        restart: discards what this stage (not the stages that it needs) has done before.
        distribution: shares the steps of the stages that train on images.
        callbacks: Keras callbacks for this stage (not for the stages that it needs), see `loop.fit_task`.

    Raises:
        UserError: another process trains this seed, or the stage was trained with other settings.
    """
    with lock_directory(run.directory):
        _train_stage(run, stage, restart, True, distribution, callbacks)


def follow_chief(open_run: Callable[[], Run], distribution: Distribution) -> None:
    """Takes the chief's steps on every other worker, which reads the chief's work directory."""
    replicas: Replicas | None = None
    while message := distribution.receive_epoch():
        number, epoch, learning_rate, fresh = message
        if fresh or replicas is None:
            run = open_run()
            task = make_task(run, list(STAGES)[number])
            replicas = Replicas(distribution, task, run.config, learning_rate)
        replicas.assign()
        for loss, _ in replicas.steps(epoch):
            if not math.isfinite(loss):
                break  # so does the chief, and begins again


def stage_of(run: Run, name: str) -> Stage:
    """Returns the row of a stage or baseline in the table, with the needs that it has in this run."""
    dataset = run.dataset
    if name in STAGES:
        if not dataset.has_images and name in stage_table.ON_IMAGES:
            raise UserError(f"stage {name} trains on images, and {dataset.name!r} was packed from arrays")
        if dataset.arrays == {} and name in stage_table.VISUAL:
            raise UserError(f"stage {name} reads features or maps, and {dataset.name!r} has tags alone")
        return stage_table.resolve_stage(name, run.config, dataset.arrays)
    needs = baseline_tasks.needed_stages(run, name)
    return stage_table.baseline_stage(name, needs, run.config, dataset.has_images)


def make_task(run: Run, name: str) -> Task:
    """Returns the task of a stage or baseline."""
    if name == JOINT:
        return joint.make_joint_task(run)
    if name in STAGES:
        return stage_tasks.MAKE_TASK[name](run)
    return baseline_tasks.make_baseline_task(run, name)


def _train_stage(
    run: Run, stage: str, restart: bool, requested: bool, distribution: Distribution | None, callbacks=()
) -> None:
    """Trains a stage after the stages that it needs; these, not `requested`, print nothing if finished."""
    for needed in stage_of(run, stage).needs:
        _train_stage(run, needed, False, False, distribution)
    directory = run.stage_directory(stage)
    settings, inputs = recorded_settings(run, stage), _input_hashes(run, stage)
    if _is_finished(run, stage, restart, requested, settings, inputs):
        return
    if (directory / "inputs.json").exists() and read_json(directory / "inputs.json") != inputs:
        _remove_stage(directory)  # interrupted, and its inputs have changed since
    write_json(directory / "inputs.json", inputs)
    task, owner = make_task(run, stage), {"dataset": run.dataset.fingerprint, **inputs}
    if task.grid:
        model, trained, progress = fit_grid(task, directory, settings, owner, callbacks)
    else:
        steps = _distributed_steps(run, task, distribution)
        model, trained, progress = fit_task(task, run.config, directory, settings, owner, steps, callbacks)
    outputs, figures = task.evaluate(model)
    _log_end(run, task, model, outputs, progress.best_epoch)
    # Save the parts, then the record, which is the evidence that the stage has finished.
    trained |= task.untrained
    for name, part in trained.items():
        part.save_weights(directory / f"{name}.weights.h5")
    record = json_bytes(
        {
            "settings": settings,
            "inputs": inputs,
            "weights": {name: model_parts.weights_hash(part) for name, part in trained.items()},
            "best_epoch": progress.best_epoch,
            "held-out": figures,
            "learning_rate": progress.learning_rate,
            "fallbacks": progress.fallbacks,
            "seconds": progress.seconds,
            "history": progress.history,
        }
    )
    weights_files = [f"{name}.weights.h5" for name in trained]
    checksums.write(directory, weights_files, {"stage.json": hashlib.sha256(record).hexdigest()})
    write_bytes(directory / "stage.json", record)
    _discard_state(directory)


def _is_finished(run: Run, stage: str, restart: bool, requested: bool, settings: dict, inputs: dict) -> bool:
    """Returns whether nothing is left to train; removes what has to be trained again."""
    directory = run.stage_directory(stage)
    record = None if restart else run.stage_record(stage)
    if restart:
        _remove_stage(directory)
    elif record:
        check_settings(directory, record["settings"], settings)
        if record["inputs"] == inputs:
            _discard_state(directory)  # which a kill may have left behind
            if requested:
                print(
                    f"{stage}: finished earlier (best epoch {record['best_epoch']}, {directory})", flush=True
                )
            return True
        print(f"{stage}: what it builds on has been trained again, so it is trained again", flush=True)
        _remove_stage(directory)
    return False


def _distributed_steps(run: Run, task: Task, distribution: Distribution | None) -> Callable | None:
    """Returns the chief's steps of a task that replicas can share, or None."""
    if not (distribution and task.data.shareable):
        return None
    if len(run.train_rows) < run.config.batch_size:
        raise UserError(
            f"--distribute needs a whole batch: {len(run.train_rows)} images train, and --batch_size is "
            f"{run.config.batch_size}"
        )
    return functools.partial(distribution.steps, task, run.config, list(STAGES).index(task.name))


def _remove_stage(directory: pathlib.Path) -> None:
    """Removes a stage, its evidence first: what a kill leaves of it must not look finished."""
    (directory / "stage.json").unlink(missing_ok=True)
    remove(directory)


def _discard_state(directory: pathlib.Path) -> None:
    for name in (STATE, LAST_GOOD):
        (directory / name).unlink(missing_ok=True)


def adopt_stages(run: Run, other: Run) -> list[str]:
    """Copies the finished paper stages of `other` that `run` would train identically, and returns their
    names.

    other: a run of the same data set and seed. Settings and inputs of a copied stage are the same.
    """
    adopted = []
    for stage in stage_table.PAPER_STAGES:
        record, directory = other.stage_record(stage), run.stage_directory(stage)
        ready = all(run.stage_record(needed) for needed in stage_of(run, stage).needs)
        if directory.exists() or not record or not ready:
            continue
        differing = differing_settings(record["settings"], recorded_settings(run, stage))
        if not differing and record["inputs"] == _input_hashes(run, stage):
            with atomic_directory(directory) as partial:
                source, no_log = other.stage_directory(stage), shutil.ignore_patterns("log")
                shutil.copytree(source, partial, ignore=no_log, dirs_exist_ok=True)
            adopted.append(stage)
    return adopted


def recorded_settings(run: Run, stage: str) -> dict:
    """Returns the settings that a stage depends on, by flat name, as JSON holds them."""
    row, values = stage_of(run, stage), flatten(run.config)
    defaults = flatten(Config())
    options = {*COMMON_OPTIONS, *row.options}
    names = [*COMMON_SETTINGS, *row.settings, *group_names(run.config, row.group)]
    names = [name for name in names if name not in options]
    names += sorted(name for name in options if values[name] != defaults[name])
    names = [name for name in names if name not in row.unread]
    settings = {"seed": run.seed} | {name: values[name] for name in names}
    if "backbone" in names:
        settings |= model_parts.file_hashes(run.config)
    return json.loads(json.dumps(settings))  # tuples to lists, as read back


def _input_hashes(run: Run, stage: str) -> dict[str, str]:
    """Returns part -> weights hash of all parts that a stage builds on."""
    parts = [part for needed in stage_of(run, stage).needs for part in stage_of(run, needed).parts]
    return {part: model_parts.trained_hash(run, part) for part in parts}


def _log_end(run: Run, task: Task, model: keras.Model, outputs: np.ndarray, step: int) -> None:
    """Logs per-class F1, average precision and example images of the finished stage, on held-out images."""
    rows = run.held_out_rows[:16]
    with TrainingLog(run.stage_directory(task.name) / "log") as log:
        if task.evaluation.choose_labels is None:  # a regressor
            m = run.split("train").counts[rows]
            captions = [
                [[(f"m = {t}, predicted {p:.2f}", GREEN)]] for t, p in zip(m, outputs[:16, 0], strict=True)
            ]
        else:
            labels, truth = run.dataset.labels, run.split("train").labels
            chosen = task.evaluation.choose_labels(model, outputs)
            log.per_class(step, labels, per_class_f1(truth[run.held_out_rows], chosen))
            if task.evaluation.rank_labels:
                ap = average_precision(truth[run.held_out_rows], task.evaluation.rank_labels(model, outputs))
                log.per_class(step, labels, ap, "AP")
            captions = [label_lines(t, c, labels) for t, c in zip(truth[rows], chosen[:16], strict=True)]
        if run.dataset.has_images:
            log.examples(step, run.images("train").take(rows), captions)
