"""Positive and negative relations between concepts, counted in training images.

Of concepts a and b in n_a and n_b of N images, n_ab of them with both:

    PMI = log(N n_ab / (n_a n_b))          z = √N (N n_ab - n_a n_b) / √(n_a n_b (N - n_a) (N - n_b))

z² is the χ² statistic of their 2x2 table; z is 0 where one of them is in no image or in all.
"""

import numpy as np

SURE = 4.0  # |z| above which a relation is significant
SHARE = 0.1  # of a row: the highest PMI that may be positive relations
MOST = 50  # positive relations of a row
BLOCK = 4096  # images counted at a time, as four bytes per concept


def find_relations(rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns masks (positive, negative), bool [R, S], of relations between R concepts and S others.

    positive: z > 4 and PMI among the highest tenth of the row (at most 50; the lower id first of
    equals). negative: z < -4. A concept with itself is in neither.

    Args:
        rows: bool [N, R], the images of each concept.
        columns: bool [N, S]; the same array for relations within one layer.
    """
    pmi, z = _statistics(rows, columns)
    if rows is columns:
        np.fill_diagonal(pmi, -np.inf)
        np.fill_diagonal(z, 0)
    keep = min(MOST, int(np.ceil(SHARE * columns.shape[1])))
    order = np.argsort(-pmi, axis=1, kind="stable")[:, :keep]
    high = np.zeros(z.shape, bool)
    np.put_along_axis(high, order, True, axis=1)
    return high & (z > SURE), z < -SURE


def _statistics(rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns PMI (-inf where n_ab is 0) and z, float64 [R, S] each."""
    total = len(rows)
    both = np.zeros((rows.shape[1], columns.shape[1]))
    for first in range(0, total, BLOCK):
        a, b = (part[first : first + BLOCK].astype(np.float32) for part in (rows, columns))
        both += a.T @ b
    n_a, n_b = rows.sum(axis=0, dtype=np.float64)[:, None], columns.sum(axis=0, dtype=np.float64)[None]
    spread = np.sqrt(n_a * n_b * (total - n_a) * (total - n_b) / total)
    z = np.divide(total * both - n_a * n_b, spread, out=np.zeros_like(both), where=spread > 0)
    with np.errstate(divide="ignore"):
        pmi = np.log(total * both) - np.log(np.maximum(n_a * n_b, 1))
    return pmi, z
