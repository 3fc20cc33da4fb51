"""The tasks of the stages of Algorithm 1: what each trains, on what data, and how it is evaluated."""

import dataclasses
import functools
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence

import keras
import numpy as np

from msmm.configs.base import Config
from msmm.core.errors import UserError
from msmm.data.input_pipeline import WHOLE, batches_of, epoch_flips, epoch_rows
from msmm.models import heads, losses, optimizers
from msmm.models.backbone import for_any_size
from msmm.models.precision import set_precision
from msmm.models.recompute import recomputed
from msmm.scoring.metrics import quantity_metrics
from msmm.scoring.predictions import Predictions, choose_labels
from msmm.training import batch_norm, frozen_features, model_parts, selection
from msmm.training.fast_layers import accelerated
from msmm.training.run import Run
from msmm.training.stage_table import CROSS_ENTROPY, needs_statistics, settings_group
from msmm.training.task import Evaluation, Optimisation, Task, TrainingData


def make_finetune_task(run: Run) -> Task:
    """Algorithm 1, line 1: the backbone and a linear head on its pooled M_5, on images; or the head alone."""
    if not run.config.finetune.trunk:
        return _make_head_task(run)
    images, labels = run.images("train"), run.split("train").labels
    seed, config = stage_seed(run, "finetune"), run.config
    settings = config.finetune
    sizes = _parse_sizes(settings.sizes)

    def build():
        backbone, head = build_fresh_parts(run, "finetune", "backbone", "cnn_head")
        trunk = for_any_size(accelerated(backbone)) if sizes else accelerated(backbone)
        trunk = recomputed(trunk) if config.recompute else trunk
        return model_parts.build_pooled_model(trunk, head), {"backbone": backbone, "cnn_head": head}

    def batches(epoch, share=WHOLE):
        size = sizes[epoch] if epoch < len(sizes) else config.image_size
        shuffled = images.epoch(
            run.train_rows, config.batch_size, seed, epoch, config.flip, share, crop=settings.crop, size=size
        )
        return ((x, labels[rows]) for x, rows in shuffled)

    def reestimate(trained, epoch):
        whole = images.epoch(run.train_rows, config.batch_size, seed, epoch, config.flip)
        batch_norm.reestimate(trained["backbone"], (x for x, _ in whole), config.bn_batches)

    # The moving statistics are of the last weights, not their average, and of the sizes that were trained on.
    prepare = reestimate if needs_statistics(config) else None
    predict = functools.partial(predict_held_out_images, run)
    by_paper = settings.optimizer == "momentum" and not settings.ema
    task = _make_classification_task(run, "finetune", build, batches, predict, prepare, shareable=by_paper)
    if by_paper:
        return task
    optimisation = dataclasses.replace(task.optimisation, make_optimizer=_finetune_optimizer(config))
    return dataclasses.replace(task, optimisation=optimisation)


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


def _make_head_task(run: Run) -> Task:
    """Stage finetune with a frozen trunk: a linear head on the pooled M_5."""
    backbone = build_fresh_parts(run, "finetune", "backbone")[0]
    backbone.trainable = False
    pooled = frozen_features.pretrained_features(run, backbone, "train")

    def build():
        head = build_fresh_parts(run, "finetune", "cnn_head")[0]
        return head, {"cnn_head": head}

    task = _make_feature_task(run, "finetune", build, pooled)
    return dataclasses.replace(task, untrained={"backbone": backbone})


def make_visual_task(run: Run) -> Task:
    """Algorithm 1, lines 2-3: the fusion blocks and their head, on the frozen backbone's maps.

    On given features the head alone.
    """
    if not run.dataset.has_images:
        return _make_head_on_given_features_task(run)
    labels, seed, config = run.split("train").labels, stage_seed(run, "visual"), run.config
    views = load_map_views(run)
    # Over the disk budget the frozen backbone is part of the model, and computes its maps at every step.
    backbone = None
    if views is None:
        backbone = set_precision(model_parts.load_part(run, "backbone"), config.precision)
    images = run.images("train")

    def build():
        multi_scale, head = build_fresh_parts(run, "visual", "multi_scale", "visual_head")
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
        return ((maps, labels[rows]) for maps, rows in map_batches(run, views, seed, epoch, share))

    def predict(model):
        if views is None:
            return predict_held_out_images(run, model)
        held_out = batches_of(run.held_out_rows, frozen_features.BATCH)
        return concatenate_outputs(
            model.predict_on_batch([m[rows].astype(np.float32) for m in views[0]]) for rows in held_out
        )

    def reestimate(trained, epoch):
        inputs = (x for x, _ in batches(epoch))
        if backbone:
            inputs = (backbone.predict_on_batch(x) for x in inputs)
        batch_norm.reestimate(trained["multi_scale"], inputs, config.bn_batches)

    prepare = reestimate if config.bn_batches else None
    return _make_classification_task(run, "visual", build, batches, predict, prepare, shareable=True)


