"""Stage joint: all parts of the complete model in one process, by one loss (beyond the paper).

Algorithm 1 trains part after part, for fear of overfitting, and the paper leaves a single process to others.
Here trunk, fusion, MLP and heads train together by `losses.multi_task`. Four measures work against
overfitting: images are mirrored, heads have dropout on the features (`joint_dropout`), the exponential moving
average of the weights is kept (`joint_ema`), and the kept epoch is the best on held-out images by the setting
`selection`. The heads on f_v alone, for images without tags, train beside the others. A trunk that
`finetune_trunk` freezes stays as it is.
"""

import functools

import keras
import numpy as np

from msmm.core.errors import UserError
from msmm.data.input_pipeline import batches_of
from msmm.models import losses, one_process, optimizers
from msmm.models.precision import set_precision
from msmm.models.recompute import Segments, recomputed
from msmm.scoring.metrics import quantity_metrics
from msmm.scoring.predictions import Predictions, choose_labels, round_counts
from msmm.training import batch_norm, frozen_features, model_parts, selection, stage_tasks
from msmm.training.fast_layers import accelerated
from msmm.training.run import Run
from msmm.training.stage_table import JOINT, STAGES
from msmm.training.task import Evaluation, Task, TrainingData


def make_joint_task(run: Run) -> Task:
    """Trains the complete model at once. The batches' x is [images or the frozen trunk's maps …, tags]."""
    config, seed = run.config, stage_tasks.stage_seed(run, JOINT)
    if config.groups:
        raise UserError("stage joint has no branch for groups: leave --groups out, or train --stage=all")
    labels, tags, images = run.split("train").labels, run.split("train").tags, run.images("train")
    backbone = None
    if not config.finetune.trunk:
        backbone = set_precision(model_parts.load_part(run, "backbone"), config.precision)
    views = stage_tasks.load_map_views(run) if backbone else None

    def build():
        trained = _build_fresh(run, with_backbone=backbone is None)
        trunk = backbone or accelerated(trained["backbone"])
        fusion = accelerated(trained["multi_scale"])
        if config.recompute:
            trunk, fusion = backbone or recomputed(trunk), Segments(fusion)
        maps = trained["multi_scale"].input if views else trunk.output
        inputs = maps if views else [trunk.input]
        return one_process.network(inputs, maps, {**trained, "multi_scale": fusion}), trained

    def add_tags(x, rows):
        return [*(x if views else [x]), tags[rows].astype(np.float32)]

    def batches(epoch):
        return ((add_tags(x, rows), labels[rows]) for x, rows in visual_batches(epoch))

    def visual_batches(epoch):
        if views:
            return stage_tasks.map_batches(run, views, seed, epoch)
        return images.epoch(run.train_rows, config.batch_size, seed, epoch, config.flip)

    def predict(model):
        held_out = list(batches_of(run.held_out_rows, frozen_features.BATCH))
        if views:
            pixels = ([m[rows].astype(np.float32) for m in views[0]] for rows in held_out)
        else:
            pixels = images.ordered(frozen_features.BATCH, rows=run.held_out_rows)
        return stage_tasks.concatenate_outputs(
            model.predict_on_batch(add_tags(x, rows)) for x, rows in zip(pixels, held_out, strict=True)
        )

    def reestimate(trained, epoch):
        inputs = (x for x, _ in visual_batches(epoch))
        if not views:
            trunk = backbone or trained["backbone"]
            inputs = (trunk.predict_on_batch(x) for x in inputs)
        batch_norm.reestimate(trained["multi_scale"], inputs, config.bn_batches)

    truth = labels[run.held_out_rows]
    loss = losses.multi_task(stage_tasks.classification_loss(run, JOINT))
    return Task(
        JOINT,
        build,
        TrainingData(batches, stage_tasks.steps_per_epoch(run, config.batch_size)),
        stage_tasks.stage_optimisation(
            run, JOINT, loss, functools.partial(optimizers.adamw, ema=config.joint.ema)
        ),
        Evaluation(
            predict,
            truth,
            measure=functools.partial(_measure, truth),
            **selection.select_by(config, truth),
            choose_labels=functools.partial(_choose_labels, truth.shape[1]),
            rank_labels=lambda model, outputs: outputs[:, : truth.shape[1]],
            prepare=reestimate if config.bn_batches else None,
        ),
        untrained={"backbone": backbone} if backbone else {},
    )


def _build_fresh(run: Run, with_backbone: bool) -> dict[str, keras.Model]:
    """Builds the parts with new weights, the same at each call."""
    names = [part for part in STAGES[JOINT].parts if with_backbone or part != "backbone"]
    fresh = dict(zip(names, stage_tasks.build_fresh_parts(run, JOINT, *names), strict=True))
    f_v, f_t = fresh["multi_scale"].output_shape[1], fresh["textual"].output_shape[1]
    fresh["joining"] = one_process.joining(f_v, f_t, run.config.joint.dropout)
    fresh["weighting"] = one_process.weighting(2 * len(run.dataset.labels) + 2, 4)
    return fresh


def _choose_labels(classes: int, model, outputs: np.ndarray) -> np.ndarray:
    counts = round_counts(outputs[:, classes], classes)
    return choose_labels(Predictions(outputs[:, :classes], counts))


def _measure(truth: np.ndarray, model, outputs: np.ndarray) -> dict[str, float]:
    classes = truth.shape[1]
    chosen = _choose_labels(classes, model, outputs)
    figures = selection.held_out_figures(truth, chosen, outputs[:, :classes])
    quantity = quantity_metrics(truth.sum(axis=1), outputs[:, classes])
    return figures | {"Accuracy": quantity["Accuracy"]}
