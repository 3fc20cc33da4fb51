"""Stage joint: all parts of the complete model in one process, by one loss (beyond the paper).

Algorithm 1 trains part after part, for fear of overfitting, and the paper leaves a single process to others.
Here trunk, fusion, MLP and heads train together by `losses.joint`. Against overfitting: images are mirrored,
heads see a part of the features (`joint_dropout`), what is kept is a mean of the weights over the last steps
(`joint_ema`), at the epoch of the best held-out H-F1 with predicted quantities. The heads on f_v alone, which
judge images without tags, train beside the others. A trunk that `finetune_trunk` freezes stays as it came.
"""

import functools

import keras
import numpy as np

from msmm.core.errors import UserError
from msmm.data.input_pipeline import batches_of
from msmm.models import losses, one_process
from msmm.models.precision import set_precision
from msmm.models.recompute import Segments, recomputed
from msmm.scoring.metrics import quantity_metrics
from msmm.scoring.predictions import Annotations, choose, round_counts
from msmm.training import frozen_features, model_parts, stage_tasks
from msmm.training.loop import Task
from msmm.training.run import Run

NAME = "joint"
PARTS = ("multi_scale", "textual", "classifier", "quantity", "visual_head", "visual_quantity")


def task(run: Run) -> Task:
    """Trains the complete model at once. The batches' x is [images or the frozen trunk's maps …, tags]."""
    config, seed = run.config, stage_tasks.stage_seed(run, NAME)
    if config.groups:
        raise UserError("stage joint has no branch for groups: leave --groups out, or train --stage=all")
    labels, tags, images = run.split("train").labels, run.split("train").tags, run.images("train")
    backbone = None
    if not config.finetune_trunk:
        backbone = set_precision(model_parts.load(run, "backbone"), config.precision)
    views = stage_tasks.map_views(run) if backbone else None

    def build():
        trained = _fresh(run, with_backbone=backbone is None)
        trunk, fusion = backbone or trained["backbone"], trained["multi_scale"]
        if config.recompute:
            trunk, fusion = backbone or recomputed(trunk), Segments(fusion)
        maps = trained["multi_scale"].input if views else trunk.output
        inputs = maps if views else [trunk.input]
        return one_process.network(inputs, maps, {**trained, "multi_scale": fusion}), trained

    def with_tags(x, rows):
        return [*(x if views else [x]), tags[rows].astype(np.float32)]

    def epoch(number):
        return ((with_tags(x, rows), labels[rows]) for x, rows in seen(number))

    def seen(number):
        if views:
            return stage_tasks.map_batches(run, views, seed, number)
        return images.epoch(run.train_rows, config.batch_size, seed, number, config.flip)

    def predict(model):
        held_out = list(batches_of(run.held_out_rows, frozen_features.BATCH))
        if views:
            pixels = ([m[rows].astype(np.float32) for m in views[0]] for rows in held_out)
        else:
            pixels = images.ordered(frozen_features.BATCH, rows=run.held_out_rows)
        return stage_tasks.concatenated(
            model.predict_on_batch(with_tags(x, rows)) for x, rows in zip(pixels, held_out, strict=True)
        )

    def reestimate(trained, number):
        batches = (x for x, _ in seen(number))
        if not views:
            trunk = backbone or trained["backbone"]
            batches = (trunk.predict_on_batch(x) for x in batches)
        stage_tasks.reestimate_batch_norm(trained["multi_scale"], batches, config.bn_batches)

    truth = labels[run.held_out_rows]
    return Task(
        name=NAME,
        build=build,
        loss=losses.joint(stage_tasks.classification_loss(run)),
        learning_rate=config.joint_learning_rate,
        epochs=config.joint_epochs,
        steps_per_epoch=max(1, len(run.train_rows) // config.batch_size),
        epoch=epoch,
        predict=predict,
        held_out_y=truth,
        figures=functools.partial(_figures, truth),
        chosen=functools.partial(_chosen, truth.shape[1]),
        select="H-F1",
        optimizer=functools.partial(_optimizer, config),
        kept={"backbone": backbone} if backbone else {},
        before_evaluation=reestimate if config.bn_batches else None,
    )


def _fresh(run: Run, with_backbone: bool) -> dict[str, keras.Model]:
    """The parts with new weights, the same at each call."""
    names = ("backbone",) * with_backbone + PARTS
    fresh = dict(zip(names, stage_tasks.fresh_parts(run, NAME, *names), strict=True))
    f_v, f_t = fresh["multi_scale"].output_shape[1], fresh["textual"].output_shape[1]
    fresh["joining"] = one_process.joining(f_v, f_t, run.config.joint_dropout)
    fresh["weighting"] = one_process.weighting(2 * len(run.dataset.labels) + 2, 4)
    return fresh


def _chosen(classes: int, model, outputs: np.ndarray) -> np.ndarray:
    return choose(Annotations(outputs[:, :classes], round_counts(outputs[:, classes], classes)))


def _figures(truth: np.ndarray, model, outputs: np.ndarray) -> dict[str, float]:
    classes = truth.shape[1]
    metrics = quantity_metrics(truth.sum(axis=1), outputs[:, classes])
    return stage_tasks.held_out_figures(truth, _chosen(classes, model, outputs)) | {
        "Accuracy": metrics["Accuracy"]
    }


def _optimizer(config, learning_rate: float, steps: int) -> keras.optimizers.Optimizer:
    """AdamW, whose steps suit parts that the paper gives rates a hundred times apart; cosine decay to 0."""
    optimizer = keras.optimizers.AdamW(
        keras.optimizers.schedules.CosineDecay(learning_rate, steps),
        weight_decay=_WEIGHT_DECAY,
        global_clipnorm=_CLIP,
        use_ema=config.joint_ema > 0,
        ema_momentum=config.joint_ema,
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta", "log_variance"])
    return optimizer


_WEIGHT_DECAY = 0.01  # of AdamW, times the rate a step; usual
_CLIP = 5.0  # the largest norm of a gradient; early squared errors of the quantity are large
