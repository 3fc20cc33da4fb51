"""Metrics of the field that the paper does not print: average precision, and C-F1/I-F1 at probability 0.5.

Average precision (AP) of a class is a mean over the images that have it: of the precision of the ranking down
to that image. mAP is the mean AP over the classes that have a positive image.

Equal scores are one threshold: all of their images count as retrieved together, so AP does not depend on the
order of the images. This is scikit-learn's `average_precision_score`. Evaluators of the field that break ties
by row order (`ties="rows"`) agree with it where no scores are equal. They do not agree for a decoder that
scores every label it does not predict as -inf.
"""

import numpy as np

from msmm.scoring.metrics import annotation_metrics, as_indicators

MEAN_AP = "mAP"
AT_HALF = ("C-F1 at p 0.5", "I-F1 at p 0.5")
RANKING_METRICS = (MEAN_AP, *AT_HALF)
TIES = ("threshold", "rows")
_SCORES_AT_ONCE = 2**21  # ranked at a time, about 100 MiB


def average_precision(truth: np.ndarray, scores: np.ndarray, ties: str = "threshold") -> np.ndarray:
    """Computes the average precision of each class.

    Args:
        truth: [N, C] bool (or 0/1), the ground-truth labels.
        scores: [N, C] float, higher is surer; -inf is allowed, NaN is not.
        ties: "threshold": equal scores are retrieved together; "rows": the lower row comes first.

    Returns:
        [C] float64 in percent; NaN for a class without a positive image.

    Raises:
        ValueError: wrong shapes or values.
    """
    truth = as_indicators("truth", truth)
    scores = np.asarray(scores)
    if scores.shape != truth.shape or np.isnan(scores).any():
        raise ValueError(f"expected scores {truth.shape} without NaN. Received: {scores.shape}")
    if ties not in TIES:
        raise ValueError(f"expected ties of {TIES}. Received: {ties!r}")
    blocks = max(1, min(truth.size // _SCORES_AT_ONCE, truth.shape[1] // 2))
    columns = np.array_split(np.arange(truth.shape[1]), blocks)
    slices = [slice(block[0], block[-1] + 1) for block in columns]
    return np.concatenate([_average_precision(truth[:, s], scores[:, s], ties) for s in slices])


def _average_precision(truth: np.ndarray, scores: np.ndarray, ties: str) -> np.ndarray:
    order = np.argsort(-scores, axis=0, kind="stable")
    ranked = np.take_along_axis(scores, order, axis=0)
    hits = np.take_along_axis(truth, order, axis=0)
    last = _last_of_ties(ranked) if ties == "threshold" else np.arange(len(truth))[:, None]
    retrieved_hits = np.take_along_axis(hits.cumsum(axis=0), np.broadcast_to(last, hits.shape), axis=0)
    precision = retrieved_hits / (last + 1)
    positives = hits.sum(axis=0)
    with np.errstate(invalid="ignore"):  # 0/0 of a class without positives is NaN
        return 100 * (precision * hits).sum(axis=0) / positives


def mean_average_precision(truth: np.ndarray, scores: np.ndarray, ties: str = "threshold") -> float:
    """Computes mAP in percent, over the classes with a positive image; NaN where there is none.

    Arguments and errors are the same as for `average_precision`.
    """
    per_class = average_precision(truth, scores, ties)
    present = per_class[~np.isnan(per_class)]
    return float(present.mean()) if present.size else float("nan")


def ranking_metrics(
    truth: np.ndarray, scores: np.ndarray, score_at_half_probability: float | None = 0.5
) -> dict[str, float]:
    """Computes mAP and, where scores are probabilities or logits, C-F1 and I-F1 (eq. 6) at probability 0.5.

    Args:
        truth: [N, C] bool.
        scores: [N, C] float.
        score_at_half_probability: the score of a label of probability 0.5: 0.5 for probabilities, 0 for
            logits. None where scores are neither; only mAP is computed then.

    Returns:
        `RANKING_METRICS` -> percent. F1 counts all labels above that score; an image may have none.
    """
    values = {MEAN_AP: mean_average_precision(truth, scores)}
    if score_at_half_probability is not None:
        at_half = annotation_metrics(truth, np.asarray(scores) > score_at_half_probability)
        values |= dict(zip(AT_HALF, (at_half["C-F1"], at_half["I-F1"]), strict=True))
    return values


def _last_of_ties(ranked: np.ndarray) -> np.ndarray:
    """Returns for each score the last row of its column with an equal score, [N, C]; columns descend."""
    n = len(ranked)
    ends = np.ones(ranked.shape, bool)
    ends[:-1] = ranked[1:] != ranked[:-1]
    rows = np.where(ends, np.arange(n)[:, None], n)
    return np.minimum.accumulate(rows[::-1], axis=0)[::-1]
