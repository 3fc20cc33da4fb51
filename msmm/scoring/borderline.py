"""Decisions that rounding can reverse: labels with a margin below a tolerance, and choices between equals.

Two computations of the same numbers (another runtime, another processor, another order of a sum) differ in
the last digits. A decision depends on them only where its margin is as small:

* the scores of the labels on rank m and m + 1 are that close,
* a score is that close to its threshold,
* the quantity, or the sum of probabilities, is that close to a half, where rounding goes up or down.

A label is borderline if some values within the tolerance choose it and others do not. NumPy alone.
"""

import math
from collections.abc import Sequence

import numpy as np

from msmm.scoring.predictions import Predictions

ROUNDING = 1e-6  # of a float32 result, relative to the larger of 1 and the result itself
BFLOAT16_ROUNDING = 2**-8  # of a bfloat16 one
ROUNDING_OF_SUMS = 1e-12  # of a float64 figure that is computed from whole numbers, relative


def find_borderline(low: Predictions, high: Predictions) -> np.ndarray:
    """Returns the labels whose decision depends on the exact scores and counts, bool [N, C].

    A label is certain to be chosen if fewer labels than the lowest count can have as high a score. It is
    certain not to be chosen if as many as the highest count have a higher score in any case. All others are
    borderline. Scores and counts are taken to vary independently: of several close labels of one image one
    too many may be returned, but none is missed.

    Args:
        low: the least scores [N, C] and counts [N] that are possible within the tolerance.
        high: the largest scores and counts.
    """
    above, below = np.empty(low.scores.shape, int), np.empty(low.scores.shape, int)
    for i, (least, most) in enumerate(zip(low.scores, high.scores, strict=True)):
        above[i] = len(most) - 1 - np.searchsorted(np.sort(most), least, "left")  # may rank before it
        below[i] = len(least) - np.searchsorted(np.sort(least), most, "right")  # must rank before it
    chosen = above < low.known_counts[:, None]
    left_out = (below >= high.known_counts[:, None]) | np.isneginf(high.scores)
    return ~(chosen | left_out)


def compare_choices(
    chosen: np.ndarray, reference: np.ndarray, borderline: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the labels on which two computations differ: disagreements and borderline ones, bool [N, C].

    Args:
        chosen: labels that one computation chooses, bool [N, C].
        reference: labels that the other one chooses, bool [N, C].
        borderline: labels that `find_borderline` returns, bool [N, C].
    """
    different = chosen != reference
    return different & ~borderline, different & borderline


def is_descending(values: np.ndarray, tolerance: float) -> bool:
    """Returns whether no value [n] is larger than one before it by more than the tolerance."""
    values = np.asarray(values, np.float64)
    return bool((np.minimum.accumulate(values)[:-1] >= values[1:] - tolerance).all())


def is_better(value: float, best: float) -> bool:
    """Returns whether a value is larger than the best so far by more than float32 rounds.

    Of values that are equal but for rounding the first one is kept, on every processor.
    """
    return value > best and not math.isclose(value, best, rel_tol=ROUNDING)


def first_best(values: Sequence[float] | np.ndarray, tolerance: float = ROUNDING_OF_SUMS) -> int:
    """Returns the index of the largest value; of values that are equal but for rounding, the first index."""
    array = np.asarray(values, np.float64)
    largest = array.max()
    return int(np.argmax(array >= largest - tolerance * abs(largest)))
