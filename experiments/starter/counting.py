"""The starter model's default counting: thresholds for few wrong keywords."""

import numpy as np

from msmm.quantities import thresholds
from msmm.quantities.counting_rules import ClassThresholds
from msmm.quantities.held_out_predictions import HeldOutPredictions
from msmm.scoring.predictions import choose_labels

CONFIDENCE = 1.645  # standard deviations; one-sided 95 %
CANDIDATES = 200  # thresholds tried
_ROUNDS = 2  # each threshold depends a little on the other one, by the best label of an image


def fit_precise_thresholds(
    held_out: HeldOutPredictions, is_object: np.ndarray, objects: float, nouns: float
) -> ClassThresholds:
    """Returns one threshold for objects and one for nouns, with a precision that held-out images support.

    Each is the lowest threshold whose lower bound of the precision (`lower_bound`) reaches its target. It is
    measured as the rule chooses labels, with the best label of an image that has none above its threshold
    (decision 21). If no threshold reaches the target, the one with the highest bound is taken.

    Args:
        held_out: predictions for images that trained no weights.
        is_object: bool [C]; the other labels are nouns, whose truth is incomplete.
        objects, nouns: targets, 0 to 1.
    """
    z, truth = held_out.logits, held_out.labels
    cuts = np.zeros(z.shape[1])

    def fit(columns, target):
        def count_right(cut):
            chosen = choose_labels(thresholds.choose_above_zero(z - np.where(columns, cut, cuts)))
            return _count_right(chosen[:, columns], truth[:, columns])

        if columns.any():
            cuts[columns] = _lowest_sufficient(_candidates(z[:, columns]), count_right, target)

    for _ in range(_ROUNDS):
        fit(~is_object, nouns)
        fit(is_object, objects)  # last: the truth of objects is complete
    return ClassThresholds(tuple(float(cut) for cut in cuts))


def _candidates(z: np.ndarray) -> np.ndarray:
    """Returns thresholds from high to low; each of them lets about as many further labels pass."""
    likely = np.sort(z.ravel())[::-1][: 5 * len(z)]  # five labels per image are enough
    return np.unique(likely[np.linspace(0, len(likely) - 1, CANDIDATES).round().astype(int)])[::-1]


def _lowest_sufficient(candidates: np.ndarray, count_right, target: float) -> float:
    """Returns the lowest candidate whose lower bound of the precision reaches a target.

    Args:
        candidates: thresholds from high to low.
        count_right: threshold -> (right, chosen) numbers of labels.
        target: 0 to 1.
    """
    bounds = np.array([lower_bound(*count_right(cut)) for cut in candidates])
    sufficient = np.flatnonzero(bounds >= target)
    return float(candidates[sufficient[-1] if len(sufficient) else bounds.argmax()])


def _count_right(chosen: np.ndarray, truth: np.ndarray) -> tuple[int, int]:
    return int((chosen & truth).sum()), int(chosen.sum())


def lower_bound(right: int, chosen: int) -> float:
    """Returns the one-sided 95 % lower bound of a precision (Wilson's score interval); 0 of no label."""
    if not chosen:
        return 0.0
    share, z2 = right / chosen, CONFIDENCE**2
    middle = share + z2 / (2 * chosen)
    spread = CONFIDENCE * np.sqrt(share * (1 - share) / chosen + z2 / (4 * chosen**2))
    return float((middle - spread) / (1 + z2 / chosen))


def measure_choice(chosen: np.ndarray, truth: np.ndarray, is_object: np.ndarray) -> dict[str, float]:
    """Returns precision and recall of objects and of nouns, in percent, and labels per photograph.

    Args:
        chosen, truth: bool [N, C].
        is_object: bool [C].
    """
    figures = {}
    for name, columns in ("objects", is_object), ("nouns", ~is_object):
        right, number = _count_right(chosen[:, columns], truth[:, columns])
        figures[f"precision of {name}"] = 100 * right / max(1, number)
        figures[f"recall of {name}"] = 100 * right / max(1, int(truth[:, columns].sum()))
    return figures | {"labels per photograph": float(chosen.sum(axis=1).mean())}
