"""What each stage of Algorithm 1 trains, on what, and how it is judged: run -> `training.Task`."""

import dataclasses
import functools
import zlib

import keras
import numpy as np

from msmm.data.input_pipeline import WHOLE, batches_of, epoch_flips, epoch_rows
from msmm.models import losses
from msmm.models.precision import set_precision
from msmm.models.recompute import recomputed
from msmm.scoring.metrics import annotation_metrics, quantity_metrics
from msmm.scoring.predictions import Annotations, choose
from msmm.training import frozen_features, model_parts
from msmm.training.loop import Task
from msmm.training.run import Run


def finetune(run: Run) -> Task:
    """Algorithm 1, line 1: the backbone and a linear head on its pooled M_5, on images; or the head alone."""
    if not run.config.finetune_trunk:
        return _head_on_frozen_trunk(run)
    images, labels = run.images("train"), run.split("train").labels

    def build():
        backbone, head = fresh_parts(run, "finetune", "backbone", "cnn_head")
        trunk = recomputed(backbone) if run.config.recompute else backbone
        return model_parts.on_pooled_maps(trunk, head), {"backbone": backbone, "cnn_head": head}

    def epoch(number, share=WHOLE):
        seed, config = stage_seed(run, "finetune"), run.config
        batches = images.epoch(run.train_rows, config.batch_size, seed, number, config.flip, share)
        return ((x, labels[rows]) for x, rows in batches)

    task = _classification(run, "finetune", build, epoch, functools.partial(predict_images, run))
    return dataclasses.replace(task, shared=True)


def _head_on_frozen_trunk(run: Run) -> Task:
    """Stage finetune where the trunk stays as its weights file has it: a linear head on pooled M_5."""
    backbone = fresh_parts(run, "finetune", "backbone")[0]
    backbone.trainable = False
    pooled = frozen_features.pretrained(run, backbone, "train")

    def build():
        head = fresh_parts(run, "finetune", "cnn_head")[0]
        return head, {"cnn_head": head}

    task = _on_features(run, "finetune", build, pooled)
    return dataclasses.replace(task, kept={"backbone": backbone})


def visual(run: Run) -> Task:
    """Algorithm 1, lines 2-3: the fusion blocks and their head, on the frozen backbone's maps."""
    labels, seed, config = run.split("train").labels, stage_seed(run, "visual"), run.config
    views = map_views(run)
    streaming = views is None
    backbone = set_precision(model_parts.load(run, "backbone"), config.precision) if streaming else None
    images = run.images("train")

    def build():
        multi_scale, head = fresh_parts(run, "visual", "multi_scale", "visual_head")
        head.set_weights(model_parts.load(run, "cnn_head").get_weights())  # decision 16
        inputs = backbone.input if streaming else multi_scale.input
        maps = backbone.output if streaming else multi_scale.input
        return keras.Model(inputs, head(multi_scale(maps))), {"multi_scale": multi_scale, "visual_head": head}

    def epoch(number, share=WHOLE):
        if streaming:
            batches = images.epoch(run.train_rows, config.batch_size, seed, number, config.flip, share)
            return ((x, labels[rows]) for x, rows in batches)
        batches = map_batches(run, views, seed, number, share)
        return ((maps, labels[rows]) for maps, rows in batches)

    def predict(model):
        if streaming:
            return predict_images(run, model)
        held_out = batches_of(run.held_out_rows, frozen_features.BATCH)
        return concatenated(
            model.predict_on_batch([m[rows].astype(np.float32) for m in views[0]]) for rows in held_out
        )

    def reestimate(trained, number):
        batches = (x for x, _ in epoch(number))
        if streaming:
            batches = (backbone.predict_on_batch(x) for x in batches)
        reestimate_batch_norm(trained["multi_scale"], batches, config.bn_batches)

    task = _classification(run, "visual", build, epoch, predict, reestimate if config.bn_batches else None)
    return dataclasses.replace(task, shared=True)


