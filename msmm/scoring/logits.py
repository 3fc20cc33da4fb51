"""Probabilities to logits and back, in NumPy."""

import numpy as np

NEAREST = 1e-7  # a probability's least distance from 0 and 1 before its logit: the resolution of float32


def to_logits(probabilities: np.ndarray) -> np.ndarray:
    """Returns log(p / (1 - p)), float64, finite also for 0 and 1."""
    p = np.asarray(probabilities, np.float64)
    p = np.clip(p, NEAREST, 1 - NEAREST, out=np.empty_like(p))
    z = np.log(p, out=np.empty_like(p))
    np.log1p(np.negative(p, out=p), out=p)  # in place: the arrays of many classes are large
    return np.subtract(z, p, out=z)


def sigmoid(z: np.ndarray) -> np.ndarray:
    """Returns 1 / (1 + exp(-z)) without overflow."""
    y = np.negative(np.asarray(z, None if np.issubdtype(np.asarray(z).dtype, np.floating) else np.float64))
    if not np.ndim(y):
        return np.exp(-np.logaddexp(0, y))
    np.negative(np.logaddexp(0, y, out=y), out=y)  # in place: the arrays of many classes are large
    return np.exp(y, out=y)
