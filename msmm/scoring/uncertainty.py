"""The uncertainty of predictions, by which a reviewer chooses what to look at first."""

import numpy as np


def expected_errors(probabilities: np.ndarray) -> np.ndarray:
    """Returns how many labels of each image are expected to be wrong, [N] float64: Σ_c min(p_c, 1 − p_c).

    That is the number of errors if each label is given where its probability is at least one half, and
    the probabilities are right.

    Args:
      probabilities: [N, C] in 0 … 1.
    """
    p = np.asarray(probabilities, np.float64)
    return np.minimum(p, 1 - p).sum(axis=1)


def order_by_uncertainty(probabilities: np.ndarray) -> np.ndarray:
    """Returns the rows of `probabilities` [N, C], the least sure first, [N] int64; ties keep their order."""
    return np.argsort(-expected_errors(probabilities), kind="stable")
