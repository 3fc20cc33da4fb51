import numpy as np
import pytest

from msmm.quantities.held_out_predictions import HeldOutPredictions
from msmm.scoring.logits import sigmoid


@pytest.fixture
def draw():
    """Returns a function that draws the outputs of an informative classifier and regressor, and labels.

    noise: standard deviation of the regressor's error. shift: standard deviation of a constant
    added to all logits of an image, so that its probabilities rank labels and do not count them.
    """

    def make(seed, n=200, classes=8, noise=0.7, shift=0.0):
        rng = np.random.default_rng(seed)
        z = rng.normal(np.linspace(-0.5, -3, classes), 1.8, size=(n, classes))
        labels = rng.uniform(size=z.shape) < sigmoid(z)
        labels[np.arange(n), z.argmax(axis=1)] = True
        raw = labels.sum(axis=1) + rng.normal(scale=noise, size=n)
        z = z + rng.normal(scale=shift, size=(n, 1)) if shift else z
        return HeldOutPredictions(sigmoid(z).astype(np.float32), raw.astype(np.float32), labels)

    return make
