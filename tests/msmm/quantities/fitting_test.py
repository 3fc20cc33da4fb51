"""The choice among counting rules, and their conversion to and from JSON."""

import dataclasses
import json
import time

import numpy as np
import pytest

from msmm.quantities import fitting
from msmm.quantities.cross_validation import choose_out_of_fold
from msmm.quantities.fitting import FittedCountingRules, fit_counting_rules
from msmm.quantities.held_out_predictions import HeldOutPredictions
from msmm.quantities.registry import BEST, COUNTING_RULES
from msmm.scoring.bootstrap import metric_gain
from msmm.scoring.metrics import annotation_metrics
from msmm.scoring.predictions import Predictions, choose_labels


@pytest.fixture(scope="module")
def fitted_on():
    """Returns a function that fits rules once per module; tests must not change the result."""
    cache = {}

    def fit_once(name, held_out):
        if name not in cache:
            cache[name] = fit_counting_rules(held_out)
        return cache[name]

    return fit_once


def test_preferred_rule_is_chosen_unless_another_is_clearly_better(draw, fitted_on):
    fitted = fitted_on("usual", draw(0))
    assert fitted.best == fitting.PREFERRED and fitted.images == 200
    assert fitted.held_out_h_f1.keys() == COUNTING_RULES.keys()


def test_a_clearly_better_rule_is_chosen(draw):
    """The regressor is accurate and the probabilities are uncalibrated."""
    held_out = draw(0, n=150, noise=0.05, shift=4.0)
    fitted = fit_counting_rules(held_out)
    assert fitted.best == "regression"
    images = draw(1, n=500, noise=0.05, shift=4.0)
    h_f1 = {
        name: annotation_metrics(
            images.labels, choose_labels(fitted.apply(images.probabilities, images.raw, name))
        )["H-F1"]
        for name in (BEST, *COUNTING_RULES)
    }
    assert h_f1[BEST] == max(h_f1.values())


def test_the_interval_covers_all_rules_together(draw, monkeypatch):
    """Of eight rules at 95 % each one would be above 0 by chance in a third of all fits."""
    levels = []

    def remember(*arguments, level, **options):
        levels.append(level)
        return metric_gain(*arguments, level=level, **options)

    monkeypatch.setattr(fitting, "metric_gain", remember)
    fit_counting_rules(draw(0, n=60, noise=0.05, shift=4.0))
    assert levels and levels == pytest.approx([1 - 0.05 / 8] * len(levels))


class Memory:
    """Predicts label 0 for images that it was fitted on, identified by raw quantity, else label 1."""

    def __init__(self, held_out):
        self.seen = held_out.raw

    def apply(self, probabilities, raw):
        scores = np.zeros(probabilities.shape, np.float32)
        scores[np.arange(len(raw)), np.where(np.isin(raw, self.seen), 0, 1)] = 1
        return Predictions(scores, np.ones(len(raw), np.int32))


@pytest.mark.parametrize("n", [2, 7, 53])
def test_cross_validation_predicts_images_outside_the_fitted_fold(draw, n):
    held_out = dataclasses.replace(draw(0, n=n), raw=np.arange(n, dtype=np.float32))
    fold_sizes = []

    def remember(part):
        fold_sizes.append(len(part.raw))
        return Memory(part)

    chosen = choose_out_of_fold(remember, held_out)
    assert chosen[:, 1].all() and chosen.sum() == n
    assert sum(n - size for size in fold_sizes) == n and max(fold_sizes) - min(fold_sizes) <= 1


def test_few_images_choose_the_rule_for_few_images(draw):
    fitted = fit_counting_rules(draw(0, n=fitting.ENOUGH - 1))
    assert fitted.best == fitting.PREFERRED_OF_FEW and fitted.held_out_h_f1 == {}
    assert fit_counting_rules(draw(0, n=fitting.ENOUGH)).held_out_h_f1


def test_fitting_does_not_depend_on_the_dtype_of_labels(draw, fitted_on):
    held_out = draw(0)
    labels = held_out.labels.astype(np.uint8).astype(bool)
    assert fit_counting_rules(dataclasses.replace(held_out, labels=labels)) == fitted_on("usual", held_out)


def test_fitted_rules_survive_json(draw, fitted_on):
    fitted, images = fitted_on("usual", draw(0)), draw(1)
    restored = FittedCountingRules.from_json(json.loads(json.dumps(fitted.to_json(), allow_nan=False)), 8)
    assert restored == fitted
    for name in (BEST, *COUNTING_RULES):
        a, b = (f.apply(images.probabilities, images.raw, name) for f in (fitted, restored))
        np.testing.assert_array_equal(a.counts, b.counts)
        np.testing.assert_array_equal(a.scores, b.scores)


@pytest.mark.parametrize("damage", ["estimators", "best", "calibration", "classes", "unknown"])
def test_damaged_json_is_refused(draw, fitted_on, damage):
    parsed = json.loads(json.dumps(fitted_on("usual", draw(0)).to_json()))
    if damage in ("estimators", "best"):
        del parsed[damage]
    elif damage == "calibration":
        del parsed["estimators"]["expected_f1"]["calibration"]["slope"]
    elif damage == "unknown":
        parsed["estimators"]["oracle"] = {}
    with pytest.raises((KeyError, TypeError, ValueError)):
        FittedCountingRules.from_json(parsed, 7 if damage == "classes" else 8)


def test_fitted_rules_of_many_classes_are_read_at_once():
    """The check of a file's number of classes must not depend on how long a rule computes for them."""
    rng = np.random.default_rng(0)
    labels = rng.random((30, 2000)) < 0.001
    probabilities = np.where(labels, 0.3, 0.001).astype(np.float32)
    fitted = fit_counting_rules(HeldOutPredictions(probabilities, np.ones(30, np.float32), labels))
    content, started = fitted.to_json(), time.process_time()
    assert FittedCountingRules.from_json(content, 2000).best == fitted.best
    assert time.process_time() - started < 10  # measured: 1 s; with half of all classes expected: minutes
