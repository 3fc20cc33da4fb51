"""Which of thousands of classes a report lists: the best and the worst ones, and groups by frequency."""

import numpy as np

MANY = 200  # classes that a list shows; of more it shows `ENDS` at either end
ENDS = 25
GROUPS = 5  # by frequency


def shown_classes(values: np.ndarray) -> np.ndarray:
    """Returns the classes that a list shows: all by id, or of more than `MANY` the best, then the worst.

    Args:
        values: [C] float, larger is better; of many classes those with NaN are left out.

    Returns:
        [n] int64, of many classes with descending values.
    """
    if len(values) <= MANY:
        return np.arange(len(values))
    order = np.argsort(-np.asarray(values, np.float64), kind="stable")
    known = order[: len(order) - int(np.isnan(values).sum())]  # NaN is sorted to the end
    return known if len(known) <= 2 * ENDS else np.r_[known[:ENDS], known[-ENDS:]]


def frequency_groups(frequency: np.ndarray) -> list[np.ndarray]:
    """Returns `GROUPS` equally large groups of classes [n] int64, the most frequent first.

    frequency: [C] int, images with each class.
    """
    order = np.argsort(-np.asarray(frequency), kind="stable")
    return [group for group in np.array_split(order, GROUPS) if len(group)]