def _make_head_on_given_features_task(run: Run) -> Task:
    def build():
        head = build_fresh_parts(run, "visual", "visual_head")[0]
        return head, {"visual_head": head}

    return _make_feature_task(run, "visual", build, frozen_features.visual_features(run, "train"))


def _start_from_cnn_head(head: keras.Model, kernel: np.ndarray, bias: np.ndarray) -> None:
    """Sets the head of stage visual to CNN's (decision 16); features before those of M_5 get the weight 0."""
    own = np.zeros_like(head.get_weights()[0])
    own[len(own) - len(kernel) :] = kernel
    head.set_weights([own, bias])


def make_textual_task(run: Run) -> Task:
    """Algorithm 1, line 4: the MLP and its head, on tags."""
    return _make_branch_task(run, "textual", "textual", "textual_head", run.split("train").tags)


def make_groups_task(run: Run) -> Task:
    """A third branch, beyond the paper: the MLP of groups and its head, built like the branch of tags."""
    return _make_branch_task(run, "groups", "groups", "groups_head", run.groups("train"))


def _make_branch_task(run: Run, stage: str, mlp_part: str, head_part: str, vectors: np.ndarray) -> Task:
    def build():
        mlp, head = build_fresh_parts(run, stage, mlp_part, head_part)
        return keras.Model(mlp.input, head(mlp.output)), {mlp_part: mlp, head_part: head}

    return _make_feature_task(run, stage, build, vectors)


def make_classifier_task(run: Run) -> Task:
    """Algorithm 1, line 5: the classifier, on [f_v, f_t]."""

    def build():
        head = build_fresh_parts(run, "classifier", "classifier")[0]
        return head, {"classifier": head}

    features = frozen_features.concatenated_features(run, "train")
    return _make_feature_task(run, "classifier", build, features)


def classification_loss(run: Run, stage: str) -> Callable:
    """Returns the loss of labels of a stage: (labels, logits) -> [B]."""
    name = getattr(getattr(run.config, settings_group(stage)), "loss", CROSS_ENTROPY)
    return losses.label_loss(name, run.config.asymmetric)


def make_quantity_task(run: Run) -> Task:
    """Algorithm 1, line 5: the regressor, on [f_v, f_t]."""
    return _make_regression_task(run, "quantity", frozen_features.concatenated_features(run, "train"))


def make_quantity_visual_task(run: Run) -> Task:
    """The regressor of the rows without tags, on f_v."""
    return _make_regression_task(run, "quantity_visual", frozen_features.visual_features(run, "train"))


def build_fresh_parts(run: Run, stage: str, *names: str) -> list[keras.Model]:
    """Builds parts with new weights, the same at each call."""
    if run.dataset.has_images:
        # Builds a backbone, once per process: it must not come between the seed and the weights.
        model_parts.map_shapes(run.config)
    keras.utils.set_random_seed(stage_seed(run, stage))
    mean = float(run.split("train").counts[run.train_rows].mean())
    dataset = run.dataset
    sizes = len(dataset.labels), len(dataset.tags), mean, len(dataset.groups)
    bias = None
    if run.config.bias_init == "log_odds":
        bias = heads.log_odds(run.split("train").labels[run.train_rows])
    return [
        model_parts.build_part(name, run.config, *sizes, bias=bias, given_size=dataset.given_size)
        for name in names
    ]


def _make_feature_task(run: Run, stage: str, build, x) -> Task:
    """A classification task on one array [N, D] over the training split."""
    labels = run.split("train").labels

    def batches(epoch):
        return (
            (x[rows].astype(np.float32), labels[rows])
            for rows in _epoch_batches(run, stage_seed(run, stage), epoch)
        )

    predict = functools.partial(_predict_held_out_rows, run, x)
    return _make_classification_task(run, stage, build, batches, predict, on_features=True)


def _make_classification_task(
    run: Run, stage: str, build, batches, predict, prepare=None, shareable=False, on_features=False
) -> Task:
    truth = run.split("train").labels[run.held_out_rows]

    def choose(model, logits):
        return choose_labels(Predictions(logits), k=run.config.k)

    return Task(
        stage,
        build,
        TrainingData(batches, steps_per_epoch(run, run.config.batch_size), shareable),
        stage_optimisation(run, stage, classification_loss(run, stage), on_features=on_features),
        Evaluation(
            predict,
            truth,
            measure=lambda model, logits: selection.held_out_figures(truth, choose(model, logits), logits),
            **selection.select_by(run.config, truth),
            choose_labels=choose,
            rank_labels=lambda model, logits: logits,
            prepare=prepare,
        ),
    )


