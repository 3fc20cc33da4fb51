"""How good an estimator of label quantities is, measured inside the images that it is fitted on."""

from collections.abc import Callable

import numpy as np

from msmm.quantities.held_out import HeldOut
from msmm.scoring.metrics import annotation_metrics
from msmm.scoring.predictions import choose

FOLDS = 5


def out_of_fold(fit: Callable, held_out: HeldOut, seed: int = 0) -> np.ndarray:
    """The labels [n, C] bool that each image is given by the estimator fitted on the other folds' images.

    fit: `HeldOut` -> estimator. seed: of the folds, which are random and alike in size.
    """
    n = len(held_out.raw)
    fold = np.random.default_rng(seed).permutation(np.arange(n) % FOLDS)
    chosen = np.zeros(held_out.labels.shape, bool)
    for i in np.unique(fold):
        inside, rest = np.flatnonzero(fold == i), np.flatnonzero(fold != i)
        part = held_out.take(inside)
        said = fit(held_out.take(rest)).annotate(part.probabilities, part.raw)
        chosen[inside] = choose(said)
    return chosen


def cross_validated(fit: Callable, held_out: HeldOut, seed: int = 0) -> float:
    """The H-F1 of the labels of `out_of_fold`, percent."""
    return annotation_metrics(held_out.labels, out_of_fold(fit, held_out, seed))["H-F1"]
