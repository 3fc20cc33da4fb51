"""Algorithm 1, stage by stage.

| stage | Algorithm 1 | trains | frozen | loss |
|---|---|---|---|---|
| finetune | line 1 | backbone, cnn_head | | eq. 4 |
| visual | lines 2-3 | multi_scale, visual_head | backbone | eq. 4 |
| textual | line 4 | textual, textual_head | | eq. 4 |
| classifier | line 5 | classifier | backbone, multi_scale, textual | eq. 4 |
| quantity | line 5 | quantity | the same | eq. 5 |
| quantity_visual | rows without tags of Tables I, V | visual_quantity | backbone, multi_scale | eq. 5 |

Beyond the paper, stage joint trains the complete model at once (`msmm.training.joint`), and with the
setting `groups` a stage of that name trains a third branch, as textual does, for classifier and quantity.
The methods of Tables III and IV (`methods.METHODS`) are stages too, which need stage finetune or nothing.
"""

import dataclasses
import functools
import hashlib
import json
import math
import pathlib
import shutil
from collections.abc import Callable

import keras
import numpy as np

from msmm import configs
from msmm.baselines.registry import METHODS
from msmm.configs.base import Config
from msmm.core import checksums
from msmm.core.errors import UserError
from msmm.core.files import atomic_directory, json_bytes, locked, read_json, remove, write_bytes, write_json
from msmm.scoring.metrics import per_class_f1
from msmm.training import baseline_tasks, joint, model_parts, stage_tasks
from msmm.training.distribution import Distribution, Replicas
from msmm.training.log import GREEN, TrainingLog, label_lines
from msmm.training.loop import LAST_GOOD, STATE, Task, check_settings, fit
from msmm.training.run import Run


def train(run: Run, stage: str, restart: bool = False, distribution: Distribution | None = None) -> None:
    """Trains a stage, and first whatever it needs that is not there; does nothing if it has finished.

    A stage whose inputs have been trained anew since is trained again. `restart` discards what
    this stage (not what it needs) has done before. `distribution` shares the steps of the stages that train
    on images. Raises UserError where another process trains this seed.
    """
    with locked(run.directory):
        _train(run, stage, restart, True, distribution)


def follow(open_run: Callable[[], Run], distribution: Distribution) -> None:
    """What every other worker does while the chief trains: the same steps, and no more. It reads the chief's
    work directory, once there is something in it."""
    while told := distribution.told():
        number, epoch, learning_rate, fresh = told
        if fresh:
            run = open_run()
            task = stage_of(run, list(STAGES)[number]).task(run)
            replicas = Replicas(distribution, task, run.config, learning_rate)
        replicas.assign()
        for loss, _ in replicas.steps(epoch):
            if not math.isfinite(loss):
                break  # so does the chief, and begins again


def _train(run: Run, stage: str, restart: bool, asked: bool, distribution: Distribution | None) -> None:
    """Not `asked` for, a finished stage says nothing."""
    for needed in stage_of(run, stage).needs:
        _train(run, needed, False, False, distribution)
    directory = run.stage_directory(stage)
    settings, inputs = _settings(run, stage), _inputs(run, stage)
    record = None if restart else run.stage_record(stage)
    if restart:
        _begin_again(directory)
    elif record:
        check_settings(directory, record["settings"], settings)
        if record["inputs"] == inputs:
            _discard_state(directory)  # a kill may have come just before this
            if asked:
                print(
                    f"{stage}: finished earlier (best epoch {record['best_epoch']}, {directory})", flush=True
                )
            return
        print(f"{stage}: what it builds on has been trained anew, so it is trained again", flush=True)
        _begin_again(directory)
    if (directory / "inputs.json").exists() and read_json(directory / "inputs.json") != inputs:
        _begin_again(directory)  # interrupted, and its inputs are no longer those
    write_json(directory / "inputs.json", inputs)
    task = stage_of(run, stage).task(run)
    inputs_found = {"dataset": run.dataset.fingerprint, **inputs}
    steps_by = None
    if distribution and task.shared:
        if len(run.train_rows) < run.config.batch_size:
            raise UserError(
                f"--distribute needs a whole batch: {len(run.train_rows)} images train, and --batch_size is "
                f"{run.config.batch_size}"
            )
        number = list(STAGES).index(stage)
        steps_by = functools.partial(distribution.steps, task, run.config, number)
    model, trained, progress = fit(task, run.config, directory, settings, inputs_found, steps_by)
    outputs, figures = task.evaluate(model)
    _log_end(run, task, model, outputs, progress.best_epoch)
    trained |= task.kept
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
    checksums.write(
        directory,
        [f"{name}.weights.h5" for name in trained],
        {"stage.json": hashlib.sha256(record).hexdigest()},
    )
    write_bytes(directory / "stage.json", record)
    _discard_state(directory)


def _begin_again(directory: pathlib.Path) -> None:
    """Removes a stage, its evidence first: what a kill leaves of it must not look finished."""
    (directory / "stage.json").unlink(missing_ok=True)
    remove(directory)


