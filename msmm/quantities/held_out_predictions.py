"""The data that counting rules are fitted on."""

import dataclasses
import functools
import hashlib

import numpy as np

from msmm.scoring.logits import to_logits

_MANY = 2**20  # pairs of an image and a class; NUS-WIDE has 0.9 million, 2,000 images of 5,000 classes 10


@dataclasses.dataclass(frozen=True)
class HeldOutPredictions:
    """A trained model's predictions for n images that trained none of its weights, and their ground truth.

    These images did choose the epoch that each stage keeps, so figures on them are a little too good
    (decision 25). A counting rule fits only a few numbers on them.

    Attributes:
        probabilities: [n, C] float in 0 … 1, of the classifier.
        raw: [n] float, the regressor's quantities before rounding.
        labels: [n, C] bool, the ground truth.
        k: labels per image where nothing counts them (decision 24).
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

    @functools.cached_property
    def digest(self) -> str:
        """Hash of the content: equal images in equal order have the same."""
        digest = hashlib.sha256(repr((self.probabilities.dtype, self.labels.shape, self.k)).encode())
        for array in (self.probabilities, self.raw, self.labels):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def repeats(self, most: int) -> int:
        """Returns how often a random computation is repeated: `most` times, or less often with many images
        and classes, which take time and leave less to chance."""
        return max(1, most * _MANY // max(_MANY, self.labels.size))

    @property
    def logits(self) -> np.ndarray:
        """Logits of the probabilities, [n, C] float64."""
        return to_logits(self.probabilities)

    def take(self, rows: np.ndarray) -> "HeldOutPredictions":
        """Returns the images of `rows` alone; a row may occur more than once."""
        return HeldOutPredictions(self.probabilities[rows], self.raw[rows], self.labels[rows], self.k)
