import itertools

import numpy as np
import pytest

from msmm.quantities import counting_rules
from msmm.quantities.count_distribution import poisson_binomial
from msmm.quantities.counting_rules import (
    ClassThresholds,
    CountPosterior,
    GuidedThreshold,
    PoissonBinomial,
    Threshold,
    apply_rule,
    median,
    posterior,
)
from msmm.quantities.held_out_predictions import HeldOutPredictions
from msmm.quantities.ranges import predict_range
from msmm.quantities.registry import load_counting_rules
from msmm.scoring.borderline import compare_choices, find_borderline
from msmm.scoring.logits import to_logits
from msmm.scoring.metrics import annotation_metrics
from msmm.scoring.predictions import choose_labels, round_counts

RULES = load_counting_rules()


def h_f1(rule, images):
    chosen = choose_labels(rule.apply(images.probabilities, images.raw))
    return annotation_metrics(images.labels, chosen)["H-F1"]


@pytest.mark.parametrize("name", RULES)
def test_every_rule_ranks_chosen_labels_first(name, draw):
    rule, images = RULES[name].fit(draw(0)), draw(1)
    predictions = rule.apply(images.probabilities, images.raw)
    assert (
        predictions.counts.dtype == np.int32
        and predictions.counts.min() >= 1
        and predictions.counts.max() <= 8
    )
    assert predictions.scores.dtype == np.float32
    chosen = choose_labels(predictions)
    for scores, row in zip(predictions.scores, chosen, strict=True):
        if not row.all():
            assert scores[row].min() >= scores[~row].max()
    one_by_one = [
        choose_labels(rule.apply(images.probabilities[i : i + 1], images.raw[i : i + 1]))[0]
        for i in range(20)
    ]
    # The labels of an image do not depend on other images, except for the order of sums.
    exact = predict_range(RULES[name].fit(draw(0)), images.probabilities[:20], images.raw[:20], 1e-9, 1e-9)
    wrong, _ = compare_choices(chosen[:20], np.array(one_by_one), find_borderline(*exact))
    assert not wrong.any()


@pytest.mark.parametrize("name", RULES)
def test_every_rule_handles_few_images_and_certain_probabilities(name, draw):
    few = draw(2, n=2)
    p = np.array([[0.0, 1.0] * 4, [1.0] * 8, [0.0] * 8], np.float32)
    for labels in (few.labels, np.ones_like(few.labels), np.zeros_like(few.labels)):
        rule = RULES[name].fit(HeldOutPredictions(few.probabilities, few.raw, labels))
        chosen = choose_labels(rule.apply(p, np.array([-3.0, 2.0, 99.0], np.float32)))
        assert (chosen.sum(axis=1) >= 1).all()


@pytest.mark.parametrize("name", RULES)
def test_every_rule_is_fitted_on_a_single_image(name, draw):
    one = draw(2, n=1)
    predictions = RULES[name].fit(one).apply(one.probabilities, one.raw)
    assert choose_labels(predictions).any(axis=1).all()


def test_top_k_is_limited_to_the_number_of_labels(draw):
    p = draw(0).probabilities[:, :2]
    assert RULES["top_k"](3).apply(p, p[:, 0]).counts.tolist() == [2] * len(p)


def test_rules_without_parameters_follow_their_definition(draw):
    held_out, images = draw(0), draw(1)
    p, raw = images.probabilities, images.raw
    fitted = {name: kind.fit(held_out) for name, kind in RULES.items()}
    regression = fitted["regression"].apply(p, raw)
    np.testing.assert_array_equal(regression.counts, round_counts(raw, 8))
    assert regression.scores is p
    np.testing.assert_array_equal(fitted["top_k"].apply(p, raw).counts, 3)
    expected = np.clip(np.floor(p.astype(np.float64).sum(axis=1) + 0.5), 1, 8)
    np.testing.assert_array_equal(fitted["expected_count"].apply(p, raw).counts, expected)


def test_threshold_rule_uses_one_threshold_for_all_images_and_classes(draw):
    rule, images = Threshold.fit(draw(0)), draw(1)
    z = to_logits(images.probabilities)
    chosen = choose_labels(rule.apply(images.probabilities, images.raw))
    some = (z >= rule.threshold).any(axis=1)
    np.testing.assert_array_equal(chosen[some], (z >= rule.threshold)[some])
    assert (chosen[~some].sum(axis=1) == 1).all()


def test_what_no_strength_changes_is_computed_once_per_fold(draw, monkeypatch):
    held_out, calls, compute = draw(0), [], ClassThresholds._start

    def start(part):
        calls.append(len(part.raw))
        return compute(part)

    monkeypatch.setattr(ClassThresholds, "_start", staticmethod(start))
    ClassThresholds.fit(held_out)
    assert sorted(calls) == [160] * 5 + [200]


