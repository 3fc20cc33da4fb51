"""The common part of the baselines: their features, training task and predictions."""

import dataclasses

import keras
import numpy as np

from msmm.baselines.baseline import Baseline, Examples, predict_arrays
from msmm.baselines.registry import load_baseline
from msmm.baselines.sequences import Recurrent
from msmm.core.errors import UserError
from msmm.data.records import MAPS
from msmm.scoring.metrics import annotation_metrics
from msmm.scoring.predictions import Predictions, choose_labels
from msmm.scoring.ranking_metrics import ranking_metrics
from msmm.training import frozen_features, model_parts, selection, task_building
from msmm.training.fast_layers import accelerated
from msmm.training.map_source import MapSource
from msmm.training.run import Run
from msmm.training.task import Evaluation, Grid, Optimisation, Task, TrainingData


def choose_trunk(run: Run, name: str) -> str:
    """Returns the trunk of a baseline: "pretrained", "finetuned", or "images" if it trains its own.

    On a data set of arrays it is "given", the data set's own features.
    """
    method = load_baseline(name, run.config)
    if run.dataset.arrays == {} and not method.multi_modal:
        raise UserError(f"{name} reads no tags, and {run.dataset.name!r} has tags alone")
    if run.dataset.arrays is not None:
        if method.num_maps > len(run.dataset.arrays.keys() & {MAPS}):
            needed = "maps" if method.num_maps == 1 else f"{method.num_maps} maps of each image"
            own = " and ".join(run.dataset.arrays) or "tags"
            raise UserError(f"{name} reads {needed}, and {run.dataset.name!r} has {own} alone")
        return "given"
    wanted = method.trunk
    if wanted == "own":
        return "images" if run.config.finetune.trunk else "pretrained"
    # Without ImageNet weights only the trunk of stage finetune is trained.
    return wanted if model_parts.is_pretrained(run.config) else "finetuned"


def needed_stages(run: Run, name: str) -> tuple[str, ...]:
    """Returns the stages that a compared method builds on."""
    method = load_baseline(name, run.config)
    trunk = ("finetune",) if choose_trunk(run, name) == "finetuned" else ()
    return trunk + ("textual",) * bool(method.num_maps and method.multi_modal)


def create_baseline(run: Run, name: str) -> Baseline:
    """Creates a baseline with the splits of a run."""
    kind = load_baseline(name, run.config)
    read_features = {
        "pretrained": _read_pretrained,
        "finetuned": frozen_features.cnn_features,
        "given": frozen_features.given_features,
        "images": lambda run, split: None,
    }[choose_trunk(run, name)]
    splits = {}
    for split in run.dataset.splits:
        annotations = run.split(split)
        features = None if kind.num_maps else read_features(run, split)
        splits[split] = Examples(features, annotations.tags, annotations.labels)

    def cache(kind, key, *how):
        key = {"dataset": run.dataset.fingerprint, **key}
        return frozen_features.cache_arrays(run.features_directory, kind, key, *how)

    feature_size = run.dataset.given_size or model_parts.map_shapes(run.config)[-1][-1]
    if not kind.num_maps:
        return kind(run.config, splits, feature_size, cache, run.train_rows)
    shapes = [run.dataset.arrays[MAPS]] if run.dataset.arrays else model_parts.map_shapes(run.config)
    read = shapes[-kind.num_maps :], model_parts.textual_size(run)
    return kind(run.config, splits, feature_size, cache, run.train_rows, *read)


def make_baseline_task(run: Run, name: str) -> Task:
    """Makes the task that trains a baseline."""
    method = create_baseline(run, name)
    on_images = choose_trunk(run, name) == "images"
    on_maps = MapSource(run, method) if method.num_maps else None
    seed = task_building.stage_seed(run, name)

    if run.dataset.has_images:
        model_parts.map_shapes(run.config)  # before anything is seeded: see `task_building.build_fresh_parts`

    def build():
        keras.utils.set_random_seed(seed)
        network = method.build()
        if on_maps:
            return on_maps.model(network), {name: network}
        if not on_images:
            return network, {name: network}
        backbone = model_parts.build_backbone(run.config)
        parts = {f"{name}_backbone": backbone, name: network}
        return model_parts.build_pooled_model(accelerated(backbone), network), parts

    def batches(epoch):
        rng = np.random.default_rng((seed, epoch, 2))
        if on_maps:
            return ((x, method.targets(rows, rng)) for x, rows in on_maps.batches(seed, epoch))
        if on_images:
            shuffled = run.images("train").epoch(
                run.train_rows, method.batch_size, seed, epoch, run.config.flip
            )
            return ((x, method.targets(rows, rng)) for x, rows in shuffled)
        rows_of = task_building.epoch_batches(run, seed, epoch, method.batch_size)
        return ((method.inputs(rows, epoch, rng), method.targets(rows, rng)) for rows in rows_of)

    grid, penalties = None, method.penalties()
    optimisation = Optimisation(method.loss, learning_rate=0.0, epochs=len(penalties))
    if penalties:
        grid = Grid(penalties, method.solve)
    else:
        optimisation = task_building.stage_optimisation(
            run, name, method.loss, method.optimizer, on_features=not (on_images or on_maps)
        )
    return Task(
        name,
        build,
        TrainingData(batches, task_building.steps_per_epoch(run, method.batch_size)),
        optimisation,
        _make_evaluation(run, method, on_images, on_maps, seed),
        grid=grid,
    )


