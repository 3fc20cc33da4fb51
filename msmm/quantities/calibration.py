"""Calibrated probabilities: Platt scaling with shrunk class offsets."""

import dataclasses

import numpy as np

from msmm.quantities.held_out_predictions import HeldOutPredictions
from msmm.scoring.logits import sigmoid

# Precisions of the priors. A class's own offset has half the weight where its held-out images hold ten
# units of information, Σ p(1 - p): with few of them all classes share one offset.
OFFSET_PRECISION = 10.0
SLOPE_PRECISION = 1.0
LEAST_SLOPE = 0.05  # keeps it monotone where a classifier is worse than chance
_STEPS = 50


@dataclasses.dataclass(frozen=True)
class Calibration:
    """A logit z of class j becomes slope z + offsets[j]; slope > 0, so a class's order is kept."""

    slope: float
    offsets: tuple[float, ...]

    @classmethod
    def fit(cls, held_out: HeldOutPredictions) -> "Calibration":
        """Returns the most probable slope and offsets (Platt 1999, with partial pooling).

        They minimise eq. 4 on held-out images plus normal priors: the slope about 1, the offsets about a
        common offset that is free. Several rules fit it on the same images: the last fits are kept.
        """
        if held_out.digest not in _FITTED:
            _FITTED[held_out.digest] = cls._fit(held_out)
            if len(_FITTED) > _KEPT:
                del _FITTED[next(iter(_FITTED))]
        return _FITTED[held_out.digest]

    @classmethod
    def _fit(cls, held_out: HeldOutPredictions) -> "Calibration":
        z, y = held_out.logits, held_out.labels.astype(np.float64)
        solution = _minimise(z, y, free_slope=True)
        if solution[0] < LEAST_SLOPE:
            solution = _minimise(LEAST_SLOPE * z, y, free_slope=False)
            solution[0] = LEAST_SLOPE
        return cls(float(solution[0]), tuple(float(v) for v in solution[1] + solution[2:]))

    def logits(self, z: np.ndarray) -> np.ndarray:
        """Returns calibrated logits [N, C] of logits [N, C]."""
        return self.slope * z + np.array(self.offsets)

    def probabilities(self, z: np.ndarray) -> np.ndarray:
        """Returns calibrated probabilities [N, C] of logits [N, C]."""
        return sigmoid(self.logits(z))


_KEPT = 16  # fits: all images, and the folds of two cross-validations
_FITTED: dict[str, Calibration] = {}  # digest of held-out predictions -> fit; the oldest first


def _solve_arrowhead(
    corner: np.ndarray, border: np.ndarray, diagonal: np.ndarray, right: np.ndarray
) -> np.ndarray:
    """Returns x of [[corner, border], [borderᵀ, diag(diagonal)]] x = right in O(C), not O(C³).

    corner [2, 2], border [2, C], diagonal [C], right [2 + C], x [2 + C].
    """
    scaled = border / diagonal
    first = np.linalg.solve(corner - scaled @ border.T, right[:2] - scaled @ right[2:])
    return np.r_[first, right[2:] / diagonal - first @ scaled]


def _minimise(z: np.ndarray, y: np.ndarray, free_slope: bool) -> np.ndarray:
    """Returns (slope, common offset, C class offsets) by Newton's method with halved steps; convex."""
    classes = z.shape[1]
    prior = np.r_[SLOPE_PRECISION if free_slope else 1e12, 1e-6, np.full(classes, OFFSET_PRECISION)]
    centre = np.r_[1.0, 0.0, np.zeros(classes)]

    def objective(v):
        u = v[0] * z + v[1] + v[2:]
        return (np.logaddexp(0, u) - y * u).sum() + (prior * (v - centre) ** 2).sum() / 2

    solution = centre.copy()
    now = objective(solution)
    for _ in range(_STEPS):
        p = sigmoid(solution[0] * z + solution[1] + solution[2:])
        error, weight = p - y, p * (1 - p)
        gradient = np.r_[(error * z).sum(), error.sum(), error.sum(0)] + prior * (solution - centre)
        weighted = weight * z
        of_class, tilted = weight.sum(0), weighted.sum(0)
        corner = np.diag(prior[:2])  # of slope and common offset
        corner += [[(weighted * z).sum(), tilted.sum()], [tilted.sum(), of_class.sum()]]
        step = _solve_arrowhead(corner, np.stack([tilted, of_class]), prior[2:] + of_class, gradient)
        then = objective(solution - step)
        while then > now and np.abs(step).max() > 1e-9:
            step /= 2
            then = objective(solution - step)
        solution, now = solution - step, then
        if np.abs(step).max() < 1e-8:
            break
    return solution