def test_class_thresholds_differ_only_with_enough_images(draw):
    """A classifier overestimates two classes: few images do not show it, many do."""

    def distorted(seed, n):
        images = draw(seed, n=n)
        odds = np.exp(np.array([0, 0, 0, 2.5, 0, 0, 2.5, 0]))
        p = images.probabilities * odds / (1 + images.probabilities * (odds - 1))
        return HeldOutPredictions(p.astype(np.float32), images.raw, images.labels)

    many, few, images = distorted(0, 600), distorted(1, 8), distorted(2, 2000)
    by_many = ClassThresholds.fit(many)
    assert h_f1(by_many, images) > h_f1(Threshold.fit(many), images) + 1
    assert min(by_many.thresholds[3], by_many.thresholds[6]) > max(np.delete(by_many.thresholds, [3, 6]))
    assert np.ptp(ClassThresholds._fit(few, np.inf).thresholds) == 0
    assert ClassThresholds._fit(few, np.inf).thresholds[0] == Threshold.fit(few).threshold


def test_posterior_equals_the_sum_over_all_subsets():
    """Bernoulli labels and a normal measurement of their number, in plain loops."""
    p, raw, precision = np.array([0.7, 0.2, 0.5, 0.9]), 2.6, 1.3
    expected = np.zeros(5)
    for truth in itertools.product((0, 1), repeat=4):
        m = sum(truth)
        probability = np.prod([q if t else 1 - q for q, t in zip(p, truth, strict=True)])
        expected[m] += (m > 0) * probability * np.exp(-precision * (raw - m) ** 2 / 2)
    from msmm.quantities.count_distribution import poisson_binomial

    computed = posterior(poisson_binomial(p[None]), np.array([raw]), precision)
    np.testing.assert_allclose(computed[0], expected / expected.sum(), rtol=1e-9)


def test_median_of_a_count_distribution():
    medians = median(np.array([[0.9, 0.1, 0, 0], [0, 0.2, 0.7, 0.1], [0, 0, 0, 1.0], [0, 0.5, 0.5, 0]]))
    np.testing.assert_array_equal(medians, [1, 2, 3, 1])


def test_posterior_weights_the_regressor_by_its_accuracy(draw):
    good, bad = draw(0, noise=0.3), draw(0, noise=6.0)
    assert CountPosterior.fit(good).precision > 2 and CountPosterior.fit(bad).precision < 0.2
    images = draw(1, noise=0.3, n=1000)
    true = images.labels.sum(axis=1)

    def count_accuracy(kind):
        predictions = kind.fit(good).apply(images.probabilities, images.raw)
        return (predictions.counts == true).mean()

    assert count_accuracy(CountPosterior) > count_accuracy(PoissonBinomial) + 0.1


def test_guided_threshold_shifts_logits_by_the_regressors_surplus(draw):
    rule = GuidedThreshold.fit(draw(0))
    images = draw(1, n=50)
    p = rule.calibration.probabilities(to_logits(images.probabilities))
    chosen = choose_labels(rule.apply(images.probabilities, images.raw))
    for i in range(50):
        moved = np.log(p[i] / (1 - p[i])) + rule.precision * (images.raw[i] - p[i].sum())
        passes = moved >= rule.threshold
        assert (chosen[i] == passes).all() or (not passes.any() and chosen[i].sum() == 1)


def test_guided_threshold_beats_threshold_and_regression(draw):
    held_out, images = draw(0, n=400), draw(1, n=3000)
    guided = h_f1(GuidedThreshold.fit(held_out), images)
    assert guided > h_f1(Threshold.fit(held_out), images) + 1
    assert guided > h_f1(RULES["regression"].fit(held_out), images) + 1


def test_guided_threshold_ignores_an_uninformative_regressor(draw):
    held_out, images = draw(0, n=400, noise=8.0), draw(1, n=3000, noise=8.0)
    rule = GuidedThreshold.fit(held_out)
    assert rule.precision < 0.1
    assert h_f1(rule, images) > h_f1(Threshold.fit(held_out), images) - 1


@pytest.mark.parametrize("name", RULES)
def test_rules_applied_in_blocks_choose_the_same_labels(name, draw, monkeypatch):
    rule, images = RULES[name].fit(draw(0)), draw(1)
    monkeypatch.setattr(counting_rules, "_PAIRS", 8 * 30)
    blocks = apply_rule(rule, images.probabilities, images.raw)
    whole = rule.apply(images.probabilities, images.raw)
    np.testing.assert_array_equal(blocks.scores, whole.scores)
    np.testing.assert_array_equal(blocks.counts, whole.counts)


@pytest.mark.parametrize("precision", [0.0, 0.2, 25.6])
def test_short_prior_of_many_classes_has_the_posterior_of_the_whole_one(precision):
    """Of 2,000 classes an image has a few; a quantity far beyond them still counts."""
    p = np.random.default_rng(0).beta(0.01, 4, size=(40, 2000))
    raw = np.random.default_rng(1).uniform(-2, 9, 40)
    raw[:2] = 300.0, 700.5
    short = counting_rules._prior(p, raw)
    assert short.shape[1] < 900
    whole = posterior(poisson_binomial(p), raw, precision)
    computed = posterior(short, raw, precision)
    np.testing.assert_allclose(computed, whole[:, : short.shape[1]], rtol=1e-9, atol=1e-300)
    np.testing.assert_array_equal(median(computed), median(whole))
