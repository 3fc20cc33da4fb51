"""The common part of the baselines: their sources, training task and predictions."""

import keras
import numpy as np

from msmm.baselines.baseline import Baseline, Examples
from msmm.baselines.loading import load_baseline
from msmm.baselines.sequences import Recurrent
from msmm.configs.modern import group_of_method
from msmm.core.errors import UserError
from msmm.data.records import MAPS
from msmm.scoring.metrics import annotation_metrics
from msmm.scoring.predictions import Predictions, choose_labels
from msmm.scoring.ranking_metrics import ranking_metrics
from msmm.training import model_parts, selection, task_building
from msmm.training.array_cache import cache_arrays
from msmm.training.baseline_source import (
    FinetunedFeatures,
    GivenFeatures,
    ImageSource,
    PretrainedFeatures,
    Source,
)
from msmm.training.map_source import MapSource, TrainedTrunkSource
from msmm.training.run import Run
from msmm.training.stage_table import trains_trunk
from msmm.training.task import Evaluation, Grid, Optimisation, Task, TrainingData


def choose_trunk(run: Run, name: str) -> str:
    """Returns the trunk of a baseline: "pretrained", "finetuned" or "own", as `Baseline.trunk` names them.

    On a data set of arrays it is "given": the data set's features take the place of a trunk.
    """
    method = load_baseline(name, run.config)
    if run.dataset.arrays == {} and not method.multi_modal:
        raise UserError(f"{name} reads no tags, and {run.dataset.name!r} has tags alone")
    if run.dataset.arrays is not None:
        if method.num_maps > len(run.dataset.arrays.keys() & {MAPS}):
            needed = "maps" if method.num_maps == 1 else f"{method.num_maps} maps of each image"
            own = " and ".join(run.dataset.arrays) or "tags"
            raise UserError(f"{name} reads {needed}, and {run.dataset.name!r} has {own} alone")
        if trains_trunk(name, run.config):
            raise UserError(
                f"--{group_of_method(name)}_trunk=trained reads images, and {run.dataset.name!r} has none"
            )
        return "given"
    if trains_trunk(name, run.config):
        return "own"
    wanted = method.trunk
    if wanted == "own":
        return "own" if run.config.finetune.trunk else "pretrained"
    # Without ImageNet weights only the trunk of stage finetune is trained.
    return wanted if model_parts.is_pretrained(run.config) else "finetuned"


def needed_stages(run: Run, name: str) -> tuple[str, ...]:
    """Returns the stages that a compared method builds on."""
    method = load_baseline(name, run.config)
    trunk = ("finetune",) if choose_trunk(run, name) == "finetuned" else ()
    return trunk + ("textual",) * bool(method.num_maps and method.multi_modal)


SOURCES: dict[str, type[Source]] = {
    "pretrained": PretrainedFeatures,
    "finetuned": FinetunedFeatures,
    "given": GivenFeatures,
    "own": ImageSource,
}
# The sources of methods that read maps, by trunk.
MAP_SOURCES: dict[str, type[Source]] = {"finetuned": MapSource, "given": MapSource, "own": TrainedTrunkSource}


def choose_source(run: Run, name: str) -> type[Source]:
    """Returns the kind of source that a baseline reads."""
    trunk = choose_trunk(run, name)  # refuses a data set without what the baseline reads
    return (MAP_SOURCES if load_baseline(name, run.config).num_maps else SOURCES)[trunk]


def create_baseline(run: Run, name: str) -> Baseline:
    """Creates a baseline with the splits of a run."""
    kind, source = load_baseline(name, run.config), choose_source(run, name)
    splits = {}
    for split in run.dataset.splits:
        annotations = run.split(split)
        splits[split] = Examples(source.read_features(run, split), annotations.tags, annotations.labels)

    def cache(kind, key, *how):
        key = {"dataset": run.dataset.fingerprint, **key}
        return cache_arrays(run.features_directory, kind, key, *how)

    feature_size = run.dataset.given_size or model_parts.map_shapes(run.config)[-1][-1]
    if not kind.num_maps:
        return kind(run.config, splits, feature_size, cache, run.train_rows)
    shapes = [run.dataset.arrays[MAPS]] if run.dataset.arrays else model_parts.map_shapes(run.config)
    read = shapes[-kind.num_maps :], model_parts.textual_size(run)
    return kind(run.config, splits, feature_size, cache, run.train_rows, *read)