def textual(run: Run) -> Task:
    """Algorithm 1, line 4: the MLP and its head, on tags."""

    def build():
        textual, head = fresh_parts(run, "textual", "textual", "textual_head")
        return keras.Model(textual.input, head(textual.output)), {"textual": textual, "textual_head": head}

    return _on_features(run, "textual", build, run.split("train").tags)


def groups(run: Run) -> Task:
    """A third branch, beyond the paper: the MLP of groups and its head, as those of tags."""

    def build():
        mlp, head = fresh_parts(run, "groups", "groups", "groups_head")
        return keras.Model(mlp.input, head(mlp.output)), {"groups": mlp, "groups_head": head}

    return _on_features(run, "groups", build, run.groups("train"))


def classifier(run: Run) -> Task:
    """Algorithm 1, line 5: the classifier, on [f_v, f_t]."""

    def build():
        head = fresh_parts(run, "classifier", "classifier")[0]
        return head, {"classifier": head}

    task = _on_features(run, "classifier", build, frozen_features.joint(run, "train"))
    return dataclasses.replace(task, loss=classification_loss(run))


def classification_loss(run: Run):
    """What the complete model's classifier is trained by: of (labels, logits) -> [B]."""
    config = run.config
    if not config.asymmetric_loss:
        return losses.sigmoid_cross_entropy
    gammas = config.asymmetric_gamma_positive, config.asymmetric_gamma_negative
    return losses.asymmetric(*gammas, config.asymmetric_shift)


def quantity(run: Run) -> Task:
    """Algorithm 1, line 5: the regressor, on [f_v, f_t]."""
    return _regression(run, "quantity", "quantity", frozen_features.joint(run, "train"))


def quantity_visual(run: Run) -> Task:
    """The regressor of the rows without tags, on f_v."""
    return _regression(run, "quantity_visual", "visual_quantity", frozen_features.visual(run, "train"))


def fresh_parts(run: Run, stage: str, *names: str) -> list[keras.Model]:
    """Parts with new weights, the same at each call."""
    model_parts.map_shapes(
        run.config
    )  # builds a backbone, once a process: not between the seed and the weights
    keras.utils.set_random_seed(stage_seed(run, stage))
    mean = float(run.split("train").counts[run.train_rows].mean())
    dataset = run.dataset
    sizes = len(dataset.labels), len(dataset.tags), mean, len(dataset.groups)
    return [model_parts.build(name, run.config, *sizes) for name in names]


def _on_features(run: Run, stage: str, build, x: np.ndarray) -> Task:
    """A classification task on one array [N, D] over the training split."""
    labels = run.split("train").labels

    def epoch(number):
        return (
            (x[rows].astype(np.float32), labels[rows])
            for rows in _epoch_batches(run, stage_seed(run, stage), number)
        )

    return _classification(run, stage, build, epoch, functools.partial(_predict_array, run, x))


def _classification(run: Run, stage: str, build, epoch, predict, before_evaluation=None) -> Task:
    truth = run.split("train").labels[run.held_out_rows]

    def chosen(model, logits):
        return choose(Annotations(logits), k=run.config.k)

    def figures(model, logits):
        return held_out_figures(truth, chosen(model, logits))

    return Task(
        **_schedule(run, stage),
        build=build,
        loss=losses.sigmoid_cross_entropy,
        epoch=epoch,
        predict=predict,
        held_out_y=truth,
        figures=figures,
        chosen=chosen,
        select="H-F1",
        before_evaluation=before_evaluation,
    )


def held_out_figures(truth: np.ndarray, chosen: np.ndarray) -> dict[str, float]:
    """What a classification stage is judged by; truth, chosen: bool [n, C]."""
    metrics = annotation_metrics(truth, chosen)
    return {name: metrics[name] for name in ("C-F1", "I-F1", "H-F1")}


