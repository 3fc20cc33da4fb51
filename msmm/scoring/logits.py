"""Probabilities to logits and back, in NumPy."""

import numpy as np

NEAREST = 1e-7  # a probability's least distance from 0 and 1 before its logit: the resolution of float32


def to_logits(probabilities: np.ndarray) -> np.ndarray:
    """Returns log(p / (1 - p)), float64, finite also for 0 and 1."""
    p = np.clip(np.asarray(probabilities, np.float64), NEAREST, 1 - NEAREST)
    return np.log(p) - np.log1p(-p)


def sigmoid(z: np.ndarray) -> np.ndarray:
    """Returns 1 / (1 + exp(-z)) without overflow."""
    return np.exp(-np.logaddexp(0, -z))
