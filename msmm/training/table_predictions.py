"""Predictions and figures of the rows of `table_rows`, and the finished model that is made of them."""

import importlib.metadata
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

import msmm
from msmm import configs
from msmm.data.input_pipeline import batches_of
from msmm.inference import engines, model_dir
from msmm.inference.engines import second_look
from msmm.inference.model import CONTEXT_TAGS
from msmm.models.annotator import assemble_annotator
from msmm.quantities.counting_rules import apply_rule
from msmm.quantities.fitting import FittedCountingRules, fit_counting_rules
from msmm.quantities.held_out_predictions import HeldOutPredictions
from msmm.quantities.registry import BEST, load_counting_rule
from msmm.scoring.logits import sigmoid
from msmm.scoring.metrics import annotation_metrics, per_class_f1, quantity_metrics
from msmm.scoring.predictions import Predictions, choose_labels, round_counts
from msmm.scoring.ranking_metrics import average_precision, ranking_metrics
from msmm.training import frozen_features, model_parts
from msmm.training.run import Run
from msmm.training.stage_table import JOINT, STAGE_OF_PART, STAGES
from msmm.training.table_rows import COMPLETE, TABLE_ROWS, WITHOUT_TAGS, TableRow, add_counter

_READ_FEATURE: dict[str, Callable[[Run, str], Any]] = {
    "cnn_head": frozen_features.cnn_features,
    "visual_head": frozen_features.visual_features,
    "textual_head": frozen_features.textual_features,
    "classifier": frozen_features.concatenated_features,
    "quantity": frozen_features.concatenated_features,
    "quantity_visual": frozen_features.visual_features,
}


def predict_row(
    run: Run, row: TableRow, split: str = "test", counting_rule: str | None = None
) -> Predictions:
    """Returns a row's predictions for a split: probabilities as scores, and counts.

    The upper bound's counts are the true ones; without quantity prediction they are k.

    Args:
        run: the run with the trained parts.
        row: of `TABLE_ROWS`.
        split: of the data set.
        counting_rule: of `quantities.registry.COUNTING_RULES`, or "best": fitted on held-out images, it gives
            scores and counts instead.
    """
    if counting_rule:
        raw = predict_raw_quantity(run, add_counter(row), split)
        held_out = predict_held_out(run, row)
        probabilities = predict_probabilities(run, row, split)
        if counting_rule == BEST:
            return fit_counting_rules(held_out).apply(probabilities, raw)
        return apply_rule(load_counting_rule(counting_rule).fit(held_out), probabilities, raw)
    scores = predict_probabilities(run, row, split)
    if row.counter == "truth":
        counts = run.split(split).counts.astype(np.int32)
    elif row.counter:
        counts = round_counts(predict_raw_quantity(run, row, split), scores.shape[1])
    else:
        counts = np.full(len(scores), run.config.k, np.int32)
    return Predictions(scores, counts)


def predict_held_out(run: Run, row: TableRow) -> HeldOutPredictions:
    """Returns the predictions for held-out training images on which counting rules are fitted."""
    rows, labels = run.held_out_rows, run.split("train").labels
    raw = predict_raw_quantity(run, add_counter(row), "train", rows)
    probabilities = predict_probabilities(run, row, "train", rows)
    return HeldOutPredictions(probabilities, raw, labels[rows], run.config.k)


def predict_probabilities(run: Run, row: TableRow, split: str, rows: np.ndarray | None = None) -> np.ndarray:
    """Returns the probabilities of a row's classifier, float32 [N, C], or for some rows of the split."""
    return sigmoid(predict_head(run, row.scorer, split, rows))


def predict_raw_quantity(
    run: Run, row: TableRow, split: str = "test", rows: np.ndarray | None = None
) -> np.ndarray:
    """Returns a row's label quantities before rounding, float32 [N], or for some rows of the split."""
    if row.counter not in _READ_FEATURE:
        raise ValueError(f"expected a row with a regressor. Received: counter {row.counter!r}")
    return predict_head(run, row.counter, split, rows)[:, 0]


