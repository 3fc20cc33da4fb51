import numpy as np
import pytest

from msmm.quantities import counting_rules
from msmm.quantities.held_out_predictions import HeldOutPredictions


def held_out(images, classes):
    labels = np.zeros((images, classes), bool)
    labels[:, 0] = True
    return HeldOutPredictions(np.full(labels.shape, 1e-3, np.float32), np.ones(images, np.float32), labels)


@pytest.mark.parametrize(
    ("images", "classes", "repeats"),
    [(1, 1, 16), (1024, 1024, 16), (1025, 1024, 15), (4096, 1024, 4), (2**13, 2**10, 2), (2**15, 2**10, 1)],
)
def test_more_than_a_million_pairs_are_computed_less_often(images, classes, repeats):
    assert held_out(images, classes).repeats(16) == repeats


def test_guided_threshold_of_many_pairs_draws_fewer_samples(monkeypatch):
    drawn = []

    def best_threshold(scores, labels):
        drawn.append(len(scores))
        return 0.0, 1.0

    monkeypatch.setattr(counting_rules.thresholds, "best_threshold", best_threshold)
    precisions = len(counting_rules.GuidedThreshold.PRECISIONS)
    counting_rules.GuidedThreshold.fit(held_out(512, 1024))
    assert drawn == [512] * 16 * precisions
    drawn.clear()
    counting_rules.GuidedThreshold.fit(held_out(2048, 1024))
    assert drawn == [2048] * 8 * precisions
