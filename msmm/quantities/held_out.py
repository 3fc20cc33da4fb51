"""What an estimator of label quantities is fitted on."""

import dataclasses

import numpy as np

NEAREST = 1e-7  # to 0 and 1, of a probability whose logit is taken: what float32 tells apart


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """What a trained model says of n images that trained none of its weights, and their truth.

    They did choose the epoch that each stage keeps, so what is measured on them is a little too good
    (decision 25); what is fitted on them is a handful of numbers.

    probabilities: [n, C] float in 0 … 1, the classifier's. raw: [n] float, the regressor's quantities
    before rounding. labels: [n, C] bool. k: labels an image where nothing counts them (decision 24).
    """

    probabilities: np.ndarray
    raw: np.ndarray
    labels: np.ndarray
    k: int = 3

    def __post_init__(self):
        n = len(self.labels)
        if self.probabilities.shape != self.labels.shape or self.raw.shape != (n,) or not n:
            raise ValueError(
                "expected probabilities and labels [n, C] and raw [n], n >= 1. Received: "
                f"{self.probabilities.shape}, {self.labels.shape} and {self.raw.shape}"
            )

    @property
    def logits(self) -> np.ndarray:
        """Of the probabilities, [n, C] float64."""
        return logits(self.probabilities)

    def take(self, rows: np.ndarray) -> "HeldOut":
        """The images of `rows` alone; a row may come more than once."""
        return HeldOut(self.probabilities[rows], self.raw[rows], self.labels[rows], self.k)


def logits(probabilities: np.ndarray) -> np.ndarray:
    """log(p / (1 - p)), float64, finite also for 0 and 1."""
    p = np.clip(np.asarray(probabilities, np.float64), NEAREST, 1 - NEAREST)
    return np.log(p) - np.log1p(-p)


def sigmoid(z: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-z)) without overflow."""
    return np.exp(-np.logaddexp(0, -z))
