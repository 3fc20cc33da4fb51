"""The tasks of the stages of Algorithm 1: what each trains, on what data, and how it is evaluated.

`task_building` has what the stages share; stage joint has a file of its own, `joint`.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import keras
import numpy as np

from msmm.configs.base import Config, Finetune
from msmm.configs.modern import head_implementations
from msmm.core.errors import UserError
from msmm.core.progress import ProgressBar
from msmm.data.input_pipeline import WHOLE, batches_of
from msmm.models import optimizers
from msmm.models.backbone import for_any_size, freeze_maps
from msmm.models.precision import set_precision
from msmm.training import batch_norm_statistics, frozen_features, model_parts, task_building
from msmm.training.fast_layers import accelerated
from msmm.training.recompute import recomputed
from msmm.training.run import Run
from msmm.training.stage_table import AUGMENTATION, BEYOND_FINETUNE, needs_statistics, trains_trunk
from msmm.training.task import Task

_HEAD_LEARNING_RATE = 1e-3  # per step of AdamW, of the head that trains before the trunk; usual


def make_finetune_task(run: Run) -> Task:
    """Makes the task of Algorithm 1, line 1: backbone and linear head on images, or the head alone."""
    if not run.config.finetune.trunk:
        return _make_head_of_frozen_trunk_task(run)
    images, labels = run.images("train"), run.split("train").labels
    seed, config = task_building.stage_seed(run, "finetune"), run.config
    settings = config.finetune
    sizes, changes = _parse_sizes(settings.sizes), task_building.augmentation(config)

    def build():
        first = _train_head_alone(run) if settings.head_epochs else None
        backbone, head = task_building.build_fresh_parts(run, "finetune", "backbone", "cnn_head")
        if first:
            head.set_weights(first)
        if settings.frozen_maps:
            freeze_maps(backbone, settings.frozen_maps)
        trunk = for_any_size(backbone) if sizes else backbone
        trunk = recomputed(trunk) if config.recompute else accelerated(trunk)
        return model_parts.build_pooled_model(trunk, head), {"backbone": backbone, "cnn_head": head}

    def batches(epoch, share=WHOLE):
        size = sizes[epoch] if epoch < len(sizes) else config.image_size
        shuffled = images.epoch(
            run.train_rows,
            config.batch_size,
            seed,
            epoch,
            config.flip,
            share,
            augmentation=changes,
            size=size,
        )
        return ((x, labels[rows]) for x, rows in shuffled)

    def reestimate(trained, epoch):
        whole = images.epoch(run.train_rows, config.batch_size, seed, epoch, config.flip)
        batch_norm_statistics.reestimate(trained["backbone"], (x for x, _ in whole), config.bn_batches)

    # The moving statistics are of the last weights, not their average, and of the sizes that were trained on.
    prepare = reestimate if needs_statistics(config) else None
    predict = functools.partial(task_building.predict_held_out_images, run)
    by_paper = settings.optimizer == "momentum" and not settings.ema
    task = task_building.make_classification_task(
        run, "finetune", build, batches, predict, prepare, shareable=by_paper
    )
    if by_paper:
        return task
    optimisation = dataclasses.replace(task.optimisation, make_optimizer=_finetune_optimizer(config))
    return dataclasses.replace(task, optimisation=optimisation)


def _train_head_alone(run: Run) -> list[np.ndarray]:
    """Returns the weights of stage finetune's head, trained on features of the trunk as it comes.

    A new head would distort what a pretrained trunk computes (Kumar et al. 2022, "Fine-tuning can distort
    pretrained features"). Deterministic, so that a resumed training can do it again.
    """
    config, labels = run.config, run.split("train").labels
    backbone, head = task_building.build_fresh_parts(run, "finetune", "backbone", "cnn_head")
    pooled = frozen_features.pretrained_features(run, backbone, "train")
    steps = config.finetune.head_epochs * task_building.steps_per_epoch(run, config.batch_size)
    optimizer = optimizers.adamw(_HEAD_LEARNING_RATE, steps)  # features may be of any size
    head.compile(optimizer, loss=task_building.classification_loss(run, "finetune"), jit_compile=False)
    for epoch in range(config.finetune.head_epochs):
        batches = list(task_building.epoch_batches(run, task_building.stage_seed(run, "head"), epoch))
        description = f"finetune, the head alone, epoch {epoch + 1}/{config.finetune.head_epochs}"
        for rows in ProgressBar(batches, description, unit="steps"):
            head.train_on_batch(pooled[rows], labels[rows])
    return head.get_weights()


def _parse_sizes(sizes: Sequence) -> tuple[int, ...]:
    """Returns the setting `finetune_sizes` as integers.

    Raises:
        UserError: one is not a multiple of 32.
    """
    if not all(str(size).isdecimal() and int(size) % 32 == 0 and int(size) > 0 for size in sizes):
        raise UserError(
            f"expected multiples of 32, such as 128,160, in --finetune_sizes. Received: "
            f"{','.join(map(str, sizes))}"
        )
    return tuple(map(int, sizes))


def _finetune_optimizer(config: Config) -> Callable:
    """Returns (learning rate, total steps) -> the optimiser of stage finetune, beyond the paper."""
    settings = config.finetune

    def make(learning_rate: float, steps: int):
        if settings.optimizer == "adamw":
            return optimizers.adamw(learning_rate, steps, settings.ema)
        rate = optimizers.schedule(learning_rate, steps)
        average = {"use_ema": True, "ema_momentum": settings.ema}
        return optimizers.Momentum(rate, config.momentum, config.weight_decay, **average)

    return make


def _make_head_of_frozen_trunk_task(run: Run) -> Task:
    """Makes the task of stage finetune with a frozen trunk: a linear head on the pooled M_5.

    Raises:
        UserError: a setting of the trunk's training is set, which would have no effect.
    """
    settings, defaults = run.config.finetune, Finetune()
    heads = any(trains_trunk(head, run.config) for head in head_implementations(run.config))
    used = AUGMENTATION if heads else ()  # by modern heads with trunks of their own
    names = [name.removeprefix("finetune_") for name in BEYOND_FINETUNE if name not in used]
    unused = [name for name in names if getattr(settings, name) != getattr(defaults, name)]
    if unused:
        raise UserError(
            "expected --finetune_trunk with settings that only the trunk's training has. Received: "
            f"{', '.join(f'--finetune_{name}' for name in unused)} with a frozen trunk"
        )
    backbone = task_building.build_fresh_parts(run, "finetune", "backbone")[0]
    backbone.trainable = False
    pooled = frozen_features.pretrained_features(run, backbone, "train")
    task = _make_head_task(run, "finetune", "cnn_head", pooled)
    return dataclasses.replace(task, untrained={"backbone": backbone})


def _make_head_task(run: Run, stage: str, part: str, features) -> Task:
    """Makes the task of a stage that trains one linear head, `part`, on features [N, D]."""

    def build():
        head = task_building.build_fresh_parts(run, stage, part)[0]
        return head, {part: head}

    return task_building.make_feature_task(run, stage, build, features)


def make_visual_task(run: Run) -> Task:
    """Makes the task of Algorithm 1, lines 2-3: fusion blocks and head, on the frozen backbone's maps.

    On given features it is the head alone.
    """
    if not run.dataset.has_images:
        return _make_head_task(run, "visual", "visual_head", frozen_features.visual_features(run, "train"))
    labels, seed, config = run.split("train").labels, task_building.stage_seed(run, "visual"), run.config
    views = task_building.load_map_views(run)
    # Over the disk budget the frozen backbone is part of the model, and computes its maps at every step.
    backbone = None
    if views is None:
        backbone = set_precision(model_parts.load_part(run, "backbone"), config.precision)
    images = run.images("train")

    def build():
        multi_scale, head = task_building.build_fresh_parts(run, "visual", "multi_scale", "visual_head")
        _start_from_cnn_head(head, *model_parts.load_part(run, "cnn_head").get_weights())
        inputs, maps = (
            (backbone.input, backbone.output) if backbone else (multi_scale.input, multi_scale.input)
        )
        fusion = accelerated(multi_scale)
        return keras.Model(inputs, head(fusion(maps))), {"multi_scale": multi_scale, "visual_head": head}

    def batches(epoch, share=WHOLE):
        if views is None:
            shuffled = images.epoch(run.train_rows, config.batch_size, seed, epoch, config.flip, share)
            return ((x, labels[rows]) for x, rows in shuffled)
        return (
            (maps, labels[rows]) for maps, rows in task_building.map_batches(run, views, seed, epoch, share)
        )

    def predict(model):
        if views is None:
            return task_building.predict_held_out_images(run, model)
        held_out = batches_of(run.held_out_rows, frozen_features.BATCH)
        return task_building.concatenate_outputs(
            model.predict_on_batch([m[rows] for m in views[0]]) for rows in held_out
        )

    def reestimate(trained, epoch):
        inputs = (x for x, _ in batches(epoch))
        if backbone:
            inputs = (backbone.predict_on_batch(x) for x in inputs)
        batch_norm_statistics.reestimate(trained["multi_scale"], inputs, config.bn_batches)

    prepare = reestimate if config.bn_batches else None
    return task_building.make_classification_task(
        run, "visual", build, batches, predict, prepare, shareable=True
    )


def _start_from_cnn_head(head: keras.Model, kernel: np.ndarray, bias: np.ndarray) -> None:
    """Sets the head of stage visual to CNN's (decision 16); features before those of M_5 get the weight 0."""
    own = np.zeros_like(head.get_weights()[0])
    own[len(own) - len(kernel) :] = kernel
    head.set_weights([own, bias])


def make_textual_task(run: Run) -> Task:
    """Makes the task of Algorithm 1, line 4: the MLP and its head, on tags."""
    return _make_branch_task(run, "textual", "textual", "textual_head", run.split("train").tags)


def make_groups_task(run: Run) -> Task:
    """Makes the task of a third branch, beyond the paper: the MLP of groups and its head, on groups."""
    return _make_branch_task(run, "groups", "groups", "groups_head", run.groups("train"))


def _make_branch_task(run: Run, stage: str, mlp_part: str, head_part: str, vectors: np.ndarray) -> Task:
    def build():
        mlp, head = task_building.build_fresh_parts(run, stage, mlp_part, head_part)
        return keras.Model(mlp.input, head(mlp.output)), {mlp_part: mlp, head_part: head}

    return task_building.make_feature_task(run, stage, build, vectors)


def make_classifier_task(run: Run) -> Task:
    """Makes the task of Algorithm 1, line 5, of the classifier, on [f_v, f_t]."""
    features = frozen_features.concatenated_features(run, "train")
    return _make_head_task(run, "classifier", "classifier", features)


def make_quantity_task(run: Run) -> Task:
    """Makes the task of Algorithm 1, line 5, of the regressor, on [f_v, f_t]."""
    return task_building.make_regression_task(
        run, "quantity", frozen_features.concatenated_features(run, "train")
    )


def make_quantity_visual_task(run: Run) -> Task:
    """Makes the task of the regressor of the rows without tags, on f_v."""
    return task_building.make_regression_task(
        run, "quantity_visual", frozen_features.visual_features(run, "train")
    )


MAKE_TASK: dict[str, Callable[[Run], Task]] = {
    "finetune": make_finetune_task,
    "visual": make_visual_task,
    "textual": make_textual_task,
    "classifier": make_classifier_task,
    "quantity": make_quantity_task,
    "quantity_visual": make_quantity_visual_task,
    "groups": make_groups_task,
}