def _make_evaluation(
    run: Run, method: Baseline, on_images: bool, on_maps: MapSource | None, seed: int
) -> Evaluation:
    """Makes the evaluation of a baseline on the held-out images."""
    held_out = run.held_out_rows
    truth = run.split("train").labels[held_out]

    def predict(model):
        if on_maps:
            return on_maps.predict(model, "train", held_out)
        if on_images:
            return task_building.predict_held_out_images(run, model)
        return predict_arrays(model, method.inputs(held_out, None, np.random.default_rng(seed)))

    def predict_labels(model, outputs):
        if on_images or on_maps:
            return method.decode(outputs)
        return method.predict(model, "train", held_out)

    def rank(model, outputs):
        return predict_labels(model, outputs).scores

    def measure(model, outputs):
        predictions = predict_labels(model, outputs)
        scores = predictions.scores if scores_labels(method) else None
        return selection.held_out_figures(truth, choose_baseline_labels(run, predictions), scores)

    return Evaluation(
        predict,
        method.targets(held_out, np.random.default_rng(seed)),
        measure,
        **selection.select_by(run.config, truth, scores_labels(method)),
        choose_labels=lambda model, outputs: choose_baseline_labels(run, predict_labels(model, outputs)),
        rank_labels=rank if scores_labels(method) else None,
    )


def predict_baseline(run: Run, name: str, split: str = "test", rows: np.ndarray | None = None) -> Predictions:
    """Returns a trained baseline's predictions for a split; counts are None if it only ranks.

    rows: of the split, for a method that reads features or maps; by default all of them.
    """
    if rows is None:
        rows = np.arange(run.dataset.num_examples(split))
    method = create_baseline(run, name)
    network = method.build()
    directory = run.stage_directory(name)
    model_parts.load_part_weights(network, directory, name)
    if method.num_maps:
        on_maps = MapSource(run, method)
        return method.decode(on_maps.predict(on_maps.model(network), split, rows))
    if choose_trunk(run, name) != "images":
        return method.predict(network, split, rows)
    backbone = model_parts.build_backbone(
        dataclasses.replace(run.config, weights="none", precision="float32")
    )
    model_parts.load_part_weights(backbone, directory, f"{name}_backbone")
    whole = model_parts.build_pooled_model(backbone, network)
    batches = run.images(split).ordered(frozen_features.BATCH)
    return method.decode(task_building.concatenate_outputs(whole.predict_on_batch(b) for b in batches))


def measure_baseline(run: Run, name: str, split: str = "test") -> tuple[np.ndarray, dict[str, float]]:
    """Returns the labels that a baseline chooses (its own number, or k), bool [N, C], and its figures."""
    predictions, truth = predict_baseline(run, name, split), run.split(split).labels
    chosen = choose_baseline_labels(run, predictions)
    return chosen, annotation_metrics(truth, chosen) | measure_ranking(run, name, truth, predictions)


def measure_ranking(run: Run, name: str, truth: np.ndarray, predictions: Predictions) -> dict[str, float]:
    """Returns `ranking_metrics` of a baseline's predictions; none of a method that emits sequences.

    truth: bool [N, C].
    """
    method = load_baseline(name, run.config)
    if not scores_labels(method):
        return {}
    return ranking_metrics(truth, predictions.scores, method.half)


def scores_labels(method: Baseline | type[Baseline]) -> bool:
    """Returns whether a method scores every label of every image on one scale, as average precision needs.

    The recurrent methods emit labels and score only these, by their rank.
    """
    kind = method if isinstance(method, type) else type(method)
    return not issubclass(kind, Recurrent)


def choose_baseline_labels(run: Run, predictions: Predictions) -> np.ndarray:
    """Returns the labels that predictions choose, bool [N, C]; k per image if they only rank."""
    return choose_labels(predictions, k=run.config.k if predictions.counts is None else None)


def _read_pretrained(run: Run, split: str) -> np.ndarray:
    backbone = task_building.build_fresh_parts(run, "finetune", "backbone")[0]
    return frozen_features.pretrained_features(run, backbone, split)
