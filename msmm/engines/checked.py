"""bfloat16 with float32's labels: what its error could change is computed again.

How large that error is, the first images say, which are computed in both.
"""

import numpy as np

from msmm.exporting.formats import Run
from msmm.model_dir import Decide, Engine
from msmm.quantities.held_out import logits, sigmoid

FIRST = 64  # images
SHARE = 0.99  # of the errors of the first images' labels that are within what is taken as the error
LEAST = 0.02  # probability of the labels that are looked at: no rule chooses others
DRAWS = 16


class Checked(Engine):
    """rough, exact: the network in bfloat16 and in float32. sizes: as of an `Engine`."""

    def __init__(self, rough: Run, exact: Run, sizes):
        super().__init__(rough, sizes)
        self._exact, self._first, self._error = exact, [], None
        self._rng = np.random.default_rng(0)
        self.images = self.again = 0  # how many were decided, and computed again

    def decided(self, image: np.ndarray, tags: np.ndarray, decide: Decide):
        self.images += len(image)
        if self._error is None:
            if sum(len(said["quantity"]) for *_, said in self._first) < FIRST:
                self._first.append((image, tags, self._exact(image, tags)))
                return _with_choice(self._first[-1][2], tags, decide)
            self._error = self._measured()
        said = {name: np.array(value) for name, value in self.run(image, tags).items()}
        doubtful = np.flatnonzero(self._doubtful(said, tags, decide))
        self.again += len(doubtful)
        if len(doubtful):
            exact = self._exact(image[doubtful], tags[doubtful])
            for name in ("probabilities", "quantity"):
                said[name][doubtful] = exact[name]
        return _with_choice(said, tags, decide)

    def _measured(self) -> tuple[float, float]:
        """The error of a logit, and of a quantity."""
        of_logits, of_quantities = [], []
        for image, tags, exact in self._first:
            rough = self.run(image, tags)
            looked_at = exact["probabilities"] >= LEAST
            moved = logits(rough["probabilities"]) - logits(exact["probabilities"])
            of_logits += list(np.abs(moved[looked_at]))
            of_quantities += list(np.abs(rough["quantity"] - exact["quantity"]))
        self._first = []
        return tuple(float(np.quantile(e, SHARE)) if e else 0.0 for e in (of_logits, of_quantities))

    def _doubtful(self, said, tags: np.ndarray, decide: Decide) -> np.ndarray:
        """Which images have other labels if everything is moved by the error, up or down; bool [B]."""
        z, raw = logits(said["probabilities"]), said["quantity"]
        chosen, doubtful = decide(said["probabilities"], raw, tags), np.zeros(len(raw), bool)
        signs = self._rng.choice([-1.0, 1.0], (DRAWS, len(raw), z.shape[1] + 1))
        signs[:4, :, :-1] = np.array([1, 1, -1, -1])[:, None, None]  # all labels together, too
        signs[:4, :, -1] = np.array([1, -1, 1, -1])[:, None]
        for sign in signs:
            moved = sigmoid(z + sign[:, :-1] * self._error[0]).astype(np.float32)
            moved_raw = (raw + sign[:, -1] * self._error[1]).astype(np.float32)
            doubtful |= (decide(moved, moved_raw, tags) != chosen).any(axis=1)
        return doubtful


def _with_choice(said, tags: np.ndarray, decide: Decide):
    probabilities, quantity = said["probabilities"], said["quantity"]
    return probabilities, quantity, decide(probabilities, quantity, tags)
