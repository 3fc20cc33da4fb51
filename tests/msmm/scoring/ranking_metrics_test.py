"""Average precision against scikit-learn and against the definition, pair by pair."""

import warnings

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

import msmm
from msmm.scoring.metrics import annotation_metrics
from msmm.scoring.predictions import Predictions, choose_labels
from msmm.scoring.ranking_metrics import average_precision, mean_average_precision, ranking_metrics


def random_case(seed, levels):
    """Truth and scores of a random size; `levels` distinct scores, all distinct where None."""
    rng = np.random.default_rng(seed)
    shape = rng.integers(1, 60), rng.integers(1, 8)
    truth = rng.random(shape) < rng.choice([0.02, 0.2, 0.6])
    scores = rng.normal(size=shape) if levels is None else rng.integers(levels, size=shape) / levels
    scores[rng.random(shape) < 0.1] = -np.inf if levels else -99
    if levels is None:
        scores = scores + 1e-6 * rng.permutation(scores.size).reshape(shape)
    return truth, scores


def average_precision_by_pairs(truth, scores, ties):
    """Computes the definition for one class: the mean over positives of the precision at each positive."""
    precisions = []
    for i in np.flatnonzero(truth):
        if ties == "threshold":
            retrieved = [j for j in range(len(scores)) if scores[j] >= scores[i]]
        else:
            retrieved = [
                j for j in range(len(scores)) if scores[j] > scores[i] or (scores[j] == scores[i] and j <= i)
            ]
        precisions.append(sum(truth[j] for j in retrieved) / len(retrieved))
    return 100 * np.mean(precisions) if precisions else np.nan


def test_average_precision_equals_scikit_learn_with_ties():
    for seed in range(200):
        truth, scores = random_case(seed, levels=[None, 2, 5, 20][seed % 4])
        finite = np.where(np.isinf(scores), -1e9, scores)  # scikit-learn refuses infinity
        present = truth.any(axis=0)
        expected = np.full(truth.shape[1], np.nan)
        for c in np.flatnonzero(present):
            expected[c] = 100 * average_precision_score(truth[:, c], finite[:, c])
        assert average_precision(truth, scores) == pytest.approx(expected, abs=1e-9, nan_ok=True)
        if present.any():
            expected = 100 * average_precision_score(truth[:, present], finite[:, present])
            assert mean_average_precision(truth, scores) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("ties", ["threshold", "rows"])
@pytest.mark.parametrize("levels", [None, 2, 7])
def test_average_precision_equals_its_definition(ties, levels):
    for seed in range(20):
        truth, scores = random_case(seed, levels)
        expected = [average_precision_by_pairs(t, s, ties) for t, s in zip(truth.T, scores.T, strict=True)]
        assert average_precision(truth, scores, ties) == pytest.approx(expected, abs=1e-9, nan_ok=True)


def test_the_order_of_images_matters_only_with_ties_by_rows():
    truth, scores = np.array([[1], [0], [0]], bool), np.zeros((3, 1))
    assert average_precision(truth, scores) == pytest.approx([100 / 3])
    assert average_precision(truth[::-1], scores) == pytest.approx([100 / 3])
    assert average_precision(truth, scores, "rows") == pytest.approx([100])
    assert average_precision(truth[::-1], scores, "rows") == pytest.approx([100 / 3])


def test_f1_at_one_half_equals_eq_6():
    rng = np.random.default_rng(0)
    truth, scores = rng.random((50, 6)) < 0.3, rng.random((50, 6)).astype(np.float32)
    scores[0, 0] = 0.5
    figures = ranking_metrics(truth, scores)
    counts = (scores > 0.5).sum(axis=1).astype(np.int32)
    expected = annotation_metrics(truth, choose_labels(Predictions(scores, counts)))
    assert figures["C-F1 at p 0.5"] == expected["C-F1"] and figures["I-F1 at p 0.5"] == expected["I-F1"]
    logits = np.log(scores) - np.log1p(-scores)
    assert ranking_metrics(truth, logits, score_at_half_probability=0)["I-F1 at p 0.5"] == expected["I-F1"]
    assert set(ranking_metrics(truth, scores, score_at_half_probability=None)) == {"mAP"}


def test_the_metrics_of_tables_are_public_functions():
    truth, scores = random_case(3, levels=5)
    assert msmm.metrics.mean_average_precision(truth, scores) == mean_average_precision(truth, scores)
    for name in msmm.metrics.__all__:
        assert getattr(msmm.metrics, name).__doc__, name


def test_average_precision_refuses_wrong_arguments():
    truth = np.ones((2, 2), bool)
    for scores in (np.zeros((2, 3)), np.full((2, 2), np.nan)):
        with pytest.raises(ValueError, match="without NaN"):
            average_precision(truth, scores)
    with pytest.raises(ValueError, match="expected ties"):
        average_precision(truth, np.zeros((2, 2)), "none")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(mean_average_precision(~truth, np.zeros((2, 2))))


@pytest.mark.parametrize("ties", ["threshold", "rows"])
def test_average_precision_in_blocks_of_classes_is_the_same(ties, monkeypatch):
    rng = np.random.default_rng(0)
    truth, scores = rng.random((50, 41)) < 0.1, rng.integers(9, size=(50, 41)) / 9
    whole = average_precision(truth, scores, ties)
    monkeypatch.setattr("msmm.scoring.ranking_metrics._SCORES_AT_ONCE", 50 * 4)
    np.testing.assert_array_equal(average_precision(truth, scores, ties), whole)
