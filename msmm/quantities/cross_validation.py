"""Cross-validation of a counting rule within the images that it is fitted on."""

from collections.abc import Callable

import numpy as np

from msmm.quantities.held_out_predictions import HeldOutPredictions
from msmm.scoring.metrics import annotation_metrics
from msmm.scoring.predictions import choose_labels

FOLDS = 5


def choose_out_of_fold(fit: Callable, held_out: HeldOutPredictions, seed: int = 0) -> np.ndarray:
    """Returns the labels [n, C] bool of each image by the rule fitted on the other folds' images.

    Args:
        fit: `HeldOutPredictions` -> fitted counting rule.
        held_out: n images.
        seed: of the folds, which are random and of about equal size.
    """
    n = len(held_out.raw)
    fold = np.random.default_rng(seed).permutation(np.arange(n) % FOLDS)
    chosen = np.zeros(held_out.labels.shape, bool)
    for i in np.unique(fold):
        inside, rest = np.flatnonzero(fold == i), np.flatnonzero(fold != i)
        part = held_out.take(inside)
        predictions = fit(held_out.take(rest)).apply(part.probabilities, part.raw)
        chosen[inside] = choose_labels(predictions)
    return chosen


def cross_validate(fit: Callable, held_out: HeldOutPredictions, seed: int = 0) -> float:
    """Returns the H-F1 of the labels of `choose_out_of_fold`, percent."""
    return annotation_metrics(held_out.labels, choose_out_of_fold(fit, held_out, seed))["H-F1"]
