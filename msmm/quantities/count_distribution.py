"""The distribution of the number of independent labels, and the best number to choose: exact."""

import numpy as np

from msmm.scoring.borderline import ROUNDING_OF_SUMS

_NEGLIGIBLE = 1e-12  # probability of a count
_PAIRS = 256 * 1024  # of an image and a class, at a time


def poisson_binomial(p: np.ndarray, size: int | None = None) -> np.ndarray:
    """Returns P(m = s) for s = 0 … C if label j is positive with probability p[:, j], independently.

    Args:
        p: [N, C] in 0 … 1.
        size: number of counts that are computed, from 0 on, see `count_limit`; C + 1 if None.

    Returns:
        [N, size] float64, each number the same for any size; rows of size C + 1 sum to 1. O(N C size).
    """
    p = np.asarray(p, np.float64)
    distribution = np.zeros((len(p), size or p.shape[1] + 1))
    distribution[:, 0] = 1
    for j in range(p.shape[1]):
        _add_label(distribution, p[:, j : j + 1])
    return distribution


def count_limit(p: np.ndarray, negligible: float = 1e-15) -> int:
    """Returns a size from 2 to C + 1 such that P(m >= size) is at most `negligible` for every image.

    By Chernoff's bound, P(m >= s) <= exp(s - mean - s log(s / mean)) for s above the mean. Of thousands of
    classes an image has a few, so that the distribution of its count is short.

    Args:
        p: [N, C] in 0 … 1.
        negligible: a probability.
    """
    mean = np.asarray(p).sum(axis=1, dtype=np.float64).max(initial=0.0)
    s = np.arange(2, p.shape[1] + 1)
    with np.errstate(divide="ignore"):
        logarithm = s - mean - s * np.log(s / mean)
    enough = s[(s > mean) & (logarithm <= np.log(negligible))]
    return int(enough[0]) if len(enough) else p.shape[1] + 1


def best_expected_f1(p: np.ndarray) -> np.ndarray:
    """Returns the number of labels k >= 1 for which the k likeliest have the highest expected F1, [N] int32.

    With independent labels no other set has a higher one (Jansche 2007; Ye, Chai, Lee and Chieu 2012). The F1
    of an image is 2 |chosen and true| / (|chosen| + |true|). The result is exact up to 1e-12. The numbers of
    true labels among the k likeliest and among the others are Poisson-binomial, so each k costs one bilinear
    form. Ties go to the lower k.

    Args:
        p: [N, C] in 0 … 1.
    """
    p = -np.sort(-np.asarray(p, np.float64), axis=1)
    size = max(1, _PAIRS // p.shape[1])
    batches = [p[start : start + size] for start in range(0, len(p), size)]
    return np.concatenate([_lowest_best(expected_f1(batch)) for batch in batches])


def _lowest_best(f1: np.ndarray) -> np.ndarray:
    """Returns the lowest k of the highest expected F1 [N, C], equal but for rounding: [N] int32."""
    best = f1.max(axis=1, keepdims=True)
    return (f1 >= best - ROUNDING_OF_SUMS).argmax(axis=1).astype(np.int32) + 1


def expected_f1(p: np.ndarray) -> np.ndarray:
    """Returns the expected F1 of the first k labels, for k = 1 … C: [N, C] float64, from p [N, C]."""
    n, classes = p.shape
    possible = np.flatnonzero((poisson_binomial(p, count_limit(p, _NEGLIGIBLE)) > _NEGLIGIBLE).any(axis=0))
    size = possible[-1] + 1  # larger counts are negligible
    others = np.zeros((classes + 1, n, size))  # P(number of true labels from k on)
    others[classes, :, 0] = 1
    for k in reversed(range(classes)):
        others[k] = others[k + 1]
        _add_label(others[k], p[:, k : k + 1])
    first = np.zeros((n, size))  # P(number of true labels among the first k)
    first[:, 0] = 1
    a = np.arange(size)
    expected = np.empty((n, classes))
    for k in range(1, classes + 1):
        _add_label(first, p[:, k - 1 : k])
        f1 = 2 * a[:, None] / (k + a[:, None] + a[None])
        expected[:, k - 1] = np.einsum("na,na->n", first, others[k] @ f1.T)
    return expected


def _add_label(distribution: np.ndarray, p: np.ndarray) -> None:
    """Adds a label with probabilities p [N, 1] to a distribution of counts [N, …], in place."""
    distribution[:, 1:] += p * (distribution[:, :-1] - distribution[:, 1:])
    distribution[:, 0] *= 1 - p[:, 0]
