"""The choice of nouns, and the thresholds of the default counting."""

import numpy as np

from experiments.starter import choosing, counting
from msmm.quantities.held_out_predictions import HeldOutPredictions
from msmm.scoring.predictions import choose_labels


def test_nouns_are_kept_by_held_out_precision_and_photographs():
    # Rows 6 to 9 are held out. "cat" is an object; "beach" is ranked perfectly, "snow" worst, "lake" is rare.
    labels = ("cat", "beach", "snow", "lake", "zoo")
    truth = np.zeros((10, 5), bool)
    truth[:, 0] = True
    truth[[0, 1, 6], 1] = truth[[2, 3, 9], 2] = True
    truth[6, 3] = truth[[0, 1, 2], 4] = True
    scores = np.tile(np.array([4.0, 3.0, 2.0, 1.0])[:, None], 5)
    chosen = choosing.judge_candidates(labels, truth, np.arange(6, 10), scores, 30.0, 3)
    assert [(c.label, c.photographs, c.held_out, c.ap, c.kept) for c in chosen] == [
        ("beach", 3, 1, 100.0, True),
        ("lake", 1, 1, 100.0, False),
        ("snow", 3, 1, 25.0, False),
        ("zoo", 3, 0, None, False),
    ]


def test_lower_bound_is_wilsons():
    # 70 of 100 with z = 1.645: (0.7 + 0.01353) / 1.02706 - 0.0751 / 1.02706 …, computed by hand.
    assert abs(counting.lower_bound(70, 100) - 0.6200) < 5e-4
    assert counting.lower_bound(0, 0) == 0.0 and counting.lower_bound(700, 1000) > counting.lower_bound(
        70, 100
    )


def predictions(seed, images=10_000, classes=8):
    """Returns calibrated predictions: each label is true with its probability."""
    rng = np.random.default_rng(seed)
    p = 1 / (1 + np.exp(-rng.normal(-1.5, 2.0, (images, classes))))
    return HeldOutPredictions(p.astype(np.float32), np.ones(images, np.float32), rng.random(p.shape) < p)


def test_default_counting_reaches_its_precision_on_other_images_at_a_cost_in_recall():
    is_object = np.arange(8) < 5
    measured = {}
    for target in (0.7, 0.85):
        rule = counting.fit_precise_thresholds(predictions(0), is_object, target, 0.5)
        assert len(set(rule.thresholds)) == 2
        other = predictions(1)
        chosen = choose_labels(rule.apply(other.probabilities, other.raw))
        measured[target] = counting.measure_choice(chosen, other.labels, is_object)
        assert 100 * target <= measured[target]["precision of objects"] < 100 * target + 4
        assert measured[target]["precision of nouns"] >= 50
    assert measured[0.85]["recall of objects"] < measured[0.7]["recall of objects"] - 5


def test_an_impossible_precision_chooses_few_labels():
    held_out = predictions(0)
    wrong = HeldOutPredictions(held_out.probabilities, held_out.raw, ~(held_out.probabilities > 0))
    rule = counting.fit_precise_thresholds(wrong, np.ones(8, bool), 0.7, 0.5)
    counts = rule.apply(held_out.probabilities, held_out.raw).counts
    assert counts.mean() < 0.5 and np.isfinite(rule.thresholds).all()


def test_a_frequent_label_is_given_to_few_photographs_without_it():
    rng = np.random.default_rng(0)
    labels = np.stack([rng.random(5000) < 0.8, rng.random(5000) < 0.1], axis=1)
    z = np.where(labels, 2.0, -2.0) + rng.normal(0, 1.5, labels.shape)
    held_out = HeldOutPredictions(
        (1 / (1 + np.exp(-z))).astype(np.float32), np.ones(5000, np.float32), labels
    )
    rule = counting.fit_precise_thresholds(held_out, np.ones(2, bool), 0.7, 0.5)
    chosen = choose_labels(rule.apply(held_out.probabilities, held_out.raw))
    false = chosen[:, 0][~labels[:, 0]].mean()
    assert 0.04 < false <= 0.05 and rule.thresholds[0] > rule.thresholds[1]


def test_a_photograph_without_a_sure_label_gets_none():
    rule = counting.fit_precise_thresholds(predictions(0), np.arange(8) < 5, 0.7, 0.5)
    unsure = np.full((1, 8), 0.1, np.float32)
    assert rule.apply(unsure, np.full(1, 3, np.float32)).counts == [0]
    sure = unsure.copy()
    sure[0, 3] = 0.99
    assert choose_labels(rule.apply(sure, np.zeros(1, np.float32))).tolist() == [[i == 3 for i in range(8)]]


def test_figures_of_a_choice_are_of_objects_and_nouns():
    chosen = np.array([[1, 1, 0], [1, 0, 1]], bool)
    truth = np.array([[1, 0, 1], [1, 1, 1]], bool)
    assert counting.measure_choice(chosen, truth, np.array([True, True, False])) == {
        "precision of objects": 100 * 2 / 3,
        "recall of objects": 100 * 2 / 3,
        "precision of nouns": 100.0,
        "recall of nouns": 50.0,
        "labels per photograph": 2.0,
    }
