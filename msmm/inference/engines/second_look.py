"""bfloat16's speed with float32's labels: what its error could change is computed again in float32.

What bfloat16 gets wrong is measured once a network, on drawn scenes. An annotation is doubtful where some of
these errors, added to what is said of the image, would choose other labels.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping

import numpy as np

from msmm.inference.exporting.formats import Run
from msmm.scenes import recipe
from msmm.scoring.logits import sigmoid, to_logits

SCENES = 64  # whose errors are kept
FEW = 3  # of them change the labels of an image that is doubtful; BENCHMARKS.md
MOST_TAGS = 4  # of a scene
BATCH = 32  # images
FILE = "errors.npz"

# Probabilities [N, C], raw quantities [N] and who has tags, bool [N], to the chosen labels, bool [N, C].
Choose = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Errors:
    """Of bfloat16 on SCENES images without tags, and on the same with some.

    logits: float32 [2, SCENES, C], of the probabilities. quantity: float32 [2, SCENES], raw.
    """

    logits: np.ndarray
    quantity: np.ndarray

    @classmethod
    def measured(cls, fast: Run, exact: Run, sizes: Mapping[str, int]) -> "Errors":
        """fast, exact: a network in bfloat16 and in float32. sizes: see `model_dir.Engine`."""
        rng, side = np.random.default_rng(0), sizes["image"]
        scenes = [np.asarray(recipe.draw(0, i, side).image, np.float32) for i in range(SCENES)]
        tags = np.zeros((2, SCENES, sizes["tags"]), np.float32)
        for row in tags[1]:
            row[rng.integers(sizes["tags"], size=rng.integers(1, MOST_TAGS + 1))] = 1
        found = np.zeros((2, SCENES, sizes["labels"] + 1), np.float32)
        for first in range(0, SCENES, BATCH):
            some = slice(first, first + BATCH)
            for tagged in (0, 1):
                near, true = (run(np.stack(scenes[some]), tags[tagged, some]) for run in (fast, exact))
                found[tagged, some, :-1] = to_logits(near["probabilities"]) - to_logits(true["probabilities"])
                found[tagged, some, -1] = near["quantity"] - true["quantity"]
        return cls(found[..., :-1], found[..., -1])

    @classmethod
    def read(cls, directory: pathlib.Path) -> "Errors":
        with np.load(directory / FILE, allow_pickle=False) as file:
            return cls(file["logits"], file["quantity"])

    def write(self, directory: pathlib.Path) -> None:
        np.savez(directory / FILE, logits=self.logits, quantity=self.quantity)


class SecondLook:
    """What is said of a batch in bfloat16 to what is said of it once the doubtful images are float32.

    again: how many images were computed again so far.
    """

    def __init__(self, exact: Run, errors: Errors):
        self._exact, self._errors, self.again = exact, errors, 0

    def __call__(
        self, image: np.ndarray, tags: np.ndarray, said: Mapping[str, np.ndarray], choose: Choose
    ) -> Mapping[str, np.ndarray]:
        """image, tags, said: arguments and result of a `Run` in bfloat16."""
        rows = np.flatnonzero(self.doubtful(said, tags.any(axis=1), choose))
        if not len(rows):
            return said
        self.again += len(rows)
        again = self._exact(image[rows], tags[rows])
        mended = {name: np.array(said[name]) for name in ("probabilities", "quantity")}
        for name, values in mended.items():
            values[rows] = again[name]
        return mended

    def doubtful(self, said: Mapping[str, np.ndarray], tagged: np.ndarray, choose: Choose) -> np.ndarray:
        """Whether `FEW` or more of the known errors would change the labels of an image, bool [B]."""
        probabilities, quantity = said["probabilities"], said["quantity"]
        kind = tagged.astype(int)
        moved = sigmoid(to_logits(probabilities)[:, None] - self._errors.logits[kind])
        others = choose(
            moved.reshape(-1, moved.shape[2]).astype(np.float32),
            (quantity[:, None] - self._errors.quantity[kind]).ravel(),
            np.repeat(tagged, moved.shape[1]),
        ).reshape(moved.shape)
        changed = (others != choose(probabilities, quantity, tagged)[:, None]).any(axis=2)
        return changed.sum(axis=1) >= FEW
