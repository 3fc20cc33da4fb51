"""The starter model's default counting: thresholds for few wrong keywords."""

import numpy as np

from msmm.quantities.counting_rules import ClassThresholds
from msmm.quantities.held_out_predictions import HeldOutPredictions

CONFIDENCE = 1.645  # standard deviations; one-sided 95 %
CANDIDATES = 200  # thresholds tried
AT_LEAST = 0  # labels of a photograph: none is better than a wrong one
# Share of the photographs without a label that may get it, if most photographs have it: people are on three
# quarters of these photographs of MSCOCO, and on fewer of many collections.
MOST_FALSE = 0.05


def fit_precise_thresholds(
    held_out: HeldOutPredictions, is_object: np.ndarray, objects: float, nouns: float
) -> ClassThresholds:
    """Returns a threshold for objects and one for nouns, with a precision that held-out images support.

    Each is the lowest threshold whose lower bound of the precision (`lower_bound`) reaches its target. If no
    threshold reaches the target, the one with the highest bound is taken. A label that most images have
    gets a higher one of its own, which at most MOST_FALSE of the images without it reach. An image may get
    no label.

    Args:
        held_out: predictions for images that trained no weights.
        is_object: bool [C]; the other labels are nouns, whose truth is incomplete.
        objects, nouns: targets, 0 to 1.
    """
    z, truth = held_out.logits, held_out.labels
    cuts, least = np.zeros(z.shape[1]), _least_cuts(z, truth)
    for columns, target in (is_object, objects), (~is_object, nouns):
        if columns.any():
            common = _lowest_sufficient(z[:, columns], truth[:, columns], least[columns], target)
            cuts[columns] = np.maximum(common, least[columns])
    return ClassThresholds(tuple(float(cut) for cut in cuts), AT_LEAST)


def _least_cuts(z: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Returns the least threshold of each label by MOST_FALSE, [C]; -inf of labels that few images have."""
    least = np.full(z.shape[1], -np.inf)
    for label in np.flatnonzero(truth.mean(axis=0) > 0.5):
        without = np.sort(z[~truth[:, label], label])[::-1]
        if len(without):
            least[label] = np.nextafter(without[int(MOST_FALSE * len(without))], np.inf)
    return least


def _candidates(z: np.ndarray) -> np.ndarray:
    """Returns thresholds from high to low; each of them lets about as many further labels pass."""
    likely = np.sort(z.ravel())[::-1][: 5 * len(z)]  # five labels per image are enough
    return np.unique(likely[np.linspace(0, len(likely) - 1, CANDIDATES).round().astype(int)])[::-1]


def _lowest_sufficient(z: np.ndarray, truth: np.ndarray, least: np.ndarray, target: float) -> float:
    """Returns the lowest of `_candidates` whose lower bound of the precision reaches a target.

    Args:
        z: logits [n, C]. truth: bool [n, C].
        least: thresholds that labels have at least, [C].
        target: 0 to 1.
    """
    candidates = _candidates(z)
    counts = (_count_right(z >= np.maximum(cut, least), truth) for cut in candidates)
    bounds = np.array([lower_bound(*right_and_chosen) for right_and_chosen in counts])
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