def create_source(run: Run, name: str) -> Source:
    """Creates a baseline with the splits of a run, within the source of its inputs."""
    return choose_source(run, name)(run, name, create_baseline(run, name))


def make_baseline_task(run: Run, name: str) -> Task:
    """Makes the task that trains a baseline."""
    source = create_source(run, name)
    method, seed = source.method, task_building.stage_seed(run, name)

    if run.dataset.has_images:
        model_parts.map_shapes(run.config)  # before anything is seeded: see `task_building.build_fresh_parts`

    def build():
        keras.utils.set_random_seed(seed)
        return source.build(method.build())

    def batches(epoch):
        rng = np.random.default_rng((seed, epoch, 2))
        return ((x, method.targets(rows, rng)) for x, rows in source.batches(seed, epoch, rng))

    grid, penalties = None, method.penalties()
    optimisation = Optimisation(method.loss, learning_rate=0.0, epochs=len(penalties))
    if penalties:
        grid = Grid(penalties, method.solve)
    else:
        optimisation = task_building.stage_optimisation(
            run, name, method.loss, method.optimizer, on_features=source.on_features
        )
    return Task(
        name,
        build,
        TrainingData(batches, task_building.steps_per_epoch(run, method.batch_size)),
        optimisation,
        _make_evaluation(run, source, seed),
        grid=grid,
    )


def _make_evaluation(run: Run, source: Source, seed: int) -> Evaluation:
    """Makes the evaluation of a baseline on the held-out images."""
    method, held_out = source.method, run.held_out_rows
    truth = run.split("train").labels[held_out]

    def rank(model, outputs):
        return source.decode_held_out(model, outputs).scores

    def measure(model, outputs):
        predictions = source.decode_held_out(model, outputs)
        scores = predictions.scores if scores_labels(method) else None
        return selection.held_out_figures(truth, choose_baseline_labels(run, predictions), scores)

    def choose(model, outputs):
        return choose_baseline_labels(run, source.decode_held_out(model, outputs))

    return Evaluation(
        lambda model: source.predict_held_out(model, seed),
        method.targets(held_out, np.random.default_rng(seed)),
        measure,
        **selection.select_by(run.config, truth, scores_labels(method)),
        choose_labels=choose,
        rank_labels=rank if scores_labels(method) else None,
        prepare=source.prepare,
    )


def predict_baseline(run: Run, name: str, split: str = "test", rows: np.ndarray | None = None) -> Predictions:
    """Returns a trained baseline's predictions for a split; counts are None if it only ranks.

    rows: of the split; by default all of them.
    """
    model_parts.check_files(run, name)
    source = create_source(run, name)
    network = source.method.build()
    model_parts.load_part_weights(network, run.stage_directory(name), name)
    every = np.arange(run.dataset.num_examples(split))
    return source.predict(network, split, every if rows is None else rows)


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
    return ranking_metrics(truth, predictions.scores, method.score_at_half_probability)


def scores_labels(method: Baseline | type[Baseline]) -> bool:
    """Returns whether a method scores every label of every image on one scale, as average precision needs.

    The recurrent methods emit labels and score only these, by their rank.
    """
    kind = method if isinstance(method, type) else type(method)
    return not issubclass(kind, Recurrent)


def choose_baseline_labels(run: Run, predictions: Predictions) -> np.ndarray:
    """Returns the labels that predictions choose, bool [N, C]; k per image if they only rank."""
    return choose_labels(predictions, k=run.config.k if predictions.counts is None else None)