def _make_regression_task(run: Run, stage: str, x) -> Task:
    """The task of a stage whose only part is a regressor of the label quantity."""
    counts = run.split("train").counts.astype(np.float32)
    truth = counts[run.held_out_rows]

    def build():
        model = build_fresh_parts(run, stage, stage)[0]
        return model, {stage: model}

    def batches(epoch):
        return ((x[rows], counts[rows]) for rows in _epoch_batches(run, stage_seed(run, stage), epoch))

    def measure(model, raw):
        metrics = quantity_metrics(truth, raw[:, 0])
        return {name: metrics[name] for name in ("Accuracy", "MSE")}

    return Task(
        stage,
        build,
        TrainingData(batches, steps_per_epoch(run, run.config.batch_size)),
        stage_optimisation(run, stage, losses.squared_error, on_features=True),
        Evaluation(
            functools.partial(_predict_held_out_rows, run, x),
            truth,
            measure,
            select="MSE",
            smaller_is_better=True,
        ),
    )


def stage_optimisation(
    run: Run, stage: str, loss: Callable, make_optimizer=None, on_features=False
) -> Optimisation:
    """Returns a stage's optimisation with the learning rate and epochs of its group of settings."""
    settings = getattr(run.config, settings_group(stage))
    return Optimisation(loss, settings.learning_rate, settings.epochs, make_optimizer, on_features)


def steps_per_epoch(run: Run, batch_size: int) -> int:
    """Returns the number of whole batches in the training rows, at least 1."""
    return max(1, len(run.train_rows) // batch_size)


def _epoch_batches(run: Run, seed: int, epoch: int) -> Iterable[np.ndarray]:
    return batches_of(epoch_rows(run.train_rows, seed, epoch), run.config.batch_size, drop_remainder=True)


def load_map_views(run: Run, num_maps: int = 5) -> list[list[np.ndarray]] | None:
    """Returns the frozen trunk's last training maps, plain and mirrored; None over the disk budget.

    Maps that a data set gives are plain alone.
    """
    views = []
    for flip in [False, True] if run.config.flip and run.dataset.has_images else [False]:
        maps = frozen_features.cached_maps(run, "train", flip, num_maps)
        if maps is None:
            return None
        views.append(maps)
    return views


def map_batches(run: Run, views: list, seed: int, epoch: int, share=WHOLE) -> Iterator[tuple]:
    """Yields (the five maps, row numbers) of an epoch's batches, or of a worker's share of them."""
    for rows in map(share.of, _epoch_batches(run, seed, epoch)):
        yield take_maps(views, rows, seed, epoch), rows


def take_maps(views: Sequence, rows: np.ndarray, seed: int, epoch: int) -> list[np.ndarray]:
    """Returns the maps of `rows`, each plain or mirrored as drawn for the epoch, float32."""
    taken = [m[rows].astype(np.float32) for m in views[0]]
    if len(views) > 1:
        flips = epoch_flips(len(views[0][0]), seed, epoch)[rows]
        for plain, mirrored in zip(taken, views[1], strict=True):
            plain[flips] = mirrored[rows[flips]]
    return taken


def predict_held_out_images(run: Run, model: keras.Model) -> np.ndarray:
    """Returns the outputs of a model of images for the held-out images."""
    images = run.images("train").ordered(frozen_features.BATCH, rows=run.held_out_rows)
    return concatenate_outputs(model.predict_on_batch(batch) for batch in images)


def _predict_held_out_rows(run: Run, x, model: keras.Model) -> np.ndarray:
    batches = batches_of(run.held_out_rows, 256)
    return concatenate_outputs(model.predict_on_batch(x[rows].astype(np.float32)) for rows in batches)


def concatenate_outputs(batches: Iterable) -> np.ndarray:
    """Returns a model's outputs for successive batches as one array."""
    return np.concatenate([keras.ops.convert_to_numpy(batch) for batch in batches])


def stage_seed(run: Run, stage: str) -> int:
    """Returns the seed of a stage, which depends on the run's seed and the stage's name."""
    return zlib.crc32(f"{run.seed}/{stage}".encode())


MAKE_TASK: dict[str, Callable[[Run], Task]] = {
    "finetune": make_finetune_task,
    "visual": make_visual_task,
    "textual": make_textual_task,
    "classifier": make_classifier_task,
    "quantity": make_quantity_task,
    "quantity_visual": make_quantity_visual_task,
    "groups": make_groups_task,
}