def predict_head(run: Run, part: str, split: str, rows: np.ndarray | None = None) -> np.ndarray:
    """Returns the outputs of a trained head on its feature, float32 [N, C] or [N, 1], or for some rows."""
    feature = _READ_FEATURE[part](run, split)
    model = model_parts.load_part(run, part)
    batches = batches_of(np.arange(len(feature)) if rows is None else rows, 256)
    return np.concatenate([np.asarray(model.predict_on_batch(feature[rows])) for rows in batches])


def measure_row(
    run: Run, row: TableRow, split: str = "test", counting_rule: str | None = None
) -> tuple[np.ndarray, dict[str, float]]:
    """Returns the labels that a row chooses, bool [N, C], and all its figures: eq. 6-7, ranking metrics, and
    those of label quantities (IV-D1).

    With a counting rule (see `predict_row`), accuracy and MSE come from its whole counts; without one, from
    the regressor's raw values.
    """
    truth = run.split(split)
    predictions = predict_row(run, row, split, counting_rule)
    chosen = choose_labels(predictions)
    # A counting rule may change the scores, so the ranking is the classifier's.
    probabilities = predict_probabilities(run, row, split) if counting_rule else predictions.scores
    figures = annotation_metrics(truth.labels, chosen) | ranking_metrics(truth.labels, probabilities)
    if counting_rule:
        figures |= quantity_metrics(truth.counts, predictions.known_counts)
    elif row.counter in STAGE_OF_PART:
        figures |= quantity_metrics(truth.counts, predict_raw_quantity(run, row, split))
    return chosen, figures


def save_model(run: Run) -> pathlib.Path | None:
    """Writes the complete model and its fitted counting rules as a model directory, and returns its path.

    With the setting `groups` there is none (None is returned), as photographs have no groups; nor is there
    one on a data set without images.
    """
    if run.config.groups or not run.dataset.has_images:
        return None
    network = assemble_annotator(**{part: model_parts.load_part(run, part) for part in STAGES[JOINT].parts})
    fitted = {
        name: fit_counting_rules(predict_held_out(run, TABLE_ROWS[name])) for name in (COMPLETE, WITHOUT_TAGS)
    }
    files = dict(zip(model_dir.QUANTITIES, fitted.values(), strict=True))
    info = _describe_model(run, fitted)
    model_dir.save(run.model_directory, network, run.dataset.labels, run.dataset.tags, info, files)
    # Measure the errors of bfloat16 on held-out images.
    rows = run.held_out_rows[: second_look.IMAGES]
    engines.prepare(run.model_directory, run.images("train").take(rows), run.split("train").tags[rows])
    return run.model_directory


def _describe_model(run: Run, fitted: dict[str, FittedCountingRules]) -> dict:
    """Returns the content of model.json: where the model comes from and its figures on the test split."""
    chosen, figures = measure_row(run, TABLE_ROWS[COMPLETE])
    train, test = run.split("train"), run.split("test")
    f1 = per_class_f1(test.labels, chosen)
    ap = average_precision(test.labels, predict_probabilities(run, TABLE_ROWS[COMPLETE], "test"))

    def measure_with_chosen_rule(name):
        row = TABLE_ROWS[name]
        predictions = fitted[name].apply(
            predict_probabilities(run, row, "test"), predict_raw_quantity(run, row)
        )
        return annotation_metrics(test.labels, choose_labels(predictions))

    return {
        "msmm": msmm.__version__,
        "versions": {name: importlib.metadata.version(name) for name in ("keras", "tensorflow")},
        "dataset": run.dataset.name,
        "description": run.dataset.description,
        "licence": run.dataset.licence,
        **({CONTEXT_TAGS: True} if run.dataset.has_context_tags else {}),
        "images": {split: run.dataset.num_examples(split) for split in run.dataset.splits},
        "seed": run.seed,
        "settings": {name: value for name, value, _ in configs.describe_config(run.config)},
        "test": figures,
        "test with the chosen quantity": measure_with_chosen_rule(COMPLETE),
        "test without tags": measure_row(run, TABLE_ROWS[WITHOUT_TAGS])[1],
        "test without tags with the chosen quantity": measure_with_chosen_rule(WITHOUT_TAGS),
        "classes": [
            {
                "train": int(train.labels[:, j].sum()),
                "test": int(test.labels[:, j].sum()),
                "F1": float(f1[j]),
                "AP": None if np.isnan(ap[j]) else float(ap[j]),
            }
            for j in range(len(run.dataset.labels))
        ],
    }
