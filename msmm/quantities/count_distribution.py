"""How many of independent labels are there, and how many to say: exact, by dynamic programming."""

import numpy as np

from msmm.scoring.borderline import ROUNDING_OF_SUMS

_NEGLIGIBLE = 1e-12  # probability of a count
_IMAGES = 256  # at a time


def poisson_binomial(p: np.ndarray) -> np.ndarray:
    """P(m = s) for s = 0 … C where label j is there with probability p[:, j], whatever the others.

    p: [N, C] in 0 … 1. Returns [N, C + 1] float64; rows sum to 1. O(N C^2).
    """
    p = np.asarray(p, np.float64)
    found = np.zeros((len(p), p.shape[1] + 1))
    found[:, 0] = 1
    for j in range(p.shape[1]):
        _add_label(found, p[:, j : j + 1])
    return found


def best_expected_f1(p: np.ndarray) -> np.ndarray:
    """The number of labels k >= 1 for which the k likeliest have the highest expected F1, [N] int32.

    With independent labels no other set has a higher one (Jansche 2007; Ye, Chai, Lee and Chieu 2012).
    F1 of an image: 2 |said and true| / (|said| + |true|).

    p: [N, C] in 0 … 1. Exact up to 1e-12: of the a labels that are true among the k likeliest, and the b
    among the others, both are Poisson-binomial, so a k costs one bilinear form. Ties go to the lower k.
    """
    p = -np.sort(-np.asarray(p, np.float64), axis=1)
    batches = [p[start : start + _IMAGES] for start in range(0, len(p), _IMAGES)]
    return np.concatenate([_lowest_best(expected_f1(batch)) for batch in batches])


def _lowest_best(f1: np.ndarray) -> np.ndarray:
    """The lowest k of the highest expected F1 [N, C], equal but for rounding: [N] int32."""
    best = f1.max(axis=1, keepdims=True)
    return (f1 >= best - ROUNDING_OF_SUMS).argmax(axis=1).astype(np.int32) + 1


def expected_f1(p: np.ndarray) -> np.ndarray:
    """The expected F1 of saying the first k labels, for k = 1 … C: [N, C] float64, from p [N, C]."""
    n, classes = p.shape
    possible = np.flatnonzero((poisson_binomial(p) > _NEGLIGIBLE).any(axis=0))
    size = possible[-1] + 1  # counts beyond are never seen
    others = np.zeros((classes + 1, n, size))  # of the labels from k on, by how many are true
    others[classes, :, 0] = 1
    for k in reversed(range(classes)):
        others[k] = others[k + 1]
        _add_label(others[k], p[:, k : k + 1])
    first = np.zeros((n, size))  # of the first k labels
    first[:, 0] = 1
    a = np.arange(size)
    found = np.empty((n, classes))
    for k in range(1, classes + 1):
        _add_label(first, p[:, k - 1 : k])
        f1 = 2 * a[:, None] / (k + a[:, None] + a[None])
        found[:, k - 1] = np.einsum("na,na->n", first, others[k] @ f1.T)
    return found


def _add_label(distribution: np.ndarray, p: np.ndarray) -> None:
    """Adds a label of probabilities p [N, 1] to a distribution of counts [N, …], in place."""
    distribution[:, 1:] += p * (distribution[:, :-1] - distribution[:, 1:])
    distribution[:, 0] *= 1 - p[:, 0]
