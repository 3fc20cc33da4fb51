"""The speed of bfloat16 with the labels of float32: doubtful images are computed again in float32.

The errors of bfloat16 are measured on held-out images when a model is saved (`measure`, kept in the model
directory). An annotation is doubtful where some of these errors, added to the outputs for the image, would
change its labels. Where errors are missing, as in models of version 0.1.0, the first images are computed in
both precisions, and their errors count from then on.
"""

import dataclasses
import io
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from msmm.inference.exporting.formats import RunFunction
from msmm.scoring.borderline import ROUNDING
from msmm.scoring.logits import sigmoid, to_logits

IMAGES = 64  # errors that are kept of images without tags, and as many of images with tags
MIN_CHANGES = 3  # errors that must change labels to make an image doubtful; docs/research/benchmarks.md
FILE = "bfloat16_errors.npz"  # in a model directory

# Probabilities [N, C], raw quantities [N] and which images have tags, bool [N] -> chosen labels, bool [N, C].
Choose = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Errors:
    """Errors of bfloat16 on some images: a pair of arrays, of images without tags and of images with tags.

    Attributes:
      logits: float32 [N, C] each, errors of the logits of the probabilities.
      quantity: float32 [N] each, errors of the raw quantities.
    """

    logits: tuple[np.ndarray, np.ndarray]
    quantity: tuple[np.ndarray, np.ndarray]

    @classmethod
    def none(cls, num_labels: int) -> "Errors":
        """Returns errors of no images."""
        empty = np.zeros((0, num_labels), np.float32), np.zeros(0, np.float32)
        return cls((empty[0], empty[0]), (empty[1], empty[1]))

    def has_enough(self, kind: int) -> bool:
        """Returns whether there are enough errors of images without tags (0) or with tags (1)."""
        return len(self.quantity[kind]) >= IMAGES

    def with_measured(self, fast: Mapping, exact: Mapping, tagged: np.ndarray) -> "Errors":
        """Returns these errors and new ones, as far as they are needed.

        Args:
          fast, exact: outputs for the same images in bfloat16 and in float32.
          tagged: bool [N], which images have tags.
        """
        of_logits = to_logits(fast["probabilities"]) - to_logits(exact["probabilities"])
        of_quantity = fast["quantity"] - exact["quantity"]

        def extend(old, new):
            none, some = (np.concatenate([old[k], new[tagged == k]])[:IMAGES] for k in (0, 1))
            return none.astype(np.float32), some.astype(np.float32)

        return Errors(extend(self.logits, of_logits), extend(self.quantity, of_quantity))

    @classmethod
    def read(cls, directory: pathlib.Path, num_labels: int) -> "Errors":
        """Reads the errors in a checked model directory; none where it has no such file."""
        path = directory / FILE
        if not path.is_file():
            return cls.none(num_labels)
        with np.load(path, allow_pickle=False) as file:
            return cls(*(tuple(file[f"{name}_{k}"] for k in (0, 1)) for name in ("logits", "quantity")))

    def to_bytes(self) -> bytes:
        """Returns the content of the file `FILE`."""
        content = io.BytesIO()
        arrays: dict[str, Any] = {f"logits_{k}": self.logits[k] for k in (0, 1)}
        arrays |= {f"quantity_{k}": self.quantity[k] for k in (0, 1)}
        np.savez(content, **arrays)
        return content.getvalue()


def measure(
    fast: RunFunction, exact: RunFunction, batches: Iterable[tuple[np.ndarray, np.ndarray]], num_labels: int
) -> Errors:
    """Measures the errors of bfloat16 on images as they are and without their tags.

    Args:
      fast, exact: a network in bfloat16 and in float32.
      batches: images float32 [B, S, S, 3] and tags float32 [B, T].
      num_labels: C.
    """
    errors = Errors.none(num_labels)
    for image, tags in batches:
        tagged = np.asarray(tags.any(axis=1))
        for pixels, words in ((image, np.zeros_like(tags)), (image[tagged], tags[tagged])):
            if len(words):
                has_tags = np.asarray(words.any(axis=1))
                errors = errors.with_measured(fast(pixels, words), exact(pixels, words), has_tags)
    return errors


class SecondLook:
    """Replaces the outputs in bfloat16 of doubtful images by outputs in float32.

    Attributes:
      again: number of images that were computed again so far.
    """

    def __init__(self, fast_errors: Errors, exact: RunFunction):
        self._errors, self._exact, self.again = fast_errors, exact, 0

    def __call__(
        self, image: np.ndarray, tags: np.ndarray, outputs: Mapping[str, np.ndarray], choose: Choose
    ) -> Mapping[str, np.ndarray]:
        """Returns the outputs for a batch after the second look.

        Args:
          image, tags, outputs: arguments and result of a `RunFunction` in bfloat16.
          choose: chooses labels.
        """
        tagged = np.asarray(tags.any(axis=1))
        rows = np.flatnonzero(self.find_doubtful(outputs, tagged, choose))
        if not len(rows):
            return outputs
        self.again += len(rows)
        exact = self._exact(image[rows], tags[rows])
        fast = {name: np.asarray(outputs[name])[rows] for name in ("probabilities", "quantity")}
        if not all(self._errors.has_enough(kind) for kind in tagged[rows].astype(int)):
            self._errors = self._errors.with_measured(fast, exact, tagged[rows])
        corrected = {name: np.array(outputs[name]) for name in fast}
        for name, values in corrected.items():
            values[rows] = exact[name]
        return corrected

    def find_doubtful(
        self, outputs: Mapping[str, np.ndarray], tagged: np.ndarray, choose: Choose
    ) -> np.ndarray:
        """Returns which images `MIN_CHANGES` or more of the known errors would give other labels, bool [B].

        All images are doubtful whose kind has too few known errors.
        """
        doubtful = np.ones(len(tagged), bool)
        for kind in (0, 1):
            rows = np.flatnonzero(tagged == kind)
            if not len(rows) or not self._errors.has_enough(kind):
                continue
            probabilities, quantity = outputs["probabilities"][rows], outputs["quantity"][rows]
            # logits and sigmoid do not cancel exactly, and float32 itself makes errors as small as these.
            errors = self._errors.logits[kind]
            errors = np.where(np.abs(errors) > ROUNDING, errors, 0)
            moved = sigmoid(to_logits(probabilities)[:, None] - errors)
            moved = np.where(errors == 0, probabilities[:, None], moved)
            others = choose(
                moved.reshape(-1, moved.shape[2]).astype(np.float32),
                (quantity[:, None] - self._errors.quantity[kind]).ravel(),
                np.repeat(tagged[rows], moved.shape[1]),
            ).reshape(moved.shape)
            changed = (others != choose(probabilities, quantity, tagged[rows])[:, None]).any(axis=2)
            doubtful[rows] = changed.sum(axis=1) >= MIN_CHANGES
        return doubtful
