import math

import numpy as np
import pytest

from msmm.quantities import ranges
from msmm.quantities.counting_rules import AtLeast
from msmm.quantities.held_out_predictions import HeldOutPredictions
from msmm.quantities.registry import load_counting_rules
from msmm.scoring.borderline import compare_choices, find_borderline, first_best, is_better, is_descending
from msmm.scoring.predictions import Predictions, choose_labels

CLASSES, TOLERANCE, RAW_TOLERANCE = 6, 1e-3, 2e-3


RULES = load_counting_rules()


def find_borderline_labels(rule, p, raw, tolerance=TOLERANCE, raw_tolerance=RAW_TOLERANCE):
    p, raw = np.atleast_2d(np.asarray(p, np.float64)), np.atleast_1d(raw)
    return find_borderline(*ranges.predict_range(rule, p, raw, tolerance, raw_tolerance))


def borderline_labels(rule, *inputs):
    return np.flatnonzero(find_borderline_labels(rule, *inputs)[0]).tolist()


def test_scores_within_the_tolerance_of_a_threshold_are_borderline():
    half, above = AtLeast(0.5), RULES["threshold"](0.0)
    for near, is_close in [(0.4985, False), (0.4995, True), (0.5, True), (0.5005, True), (0.5015, False)]:
        assert (
            borderline_labels(half, [0.7, near, 0.3], 1.0)
            == borderline_labels(above, [0.7, near, 0.3], 1.0)
            == [1] * is_close
        )
    assert borderline_labels(half, [0.4995, 0.3, 0.2], 1.0) == [0]
    # The best label of an image is always chosen, so only another label close to it is borderline.
    assert borderline_labels(above, [0.4, 0.3, 0.3], 1.0) == []
    assert borderline_labels(above, [0.4, 0.3985, 0.3], 1.0) == [0, 1]
    assert borderline_labels(above, [0.4995, 0.3, 0.2], 1.0) == []


def test_close_scores_at_ranks_m_and_m_plus_1_are_borderline():
    two = RULES["top_k"](2)
    assert borderline_labels(two, [0.9, 0.5, 0.4985, 0.4], 1.0) == [1, 2]
    assert borderline_labels(two, [0.9, 0.5, 0.4975, 0.4], 1.0) == []
    assert borderline_labels(two, [0.9, 0.8995, 0.5, 0.4], 1.0) == []  # either way both are chosen
    assert borderline_labels(two, [0.9, 0.5, 0.5, 0.5], 1.0) == [1, 2, 3]
    assert borderline_labels(RULES["top_k"](4), [0.9, 0.5, 0.5, 0.5], 1.0) == []


def test_a_quantity_close_to_a_half_is_borderline():
    regression, p = RULES["regression"](), [0.9, 0.7, 0.5, 0.3]
    assert borderline_labels(regression, p, 1.499) == borderline_labels(regression, p, 1.5) == [1]
    assert borderline_labels(regression, p, 1.497) == borderline_labels(regression, p, 1.503) == []
    # At least one label is chosen, and at most all.
    assert borderline_labels(regression, p, 0.5) == borderline_labels(regression, p, 9.5) == []
    assert borderline_labels(regression, [0.9, 0.7, 0.6995, 0.3], 1.499) == [1, 2]


def test_a_sum_of_probabilities_close_to_a_half_is_borderline():
    expected = RULES["expected_count"]()
    assert borderline_labels(expected, [0.9, 0.4, 0.199], 1.0) == [1]  # 1.499, each of three within 0.001
    assert borderline_labels(expected, [0.9, 0.4, 0.196], 1.0) == []


def draw_held_out():
    rng = np.random.default_rng(0)
    logits = rng.normal(-1, 2, (300, CLASSES))
    p = 1 / (1 + np.exp(-logits))
    truth = rng.uniform(size=logits.shape) < p**0.7
    return HeldOutPredictions(p.astype(np.float32), truth.sum(axis=1) + rng.normal(0, 0.5, 300), truth)


@pytest.mark.parametrize("name", RULES)
def test_labels_reversed_by_rounding_are_borderline(name):
    images = draw_held_out()
    rule = RULES[name].fit(images)
    rng = np.random.default_rng(1)
    p, raw = images.probabilities.astype(np.float64), images.raw
    raw[::3] = np.round(raw[::3]) + 0.5 + rng.uniform(-3e-3, 3e-3, 100)
    p[::3, 1] = p[::3, 0] + rng.uniform(-4e-3, 4e-3, 100)
    p = np.clip(p, 0, 1)
    chosen, reversed_by_some = choose_labels(rule.apply(p, raw)), np.zeros(p.shape, bool)
    for _ in range(300):
        moved = np.clip(p + TOLERANCE * rng.choice([-1, 0, 1], p.shape), 0, 1)
        others = rule.apply(moved, raw + RAW_TOLERANCE * rng.choice([-1, 0, 1], len(raw)))
        reversed_by_some |= choose_labels(others) != chosen
    is_borderline = find_borderline_labels(rule, p, raw)
    assert not (reversed_by_some & ~is_borderline).any()
    assert 5 < reversed_by_some.sum() <= is_borderline.sum() <= 2.5 * reversed_by_some.sum()


def test_labels_that_are_never_chosen_are_not_borderline():
    never = Predictions(np.array([[0.5, -np.inf, -np.inf]]), np.array([3]))
    assert not find_borderline(never, never).any()


def test_differences_outside_the_borderline_are_disagreements():
    chosen, reference = np.array([[1, 0, 1, 0]], bool), np.array([[1, 1, 0, 0]], bool)
    wrong, on_border = compare_choices(chosen, reference, np.array([[1, 1, 0, 0]], bool))
    assert wrong.tolist() == [[0, 0, 1, 0]] and on_border.tolist() == [[0, 1, 0, 0]]


def test_is_descending_allows_the_tolerance():
    assert is_descending([3, 2, 2.05, 1], 0.1) and not is_descending([3, 2, 2.15, 1], 0.1)
    assert not is_descending([3.0, 2.95, 3.05], 0.08)  # by each step, not from first to last
    assert is_descending([], 0) and is_descending([1], 0) and is_descending([1, 1], 0)


def test_first_best_prefers_the_first_of_equal_values():
    assert is_better(1.0, -math.inf) and is_better(2.0, 1.0) and is_better(-1.0, -2.0)
    assert not is_better(1.0 + 1e-8, 1.0) and not is_better(1.0, 1.0) and not is_better(0.9, 1.0)
    assert is_better(1.0 + 1e-5, 1.0) and is_better(1e-9, 0.0)
    third = 50.0 + 50.0 * 2**-52
    assert first_best([49.0, 50.0, third, 48.0]) == 1 and first_best([49.0, 50.0, 50.0001]) == 2
    assert first_best([-2.0, -1.0 - 2**-52, -1.0]) == 1 and first_best([0.0, 0.0]) == 0
