"""Thresholds with the highest H-F1 on held-out images.

An image without a label above its threshold gets its best label, as no image has none (decision 21).
"""

import numpy as np

from msmm.scoring.borderline import ROUNDING_OF_SUMS, first_best
from msmm.scoring.metrics import metrics_from_counts
from msmm.scoring.predictions import Predictions

MOST = 400  # thresholds tried; of more candidates, this many evenly in rank
_PLENTY = 32  # labels chosen for each true one: I-P is 3 % at most, and I-F1 6 %


def choose_above_zero(scores: np.ndarray, at_least: int = 1) -> Predictions:
    """Returns predictions of the labels with scores [N, C] >= 0, and the `at_least` best of each image."""
    counts = np.maximum(at_least, (scores >= 0).sum(axis=1))
    return Predictions(scores.astype(np.float32), counts.astype(np.int32))


def sweep_thresholds(
    scores: np.ndarray, labels: np.ndarray, most_chosen: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Returns thresholds from high to low, [K], and the H-F1 in percent of each on images [n, C], [K].

    A label is chosen where its score is at least the threshold. Between the scores of two true labels only
    false ones lie, so the upper end is best. These are all the thresholds that matter.

    most_chosen: leaves out the thresholds that choose more labels of all images; None: none.
    """
    scores = scores.copy()
    scores[np.arange(len(scores)), scores.argmax(axis=1)] = np.inf  # chosen in any case
    candidates = np.unique(scores[labels])[::-1]
    if not len(candidates):
        candidates = np.array([np.inf])
    if len(candidates) > MOST:
        candidates = candidates[np.linspace(0, len(candidates) - 1, MOST).round().astype(int)]
    if most_chosen is not None and most_chosen < scores.size:
        lowest = np.partition(scores, scores.size - most_chosen, axis=None)[scores.size - most_chosen]
        candidates = candidates[: max(1, np.count_nonzero(candidates >= lowest))]
    size, classes = len(candidates), scores.shape[1]
    images, columns = np.nonzero(scores >= candidates[-1])  # of many classes few pass any threshold
    # The first threshold that each passes.
    passes = np.searchsorted(-candidates, -scores[images, columns], side="left")
    cell = passes * classes + columns
    predicted, correct = (
        np.bincount(cells, minlength=size * classes).reshape(-1, classes).cumsum(axis=0)
        for cells in (cell, cell[labels[images, columns]])
    )
    return candidates, metrics_from_counts(correct, predicted, labels.sum(axis=0))["H-F1"]


def best_threshold(scores: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Returns the threshold with the highest H-F1 on images [n, C] (of equals the highest), and its H-F1.

    Of many classes, thresholds that choose more than 32 labels for each true one are not tried.
    """
    candidates, h_f1 = sweep_thresholds(scores, labels, max(len(labels), _PLENTY * int(labels.sum())))
    best = first_best(h_f1)
    threshold = candidates[best]
    if np.isinf(threshold):  # one label per image
        threshold = scores[scores < np.inf].max() + 1.0
    return float(threshold), float(h_f1[best])


def best_class_thresholds(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns for each class the threshold with the highest F1 of that class alone, [C].

    It lies halfway to the next lower score; NaN where a class has no positive.
    """
    order = np.argsort(-scores, axis=0, kind="stable")
    ranked, hits = (np.take_along_axis(a, order, axis=0) for a in (scores, labels))
    predicted = np.arange(1, len(scores) + 1)[:, None]
    f1 = 2 * hits.cumsum(axis=0) / (predicted + labels.sum(axis=0))
    last_of_equals = np.r_[ranked[1:] < ranked[:-1], np.ones((1, scores.shape[1]), bool)]
    f1 = np.where(last_of_equals, f1, -1)
    best = (f1 >= f1.max(axis=0) - ROUNDING_OF_SUMS).argmax(axis=0)
    below = np.r_[ranked[1:], ranked[-1:] - 1.0]
    columns = np.arange(scores.shape[1])
    thresholds = (ranked[best, columns] + below[best, columns]) / 2
    return np.where(labels.any(axis=0), thresholds, np.nan)
