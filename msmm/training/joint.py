"""Stage joint: all parts of the complete model in one process, by one loss (beyond the paper).

Algorithm 1 trains part after part, for fear of overfitting, and the paper leaves a single process to others.
Here trunk, fusion, MLP and heads train together by `losses.multi_task`. Four measures work against
overfitting: images are mirrored, and heads have dropout on the features (`joint_dropout`). The exponential
moving average of the weights is kept (`joint_ema`), of the epoch that is best on held-out images by the
setting `selection`. The heads on f_v alone, for images without tags, train beside the others. A trunk that
`finetune_trunk` freezes stays as it is.
"""

import functools
from collections.abc import Iterable, Iterator

import keras
import numpy as np

from msmm.core.errors import UserError
from msmm.data.input_pipeline import batches_of
from msmm.models import joint_network, losses, optimizers
from msmm.models.precision import set_precision
from msmm.scoring.metrics import quantity_metrics
from msmm.scoring.predictions import Predictions, choose_labels, round_counts
from msmm.training import batch_norm_statistics, frozen_features, model_parts, selection, task_building
from msmm.training.disk_arrays import DiskRows
from msmm.training.fast_layers import accelerated
from msmm.training.recompute import Segments, recomputed
from msmm.training.run import Run
from msmm.training.stage_table import JOINT, STAGES
from msmm.training.task import Evaluation, Task, TrainingData


def make_joint_task(run: Run) -> Task:
    """Makes the task that trains the complete model at once, on the batches of `_JointInputs`."""
    config, seed = run.config, task_building.stage_seed(run, JOINT)
    if config.groups:
        raise UserError("stage joint has no branch for groups: leave --groups out, or train --stage=all")
    backbone = None
    if not config.finetune.trunk:
        backbone = set_precision(model_parts.load_part(run, "backbone"), config.precision)
    views = task_building.load_map_views(run) if backbone else None
    inputs = _JointInputs(run, views, seed)

    def build():
        trained = _build_fresh(run, with_backbone=backbone is None)
        in_segments = config.recompute
        trunk = backbone or (recomputed if in_segments else accelerated)(trained["backbone"])
        fusion = (Segments if in_segments else accelerated)(trained["multi_scale"])
        maps = trained["multi_scale"].input if views else trunk.output
        first = maps if views else [trunk.input]
        return joint_network.build_joint_network(first, maps, {**trained, "multi_scale": fusion}), trained

    def reestimate(trained, epoch):
        maps = (x for x, _ in inputs.visual_batches(epoch))
        if not views:
            trunk = backbone or trained["backbone"]
            maps = (trunk.predict_on_batch(x) for x in maps)
        batch_norm_statistics.reestimate(trained["multi_scale"], maps, config.bn_batches)

    truth = run.split("train").labels[run.held_out_rows]
    loss = losses.multi_task(task_building.classification_loss(run, JOINT))
    return Task(
        JOINT,
        build,
        TrainingData(inputs.batches, task_building.steps_per_epoch(run, config.batch_size)),
        task_building.stage_optimisation(
            run, JOINT, loss, functools.partial(optimizers.adamw, ema=config.joint.ema)
        ),
        Evaluation(
            inputs.predict_held_out,
            truth,
            measure=functools.partial(_measure, truth),
            **selection.select_by(config, truth),
            choose_labels=functools.partial(_choose_labels, truth.shape[1]),
            rank_labels=lambda model, outputs: outputs[:, : truth.shape[1]],
            prepare=reestimate if config.bn_batches else None,
        ),
        untrained={"backbone": backbone} if backbone else {},
    )


class _JointInputs:
    """The batches of stage joint: x is [images uint8 or the frozen trunk's five maps …, tags float32 [B, T]].

    Args:
        run: the run.
        views: the frozen trunk's maps of the training images, see `load_map_views`; None: x has images.
        seed: of order and mirroring.
    """

    def __init__(self, run: Run, views: list[list[DiskRows]] | None, seed: int):
        self._run, self._views, self._seed = run, views, seed
        self._images, self._split = run.images("train"), run.split("train")

    def batches(self, epoch: int) -> Iterator[tuple[list, np.ndarray]]:
        """Yields (x, labels bool [B, C]) of an epoch."""
        for x, rows in self.visual_batches(epoch):
            yield self._add_tags(x, rows), self._split.labels[rows]

    def visual_batches(self, epoch: int) -> Iterator[tuple]:
        """Returns an iterator over (images or maps, row numbers) of an epoch's batches."""
        run, config = self._run, self._run.config
        if self._views:
            return task_building.map_batches(run, self._views, self._seed, epoch)
        return self._images.epoch(run.train_rows, config.batch_size, self._seed, epoch, config.flip)

    def predict_held_out(self, model: keras.Model) -> np.ndarray:
        """Returns the model's outputs for the held-out images."""
        held_out = list(batches_of(self._run.held_out_rows, frozen_features.BATCH))
        pixels: Iterable
        if self._views:
            pixels = ([m[rows] for m in self._views[0]] for rows in held_out)
        else:
            pixels = self._images.ordered(frozen_features.BATCH, rows=self._run.held_out_rows)
        return task_building.concatenate_outputs(
            model.predict_on_batch(self._add_tags(x, rows)) for x, rows in zip(pixels, held_out, strict=True)
        )

    def _add_tags(self, x, rows: np.ndarray) -> list:
        return [*(x if self._views else [x]), self._split.tags[rows].astype(np.float32)]


def _build_fresh(run: Run, with_backbone: bool) -> dict[str, keras.Model]:
    """Builds the parts with new weights, the same at each call."""
    names = [part for part in STAGES[JOINT].parts if with_backbone or part != "backbone"]
    fresh = dict(zip(names, task_building.build_fresh_parts(run, JOINT, *names), strict=True))
    f_v, f_t = fresh["multi_scale"].output_shape[1], fresh["textual"].output_shape[1]
    fresh["joining"] = joint_network.build_joining(f_v, f_t, run.config.joint.dropout)
    fresh["weighting"] = joint_network.build_weighting(2 * len(run.dataset.labels) + 2, 4)
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