def _discard_state(directory: pathlib.Path) -> None:
    for name in (STATE, LAST_GOOD):
        (directory / name).unlink(missing_ok=True)


def adopt(run: Run, other: Run) -> list[str]:
    """Copies the finished stages of `other`, a run of the same data set and seed, that `run` would train
    just so: same settings, same inputs. Returns their names."""
    found = []
    for stage in STAGES:
        record, directory = other.stage_record(stage), run.stage_directory(stage)
        ready = all(run.stage_record(needed) for needed in stage_of(run, stage).needs)
        if directory.exists() or not record or not ready:
            continue
        if (record["settings"], record["inputs"]) == (_settings(run, stage), _inputs(run, stage)):
            with atomic_directory(directory) as partial:
                of_other, no_log = other.stage_directory(stage), shutil.ignore_patterns("log")
                shutil.copytree(of_other, partial, ignore=no_log, dirs_exist_ok=True)
            found.append(stage)
    return found


def _settings(run: Run, stage: str) -> dict:
    own = configs.settings_of(stage_tasks.settings_prefix(stage))
    names = (*_COMMON, *stage_of(run, stage).settings, *own)
    options = (*_OPTIONS, *stage_of(run, stage).options)
    names += tuple(name for name in options if getattr(run.config, name) != getattr(Config, name))
    values = {name: getattr(run.config, name) for name in names}
    return json.loads(json.dumps({"seed": run.seed, **values}))  # tuples to lists, as read back


def _inputs(run: Run, stage: str) -> dict:
    trained = model_parts.STAGE_OF | model_parts.OF_GROUPS
    needed = [part for part, trainer in trained.items() if trainer in stage_of(run, stage).needs]
    return {part: model_parts.trained_hash(run, part) for part in needed}


def _log_end(run: Run, task: Task, model: keras.Model, outputs: np.ndarray, step: int) -> None:
    """Per-class F1 and example images of the finished stage, on held-out images."""
    rows = run.held_out_rows[:16]
    with TrainingLog(run.stage_directory(task.name) / "log") as log:
        if task.chosen is None:  # a regressor
            m = run.split("train").counts[rows]
            captions = [
                [[(f"m = {t}, predicted {p:.2f}", GREEN)]] for t, p in zip(m, outputs[:16, 0], strict=True)
            ]
        else:
            labels, truth = run.dataset.labels, run.split("train").labels
            chosen = task.chosen(model, outputs)
            log.per_class(step, labels, per_class_f1(truth[run.held_out_rows], chosen))
            captions = [label_lines(t, c, labels) for t, c in zip(truth[rows], chosen[:16], strict=True)]
        log.examples(step, run.images("train").take(rows), captions)


@dataclasses.dataclass(frozen=True)
class Stage:
    """needs: stages that must have finished; task: run -> Task; settings: config fields it depends on,
    beside those that begin with its name; options: more of them, beyond the paper, which count where they
    are not the default, so that a stage that finished before they were thought of is still finished."""

    needs: tuple[str, ...]
    task: Callable[[Run], Task]
    settings: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


_COMMON = ("batch_size", "momentum", "weight_decay", "held_out", "patience")
_LOSS = configs.settings_of("asymmetric")
# They count where they are not the default: what finished before there was a choice is still finished.
_OPTIONS = ("precision",)
_IMAGE = ("backbone", "weights", "backbone_taps", "preprocessing", "image_size", "flip", "bn_momentum", "k")
_JOINT = ("finetune_trunk", "bn_batches", "textual_units", "textual_dropout")
STAGES: dict[str, Stage] = {
    "finetune": Stage((), stage_tasks.finetune, _IMAGE),
    "visual": Stage(("finetune",), stage_tasks.visual, (*_IMAGE, "bn_batches")),
    "textual": Stage((), stage_tasks.textual, ("k",)),
    "classifier": Stage(("visual", "textual"), stage_tasks.classifier, ("k",), _LOSS),
    "quantity": Stage(("visual", "textual"), stage_tasks.quantity),
    "quantity_visual": Stage(("visual",), stage_tasks.quantity_visual),
}


def stage_of(run: Run, name: str) -> Stage:
    """A stage of Algorithm 1, one beyond the paper (joint, groups), or a compared method as one."""
    if name == "groups":
        return Stage((), stage_tasks.groups, ("k",))
    if name == joint.NAME:
        needs = () if run.config.finetune_trunk else ("finetune",)
        return Stage(needs, joint.task, (*_IMAGE, *_JOINT), _LOSS)
    if name not in METHODS:
        stage, with_groups = STAGES[name], run.config.groups and name in ("classifier", "quantity")
        if not with_groups:
            return stage
        return dataclasses.replace(stage, needs=(*stage.needs, "groups"), options=(*stage.options, "groups"))
    needs = ("finetune",) if baseline_tasks.trunk(run, name) == "finetuned" else ()
    return Stage(needs, functools.partial(baseline_tasks.task, name=name), (*_IMAGE, "finetune_trunk"))
