"""The contract between every model and every metric: scores, and how many labels to keep.

A model that only ranks returns `scores`; one that predicts the quantity returns `counts` too. A recurrent
decoder returns its emitted order as scores and its length as counts; the paper's upper bound has
`counts` = the true m.
"""

import dataclasses

import numpy as np

_SCORES_AT_ONCE = 2**20  # ranked at a time, 16 MiB of ranks


@dataclasses.dataclass(frozen=True)
class Predictions:
    """Predictions for N images.

    Attributes:
        scores: [N, C] float32, higher is more certain; -inf is never chosen.
        counts: [N] int32, the number of labels to keep; None if the model only ranks.
    """

    scores: np.ndarray
    counts: np.ndarray | None = None

    def __post_init__(self):
        if self.scores.ndim != 2:
            raise ValueError(f"expected scores [N, C]. Received: shape {self.scores.shape}")
        if np.isnan(self.scores).any():
            raise ValueError("expected scores without NaN. Received: NaN")
        if self.counts is not None and self.counts.shape != self.scores.shape[:1]:
            raise ValueError(f"expected counts [{len(self.scores)}]. Received: shape {self.counts.shape}")
        if self.counts is not None and not np.issubdtype(self.counts.dtype, np.integer):
            raise ValueError(f"expected integer counts (see round_counts). Received: {self.counts.dtype}")

    @property
    def known_counts(self) -> np.ndarray:
        """The counts [N]; raises ValueError if the model only ranks."""
        if self.counts is None:
            raise ValueError("expected predictions with counts. Received: scores alone")
        return self.counts


def choose_labels(predictions: Predictions, k: int | None = None) -> np.ndarray:
    """Returns the chosen labels as bool [N, C]: the `k` best, or the `counts` best if `k` is None.

    Ties go to the lower class id; a score of -inf is never chosen.
    """
    if k is None and predictions.counts is None:
        raise ValueError("expected k or counts. Received: neither")
    if k is not None and k < 1:
        raise ValueError(f"expected k >= 1. Received: {k}")
    counts = predictions.known_counts if k is None else np.full(len(predictions.scores), k)
    images, classes = predictions.scores.shape
    chosen, size = np.empty((images, classes), bool), max(1, _SCORES_AT_ONCE // max(1, classes))
    for start in range(0, images, size):
        scores = predictions.scores[start : start + size]
        order = np.argsort(-scores, axis=1, kind="stable")
        rank = np.empty_like(order)
        np.put_along_axis(rank, order, np.arange(classes)[None], axis=1)
        chosen[start : start + size] = rank < counts[start : start + size, None]
        chosen[start : start + size] &= scores > -np.inf
    return chosen


def round_counts(raw: np.ndarray, num_classes: int) -> np.ndarray:
    """Rounds raw quantities [N] to counts [N] int32: nearest, halves up, within 1 … C (decision 21)."""
    raw = np.asarray(raw, np.float64)  # float32 cannot hold every limit exactly
    if not np.isfinite(raw).all():
        raise ValueError("expected finite raw quantities. Received: NaN or infinity")
    return np.clip(np.floor(raw + 0.5), 1, num_classes).astype(np.int32)
