import numpy as np
import pytest

from msmm.quantities import thresholds
from msmm.scoring.metrics import annotation_metrics, per_class_f1
from msmm.scoring.predictions import choose_labels


def case(seed, n=40, classes=5, share=0.3):
    rng = np.random.default_rng(seed)
    labels = rng.uniform(size=(n, classes)) < share
    return np.round(rng.normal(size=(n, classes)) + labels, 1), labels  # rounded: scores tie


def choose_by_loops(scores, threshold):
    """Returns labels with at least the threshold, or else the best label, in plain loops."""
    chosen = np.zeros(scores.shape, bool)
    for i, row in enumerate(scores):
        chosen[i] = row >= threshold
        if not chosen[i].any():
            chosen[i, int(row.argmax())] = True
    return chosen


@pytest.mark.parametrize("seed", range(5))
def test_best_threshold_equals_an_exhaustive_search(seed):
    scores, labels = case(seed)
    tried = [*np.unique(scores), scores.max() + 1]
    exhaustive = max(annotation_metrics(labels, choose_by_loops(scores, t))["H-F1"] for t in tried)
    threshold, h_f1 = thresholds.best_threshold(scores, labels)
    assert h_f1 == pytest.approx(exhaustive)
    assert annotation_metrics(labels, choose_by_loops(scores, threshold))["H-F1"] == pytest.approx(exhaustive)


@pytest.mark.parametrize("seed", range(3))
def test_every_h_f1_of_a_sweep_equals_that_at_its_threshold(seed):
    scores, labels = case(seed)
    for threshold, h_f1 in zip(*thresholds.sweep_thresholds(scores, labels), strict=True):
        assert h_f1 == pytest.approx(annotation_metrics(labels, choose_by_loops(scores, threshold))["H-F1"])


def test_a_sweep_of_many_images_covers_the_range_of_scores():
    scores, labels = case(0, n=1200)
    scores += np.random.default_rng(9).normal(size=scores.shape) * 1e-3
    tried, h_f1 = thresholds.sweep_thresholds(scores, labels)
    assert len(tried) == thresholds.MOST and tried[-1] == scores[labels].min()
    fine = [annotation_metrics(labels, choose_by_loops(scores, t))["H-F1"] for t in np.linspace(-1, 3, 40)]
    assert h_f1.max() > max(fine) - 0.05


def test_without_true_labels_one_label_per_image_is_chosen():
    scores, labels = case(0)
    threshold, h_f1 = thresholds.best_threshold(scores, np.zeros_like(labels))
    assert np.isfinite(threshold) and h_f1 == 0
    assert (choose_labels(thresholds.choose_above_zero(scores - threshold)).sum(axis=1) == 1).all()


def test_choose_above_zero_keeps_at_least_the_best_label():
    scores = np.array([[0.5, -1, 0.0], [-3, -2, -2]])
    np.testing.assert_array_equal(choose_labels(thresholds.choose_above_zero(scores)), [[1, 0, 1], [0, 1, 0]])
    np.testing.assert_array_equal(
        choose_labels(thresholds.choose_above_zero(scores)), choose_by_loops(scores, 0)
    )
    np.testing.assert_array_equal(
        choose_labels(thresholds.choose_above_zero(scores, at_least=0)), [[1, 0, 1], [0, 0, 0]]
    )


@pytest.mark.parametrize("seed", range(5))
def test_class_thresholds_equal_an_exhaustive_search_per_class(seed):
    scores, labels = case(seed)
    labels[:, 2] = False
    best = thresholds.best_class_thresholds(scores, labels)
    assert np.isnan(best[2])
    for j in (0, 1, 3, 4):
        column, truth = scores[:, j : j + 1], labels[:, j : j + 1]
        tried = [per_class_f1(truth, column >= t)[0] for t in np.unique(column)]
        assert per_class_f1(truth, column >= best[j])[0] == pytest.approx(max(tried))
        lower, upper = column[column < best[j]], column[column > best[j]].min()
        assert best[j] == pytest.approx((upper + (lower.max() if len(lower) else upper - 1)) / 2)


@pytest.mark.parametrize("informative", [True, False])
def test_best_threshold_of_many_classes_chooses_at_most_32_labels_for_each_true_one(informative):
    rng = np.random.default_rng(0)
    labels = rng.random((60, 500)) < 0.004
    known = labels & (rng.random(labels.shape) < 0.7)  # the others are as low as any other score
    scores = rng.normal(size=labels.shape) + (4 * known if informative else 0)
    candidates, h_f1 = thresholds.sweep_thresholds(scores, labels)
    few, _ = thresholds.sweep_thresholds(scores, labels, most_chosen=32 * labels.sum())
    assert 0 < len(few) < len(candidates) and few.tolist() == candidates[: len(few)].tolist()
    chosen = [choose_by_loops(scores, t).sum() for t in candidates[len(few) - 1 : len(few) + 1]]
    assert chosen[0] <= 32 * labels.sum() < chosen[1]
    threshold, best = thresholds.best_threshold(scores, labels)
    assert best == h_f1[: len(few)].max() and threshold == candidates[h_f1[: len(few)].argmax()]
    if informative:
        assert best == h_f1.max()
