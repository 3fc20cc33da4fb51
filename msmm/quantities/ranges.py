"""The lowest and the highest scores and counts of a counting rule whose inputs are known up to a tolerance.

`scoring.borderline` finds from them the labels whose decision rounding can reverse.
"""

import numpy as np

from msmm.quantities import thresholds
from msmm.quantities.count_distribution import expected_f1
from msmm.quantities.counting_rules import CountingRule, ExpectedF1, GuidedThreshold
from msmm.scoring.logits import to_logits
from msmm.scoring.predictions import Predictions

Range = tuple[Predictions, Predictions]


def predict_range(
    rule: CountingRule, probabilities: np.ndarray, raw: np.ndarray, tolerance: float, raw_tolerance: float
) -> Range:
    """Returns the lowest and the highest scores and counts of a counting rule.

    Args:
        rule: one of the registry, or `AtLeast`.
        probabilities: [N, C] float, each known up to `tolerance`.
        raw: [N] float, the regressor's quantities, each known up to `raw_tolerance`.
    """
    p, m = np.asarray(probabilities, np.float64), np.asarray(raw, np.float64)
    low, high = np.clip(p - tolerance, 0, 1), np.clip(p + tolerance, 0, 1)
    fewer, more = m - raw_tolerance, m + raw_tolerance
    if isinstance(rule, GuidedThreshold):
        return _guided_range(rule, low, high, fewer, more)
    if isinstance(rule, ExpectedF1):
        return _expected_f1_range(rule, low, high)
    # Scores and counts of all others rise with probabilities and quantities.
    return rule.apply(low, fewer), rule.apply(high, more)


def _guided_range(rule: GuidedThreshold, low, high, fewer, more) -> Range:
    """Returns the range of a guided threshold.

    A label's score rises with its own probability and the quantity, and falls with the sum of all.
    """
    calibration = rule.calibration

    def annotate(own, quantity, all_others):
        expected = calibration.probabilities(to_logits(all_others)).sum(axis=1)
        scores = calibration.logits(to_logits(own)) + rule.precision * (quantity - expected)[:, None]
        return thresholds.choose_above_zero(scores - rule.threshold)

    return annotate(low, fewer, high), annotate(high, more, low)


def _expected_f1_range(rule: ExpectedF1, low, high) -> Range:
    """Returns the range of counts with the highest expected F1, for probabilities in the range."""
    low, high = (rule.calibration.probabilities(to_logits(p)) for p in (low, high))
    order = np.argsort(-(low + high), axis=1, kind="stable")
    limits = [np.take_along_axis(p, order, axis=1) for p in (low, high)]
    middle = (limits[0] + limits[1]) / 2
    f1 = expected_f1(middle)
    lead = f1.max(axis=1, keepdims=True) - f1
    # Expected F1 is at most 1, and linear in each probability, which moves it by no more than itself.
    can_be_best = lead <= (high - low).sum(axis=1, keepdims=True)
    rows = np.flatnonzero(can_be_best.sum(axis=1) > 1)
    if len(rows):
        best, moved = f1[rows].argmax(axis=1)[:, None], 0.0
        for j in range(low.shape[1]):  # how far each probability moves the lead of the best count, exactly
            ends = []
            for limit in limits:
                p = middle[rows]
                p[:, j] = limit[rows, j]
                ends.append(expected_f1(p))
            change = ends[1] - ends[0]
            moved = moved + np.abs(change - np.take_along_axis(change, best, axis=1)) / 2
        can_be_best[rows] &= lead[rows] <= 1.01 * moved  # 1.01: of two together, a little more
    fewest = can_be_best.argmax(axis=1) + 1
    most = can_be_best.shape[1] - can_be_best[:, ::-1].argmax(axis=1)
    return Predictions(low, fewest), Predictions(high, most)
