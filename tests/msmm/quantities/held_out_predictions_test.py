import numpy as np
import pytest

from msmm.quantities import held_out_predictions
from msmm.quantities.counting_rules import GuidedThreshold, Threshold
from msmm.quantities.cross_validation import cross_validate
from msmm.quantities.fitting import fit_counting_rules
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


def test_rules_repeat_less_with_many_pairs(draw, monkeypatch):
    class EightSamples(GuidedThreshold):
        SAMPLES = 8

    data = draw(0)
    eight, sixteen = EightSamples.fit(data), GuidedThreshold.fit(data)
    monkeypatch.setattr(held_out_predictions, "_MANY", data.labels.size // 2)
    fitted = fit_counting_rules(data)
    many = fitted.rules["guided_threshold"]
    assert (many.precision, many.threshold) == (eight.precision, eight.threshold)
    assert many.threshold != sixteen.threshold
    assert fitted.held_out_h_f1["threshold"] == cross_validate(Threshold.fit, data, seed=0)
    assert fitted.held_out_h_f1["threshold"] != cross_validate(Threshold.fit, data, seed=1)
