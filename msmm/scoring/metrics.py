"""The metrics of section IV: eq. 6-7 for annotations, accuracy and MSE for label quantities.

`metrics_from_counts` computes eq. 6-7; every report uses it.

Per class j, `correct`, `predicted` and `given` are NI^c, NI^p and NI^g of eq. 6. The per-image
sums of eq. 6 run over all images, so they equal the sums of the same counts over all classes.

The paper does not state two conventions (decision 32). A precision or recall of 0/0 is 0, and its class stays
in the mean over the C classes. The F1 of 0 and 0 is 0. So a class that is never predicted has precision 0,
and a class without positives has recall 0. Both are counted beside the metrics, because both lower C-P or
C-R.
"""

from typing import Any

import numpy as np

from msmm.scoring.predictions import round_counts

METRICS = ("C-P", "C-R", "C-F1", "I-P", "I-R", "I-F1", "H-F1")


def annotation_metrics(truth: np.ndarray, chosen: np.ndarray) -> dict[str, float]:
    """Returns the metrics of eq. 6-7 over N images and C classes.

    Args:
        truth: [N, C] bool (or 0/1), the ground-truth labels; N >= 1, C >= 1.
        chosen: [N, C] bool (or 0/1), the chosen labels, as `predictions.choose_labels` returns.

    Returns:
        "C-P", "C-R", "C-F1", "I-P", "I-R", "I-F1", "H-F1" in percent, not rounded;
        "classes never predicted", "classes without positives" (int);
        "mean predicted", "mean true" (float, labels per image).

    Raises:
        ValueError: the arrays are not [N, C] of one shape, are empty or hold other values than 0/1.
    """
    truth = as_indicators("truth", truth)
    chosen = as_indicators("chosen", chosen, truth.shape)
    correct, predicted, given = (truth & chosen).sum(0), chosen.sum(0), truth.sum(0)
    return {key: float(value) for key, value in metrics_from_counts(correct, predicted, given).items()} | {
        "classes never predicted": int((predicted == 0).sum()),
        "classes without positives": int((given == 0).sum()),
        "mean predicted": float(predicted.sum() / len(truth)),
        "mean true": float(given.sum() / len(truth)),
    }


def per_class_f1(truth: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Returns the F1 of each class, [C] float64 in percent; 0 where a class has no positive or no prediction.

    Its mean is not C-F1: eq. 6 takes the harmonic mean of the mean precision and the mean recall.
    Arguments and errors are the same as for `annotation_metrics`.
    """
    truth = as_indicators("truth", truth)
    chosen = as_indicators("chosen", chosen, truth.shape)
    return 100 * _ratio(2 * (truth & chosen).sum(0), chosen.sum(0) + truth.sum(0))


def quantity_metrics(truth_counts: np.ndarray, raw_counts: np.ndarray) -> dict[str, float]:
    """Returns the metrics of predicted label quantities (section IV-D1).

    Args:
        truth_counts: [N] integers >= 0, the true number of labels m; N >= 1.
        raw_counts: [N] float, the regressor's output before any rounding.

    Returns:
        "Accuracy": percent of images whose rounded quantity is m. `round_counts` rounds: to the
            nearest integer and at least 1 (decision 21), because this is the
            quantity that annotates. The upper limit C is not applied: it could only matter to
            an image that carries every label.
        "MSE": mean of (raw - m)^2 on the raw values, in labels^2. With integers it could not be
            below 1 - accuracy, as the paper's 0.437 is (decision 21).
        "variance of true": mean of (m - mean m)^2, the MSE of the best constant.
        "mean predicted", "mean true": labels per image, after rounding.

    Raises:
        ValueError: not two [N] arrays of one length, N = 0, m not whole or negative, or not finite.
    """
    truth, raw = np.asarray(truth_counts), np.asarray(raw_counts)
    if truth.ndim != 1 or truth.shape != raw.shape or not len(truth):
        raise ValueError(
            f"expected truth and raw counts [N], N >= 1. Received: {truth.shape} and {raw.shape}"
        )
    truth, raw = truth.astype(np.float64), raw.astype(np.float64)
    if not (np.isfinite(truth).all() and (truth >= 0).all() and (truth % 1 == 0).all()):
        raise ValueError("expected true counts as whole numbers from 0. Received: others")
    rounded = round_counts(raw, np.iinfo(np.int32).max)
    return {
        "Accuracy": float(100 * (rounded == truth).mean()),
        "MSE": float(((raw - truth) ** 2).mean()),
        "variance of true": float(truth.var()),
        "mean predicted": float(rounded.mean(dtype=np.float64)),
        "mean true": float(truth.mean()),
    }


def metrics_from_counts(correct, predicted, given, ops: Any = np) -> dict[str, Any]:
    """Returns `METRICS` in percent (eq. 6-7).

    Args:
        correct, predicted, given: counts per class, [..., C].
        ops: the module that computes: NumPy, or keras.ops for tensors.

    Returns:
        Values [...] by name.
    """
    # Eq. 6: C-P, C-R, I-P and I-R.
    c_p, c_r = (ops.mean(_ratio(correct, counts, ops), axis=-1) for counts in (predicted, given))
    i_p, i_r = (
        _ratio(ops.sum(correct, axis=-1), ops.sum(counts, axis=-1), ops) for counts in (predicted, given)
    )
    # Eq. 7: C-F1, I-F1 and H-F1.
    c_f1, i_f1 = _harmonic(c_p, c_r, ops), _harmonic(i_p, i_r, ops)
    values = (c_p, c_r, c_f1, i_p, i_r, i_f1, _harmonic(c_f1, i_f1, ops))
    return {key: 100 * value for key, value in zip(METRICS, values, strict=True)}


def _harmonic(x, y, ops):
    return _ratio(2 * x * y, x + y, ops)


def _ratio(numerator, denominator, ops: Any = np):
    """Returns the element-wise ratio; 0/0 is 0 (a zero denominator has a zero numerator here)."""
    return numerator / ops.where(denominator == 0, 1, denominator)


def as_indicators(name: str, array: np.ndarray, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """Returns `array` as [N, C] bool; raises ValueError where it is not [N, C] of 0/1."""
    array = np.asarray(array)
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(f"expected {name} [N, C] with N >= 1 and C >= 1. Received: shape {array.shape}")
    if shape is not None and array.shape != shape:
        raise ValueError(f"expected {name} of the shape of truth, {shape}. Received: {array.shape}")
    if array.dtype == bool:
        return array
    as_bool = array == 1
    if not (as_bool | (array == 0)).all():
        raise ValueError(f"expected {name} as bool or 0/1. Received: {array.dtype} with other values")
    return as_bool