def _regression(run: Run, stage: str, part: str, x: np.ndarray) -> Task:
    counts = run.split("train").counts.astype(np.float32)
    m = counts[run.held_out_rows]

    def build():
        model = fresh_parts(run, stage, part)[0]
        return model, {part: model}

    def epoch(number):
        return ((x[rows], counts[rows]) for rows in _epoch_batches(run, stage_seed(run, stage), number))

    def figures(model, raw):
        metrics = quantity_metrics(m, raw[:, 0])
        return {name: metrics[name] for name in ("Accuracy", "MSE")}

    return Task(
        **_schedule(run, stage),
        build=build,
        loss=losses.squared_error,
        epoch=epoch,
        predict=functools.partial(_predict_array, run, x),
        held_out_y=m,
        figures=figures,
        select="MSE",
        smaller_is_better=True,
    )


def _schedule(run: Run, stage: str) -> dict:
    rate, epochs = (
        getattr(run.config, f"{settings_prefix(stage)}_{what}") for what in ("learning_rate", "epochs")
    )
    steps = max(1, len(run.train_rows) // run.config.batch_size)
    return {"name": stage, "learning_rate": rate, "epochs": epochs, "steps_per_epoch": steps}


def _epoch_batches(run: Run, seed: int, epoch: int):
    return batches_of(epoch_rows(run.train_rows, seed, epoch), run.config.batch_size, drop_remainder=True)


def map_views(run: Run) -> list | None:
    """The frozen trunk's maps of the training images, plain and mirrored; None over the disk budget."""
    views = [
        frozen_features.maps(run, "train", flip) for flip in ([False, True] if run.config.flip else [False])
    ]
    return None if views[0] is None else views


def map_batches(run: Run, views: list, seed: int, epoch: int, share=WHOLE):
    """Yields (the five maps, row numbers) of an epoch's batches, or of a worker's share of them."""
    for rows in map(share.of, _epoch_batches(run, seed, epoch)):
        yield _take_maps(views, rows, seed, epoch), rows


def _take_maps(views: list, rows: np.ndarray, seed: int, epoch: int) -> list[np.ndarray]:
    """The five maps of `rows`, each plain or mirrored as the epoch has it, float32."""
    taken = [m[rows].astype(np.float32) for m in views[0]]
    if len(views) > 1:
        flips = epoch_flips(len(views[0][0]), seed, epoch)[rows]
        for plain, mirrored in zip(taken, views[1], strict=True):
            plain[flips] = mirrored[rows[flips]]
    return taken


def predict_images(run: Run, model: keras.Model) -> np.ndarray:
    """The outputs of a model of images for the held-out ones."""
    images = run.images("train").ordered(frozen_features.BATCH, rows=run.held_out_rows)
    return concatenated(model.predict_on_batch(batch) for batch in images)


def _predict_array(run: Run, x: np.ndarray, model: keras.Model) -> np.ndarray:
    batches = batches_of(run.held_out_rows, 256)
    return concatenated(model.predict_on_batch(x[rows].astype(np.float32)) for rows in batches)


def concatenated(batches) -> np.ndarray:
    """A model's outputs for batch after batch as one array."""
    return np.concatenate([keras.ops.convert_to_numpy(batch) for batch in batches])


def reestimate_batch_norm(model: keras.Model, batches, limit: int) -> None:
    """Sets the moving statistics of a model's BN layers to the plain mean over `limit` batches (decision 8).

    At momentum 0.9997 they lag thousands of steps behind the weights, and held-out figures with them.
    """
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in norms]
    for i, (batch, _) in enumerate(zip(batches, range(limit))):  # noqa: B905 - whichever ends first
        for layer in norms:
            layer.momentum = i / (i + 1)  # makes the moving average a cumulative one
        model(batch, training=True)
    for layer, momentum in zip(norms, momenta, strict=True):
        layer.momentum = momentum


def settings_prefix(stage: str) -> str:
    return {"quantity_visual": "quantity", "groups": "textual"}.get(stage, stage)


def stage_seed(run: Run, stage: str) -> int:
    return zlib.crc32(f"{run.seed}/{stage}".encode())
