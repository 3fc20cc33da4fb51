"""The common part of the tasks of stages and baselines: seeds, new parts, losses, batches, predictions."""

import functools
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence

import keras
import numpy as np

from msmm.configs.base import Config
from msmm.data.augmentation import Augmentation
from msmm.data.input_pipeline import WHOLE, batches_of, epoch_flips, epoch_rows
from msmm.models import heads, losses
from msmm.scoring.metrics import quantity_metrics
from msmm.scoring.predictions import Predictions, choose_labels
from msmm.training import frozen_features, model_parts, selection
from msmm.training.disk_arrays import DiskRows, read_ahead
from msmm.training.run import Run
from msmm.training.stage_table import CROSS_ENTROPY, settings_group
from msmm.training.task import Evaluation, Optimisation, Task, TrainingData


def classification_loss(run: Run, stage: str) -> Callable:
    """Returns the loss of labels of a stage: (labels, logits) -> [B]."""
    name = getattr(getattr(run.config, settings_group(stage)), "loss", CROSS_ENTROPY)
    return losses.label_loss(name, run.config.asymmetric)


def augmentation(config: Config) -> Augmentation:
    """Returns the random changes of images that train a trunk, which are settings of stage finetune."""
    settings = config.finetune
    return Augmentation(settings.crop, settings.randaugment, settings.cutout)


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


def make_feature_task(run: Run, stage: str, build, x) -> Task:
    """Makes a classification task on one array x [N, D], one row per training image."""
    labels = run.split("train").labels

    def batches(epoch):
        return (
            (x[rows].astype(np.float32), labels[rows])
            for rows in epoch_batches(run, stage_seed(run, stage), epoch)
        )

    predict = functools.partial(_predict_held_out_rows, run, x)
    return make_classification_task(run, stage, build, batches, predict, on_features=True)


def make_classification_task(
    run: Run, stage: str, build, batches, predict, prepare=None, shareable=False, on_features=False
) -> Task:
    """Makes the task of a stage that ranks labels, evaluated by the k best labels of each held-out image.

    Args:
        run: the run.
        stage: its name.
        build, batches, predict, prepare, shareable: see `Task`, `TrainingData` and `Evaluation`.
        on_features: see `Optimisation`.
    """
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


def make_regression_task(run: Run, stage: str, x) -> Task:
    """Makes the task of a stage whose only part is a regressor of the label quantity, on x [N, D]."""
    counts = run.split("train").counts.astype(np.float32)
    truth = counts[run.held_out_rows]

    def build():
        model = build_fresh_parts(run, stage, stage)[0]
        return model, {stage: model}

    def batches(epoch):
        return ((x[rows], counts[rows]) for rows in epoch_batches(run, stage_seed(run, stage), epoch))

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


def epoch_batches(run: Run, seed: int, epoch: int, batch_size: int = 0) -> Iterable[np.ndarray]:
    """Yields the row numbers of an epoch's batches, of the setting `batch_size` if none is given."""
    size = batch_size or run.config.batch_size
    return batches_of(epoch_rows(run.train_rows, seed, epoch), size, drop_remainder=True)


def load_map_views(run: Run, num_maps: int = 5) -> list[list[DiskRows]] | None:
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


def map_batches(
    run: Run, views: list, seed: int, epoch: int, share=WHOLE, batch_size: int = 0
) -> Iterator[tuple]:
    """Yields (the maps, row numbers) of an epoch's batches, or of a worker's share of them."""
    batches = map(share.of, epoch_batches(run, seed, epoch, batch_size))
    return read_ahead((take_maps(views, rows, seed, epoch), rows) for rows in batches)


def take_maps(views: Sequence, rows: np.ndarray, seed: int, epoch: int) -> list[np.ndarray]:
    """Returns the maps of `rows`, each plain or mirrored as drawn for the epoch, float16 as they are cached.

    The model's first op makes them float32: half the copying of a conversion here.
    """
    if len(views) == 1:
        return [m[rows] for m in views[0]]
    flips = epoch_flips(len(views[0][0]), seed, epoch)[rows]
    taken = []
    for plain, mirrored in zip(*views, strict=True):
        maps = np.empty((len(rows), *plain.shape[1:]), plain.dtype)
        maps[~flips], maps[flips] = plain[rows[~flips]], mirrored[rows[flips]]
        taken.append(maps)
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
