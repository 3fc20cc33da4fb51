"""Positive and negative relations between concepts, counted in training images.

Of concepts a and b in n_a and n_b of N images, n_ab of them with both:

    PMI = log(N n_ab / (n_a n_b))          z = √N (N n_ab - n_a n_b) / √(n_a n_b (N - n_a) (N - n_b))

z² is the χ² statistic of their 2x2 table; z is 0 where one of them is in no image or in all.
"""

import numpy as np
from scipy import sparse

SURE = 4.0  # |z| above which a relation is significant
SHARE = 0.1  # of a row: the highest PMI that may be positive relations
MOST = 50  # positive relations of a row
_PAIRS = 2**22  # of concepts, computed at a time


def find_relations(rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns masks (positive, negative), bool [R, S], of relations between R concepts and S others.

    positive: z > 4 and PMI among the highest tenth of the row (at most 50; the lower id first of
    equals). negative: z < -4. A concept with itself is in neither.

    Args:
        rows: bool [N, R], the images of each concept.
        columns: bool [N, S]; the same array for relations within one layer.
    """
    shape = rows.shape[1], columns.shape[1]
    positive, negative = np.zeros(shape, bool), np.zeros(shape, bool)
    both = (_count_matrix(rows).T @ _count_matrix(columns)).tocsr()  # sparse: most pairs never occur
    n_a, n_b = (concepts.sum(axis=0, dtype=np.float64) for concepts in (rows, columns))
    keep = min(MOST, int(np.ceil(SHARE * shape[1])))
    size = max(1, _PAIRS // max(1, shape[1]))
    for start in range(0, shape[0], size):
        some = slice(start, start + size)
        pmi, z = _statistics(len(rows), both[some].toarray(), n_a[some, None], n_b[None])
        if rows is columns:
            diagonal = np.arange(len(z))
            pmi[diagonal, start + diagonal], z[diagonal, start + diagonal] = -np.inf, 0
        order = np.argsort(-pmi, axis=1, kind="stable")[:, :keep]
        np.put_along_axis(positive[some], order, True, axis=1)
        positive[some] &= z > SURE
        negative[some] = z < -SURE
    return positive, negative


def _count_matrix(concepts: np.ndarray) -> sparse.csr_matrix:
    """Returns bool [N, R] as a sparse matrix of float64, in which sums are exact."""
    return sparse.csr_matrix(concepts, dtype=np.float64)


def _statistics(
    total: int, both: np.ndarray, n_a: np.ndarray, n_b: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns PMI (-inf where n_ab is 0) and z, float64 [R, S] each.

    Args:
        total: N.
        both: n_ab, [R, S].
        n_a, n_b: [R, 1] and [1, S].
    """
    spread = np.sqrt(n_a * n_b * (total - n_a) * (total - n_b) / total)
    z = np.divide(total * both - n_a * n_b, spread, out=np.zeros_like(both), where=spread > 0)
    with np.errstate(divide="ignore"):
        pmi = np.log(total * both) - np.log(np.maximum(n_a * n_b, 1))
    return pmi, z
