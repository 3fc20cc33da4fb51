"""Predictions and figures of the modern heads with counting rules; `table_predictions` has the paper's rows.

The regressor of stage quantity_visual counts for a head without tags, that of stage quantity for one with
tags.
"""

import numpy as np

from msmm.baselines.loading import load_baseline
from msmm.quantities.fitting import fit_counting_rules
from msmm.quantities.held_out_predictions import HeldOutPredictions
from msmm.quantities.registry import BEST, load_counting_rule
from msmm.scoring.logits import sigmoid
from msmm.scoring.metrics import annotation_metrics, quantity_metrics
from msmm.scoring.predictions import Predictions, choose_labels
from msmm.training import baseline_tasks, table_predictions
from msmm.training.run import Run
from msmm.training.stage_table import STAGE_OF_PART
from msmm.training.table_rows import COMPLETE, TABLE_ROWS, WITHOUT_TAGS, TableRow


def counting_row(run: Run, method: str) -> TableRow:
    """Returns the row of the paper's model whose regressor counts for a head."""
    return TABLE_ROWS[COMPLETE if load_baseline(method, run.config).multi_modal else WITHOUT_TAGS]


def counting_stage(run: Run, method: str) -> str:
    """Returns the stage of that regressor."""
    return STAGE_OF_PART[str(counting_row(run, method).counter)]


def predict_probabilities(run: Run, method: str, split: str, rows: np.ndarray | None = None) -> np.ndarray:
    """Returns the probabilities of a trained head, float32 [N, C], or for some rows of the split."""
    return sigmoid(baseline_tasks.predict_baseline(run, method, split, rows).scores)


def predict_raw_quantity(run: Run, method: str, split: str, rows: np.ndarray | None = None) -> np.ndarray:
    """Returns the label quantities that belong to a head before rounding, float32 [N], or for some rows."""
    return table_predictions.predict_raw_quantity(run, counting_row(run, method), split, rows)


def predict_held_out(run: Run, method: str) -> HeldOutPredictions:
    """Returns the predictions for held-out training images on which counting rules are fitted."""
    rows = run.held_out_rows
    probabilities = predict_probabilities(run, method, "train", rows)
    raw = predict_raw_quantity(run, method, "train", rows)
    return HeldOutPredictions(probabilities, raw, run.split("train").labels[rows], run.config.k)


def measure_head(
    run: Run, method: str, counting_rule: str, split: str = "test"
) -> tuple[np.ndarray, dict[str, float]]:
    """Returns the labels that a head and a counting rule choose, bool [N, C], and all figures.

    counting_rule: of `quantities.registry.COUNTING_RULES`, or "best"; fitted on held-out images.
    """
    truth, held_out = run.split(split), predict_held_out(run, method)
    fit = fit_counting_rules if counting_rule == BEST else load_counting_rule(counting_rule).fit
    ranked = baseline_tasks.predict_baseline(run, method, split)
    raw = predict_raw_quantity(run, method, split)
    predictions: Predictions = fit(held_out).apply(sigmoid(ranked.scores), raw)
    chosen = choose_labels(predictions)
    figures = annotation_metrics(truth.labels, chosen)
    figures |= baseline_tasks.measure_ranking(run, method, truth.labels, ranked)
    return chosen, figures | quantity_metrics(truth.counts, predictions.known_counts)
