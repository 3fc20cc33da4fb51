import numpy as np
import pytest

from msmm.scoring.predictions import Predictions, choose_labels, round_counts

NEVER = -np.inf


def annotations(scores, counts=None):
    counts = None if counts is None else np.array(counts, np.int32)
    return Predictions(np.array(scores, np.float32), counts)


def test_the_highest_scores_are_chosen_up_to_the_count():
    predictions = annotations([[0.1, 0.9, 0.5, 0.7], [3, 2, 1, 0], [0, 1, 2, 3]], counts=[2, 1, 4])
    assert choose_labels(predictions).tolist() == [[0, 1, 0, 1], [1, 0, 0, 0], [1, 1, 1, 1]]
    assert choose_labels(predictions).dtype == bool


def test_k_replaces_the_counts():
    predictions = annotations([[0.1, 0.9, 0.5, 0.7]], counts=[1])
    assert choose_labels(predictions, k=3).tolist() == [[0, 1, 1, 1]]


def test_ties_go_to_the_lower_class_id():
    assert choose_labels(annotations([[1, 2, 2, 2, 0]]), k=2).tolist() == [[0, 1, 1, 0, 0]]
    assert choose_labels(annotations(np.zeros([1, 60])), k=3)[0].nonzero()[0].tolist() == [0, 1, 2]


def test_scores_of_minus_infinity_are_never_chosen():
    assert choose_labels(annotations([[NEVER, 0.2, NEVER]], counts=[3])).tolist() == [[0, 1, 0]]
    assert choose_labels(annotations([[NEVER, NEVER]]), k=1).tolist() == [[0, 0]]


def test_counts_beyond_the_labels_choose_all_and_zero_chooses_none():
    assert choose_labels(annotations([[1, 2], [1, 2]], counts=[9, 0])).tolist() == [[1, 1], [0, 0]]


def test_choose_labels_equals_sorting_each_image():
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 6, [200, 12]).astype(np.float32)  # many ties
    scores[rng.random([200, 12]) < 0.2] = NEVER
    counts = rng.integers(0, 14, 200).astype(np.int32)
    chosen = choose_labels(Predictions(scores, counts))
    for image in range(200):
        allowed = [c for c in range(12) if scores[image, c] > NEVER]
        best = sorted(allowed, key=lambda c: (-scores[image, c], c))[: counts[image]]
        assert set(chosen[image].nonzero()[0]) == set(best)


def test_a_sequence_of_labels_can_be_expressed_as_predictions():
    """A decoder emitted classes 4, 0, 2: its order as scores, its length as the count."""
    emitted = [4, 0, 2]
    scores = np.full([1, 6], NEVER, np.float32)
    scores[0, emitted] = -np.arange(3)
    predictions = Predictions(scores, np.array([3], np.int32))
    assert choose_labels(predictions)[0].nonzero()[0].tolist() == [0, 2, 4]
    assert choose_labels(predictions, k=1)[0].nonzero()[0].tolist() == [4]


@pytest.mark.parametrize(
    ("scores", "counts", "message"),
    [
        (np.zeros(3), None, r"\[N, C\]"),
        (np.array([[0.0, np.nan]]), None, "NaN"),
        (np.zeros([2, 3]), np.zeros(3, np.int32), r"counts \[2\]"),
        (np.zeros([2, 3]), np.zeros([2, 1], np.int32), r"counts \[2\]"),
        (np.zeros([2, 3]), np.array([1.0, 2.5]), "integer counts"),
    ],
)
def test_invalid_predictions_are_refused(scores, counts, message):
    with pytest.raises(ValueError, match=message):
        Predictions(scores, counts)


def test_predictions_without_k_and_counts_are_refused():
    with pytest.raises(ValueError, match="neither"):
        choose_labels(annotations([[1, 2]]))
    with pytest.raises(ValueError, match="k >= 1"):
        choose_labels(annotations([[1, 2]]), k=0)


def test_counts_are_rounded_and_clipped_to_the_number_of_labels():
    raw = np.array([-3.0, 0.0, 0.4, 1.49, 1.5, 2.5, 3.49999, 80.4, 80.6, 1e12], np.float32)
    assert round_counts(raw, 81).tolist() == [1, 1, 1, 1, 2, 3, 3, 80, 81, 81]
    assert round_counts(raw, 81).dtype == np.int32
    assert round_counts(raw, np.iinfo(np.int32).max)[-1] == np.iinfo(np.int32).max


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_diverged_regressor_is_refused(bad):
    with pytest.raises(ValueError, match="finite"):
        round_counts(np.array([1.0, bad]), 5)


def test_labels_chosen_in_blocks_are_the_same(monkeypatch):
    rng = np.random.default_rng(0)
    predictions = Predictions(
        rng.integers(0, 6, [200, 12]).astype(np.float32), rng.integers(0, 14, 200).astype(np.int32)
    )
    whole = choose_labels(predictions), choose_labels(predictions, k=3)
    monkeypatch.setattr("msmm.scoring.predictions._SCORES_AT_ONCE", 12 * 7)
    np.testing.assert_array_equal(choose_labels(predictions), whole[0])
    np.testing.assert_array_equal(choose_labels(predictions, k=3), whole[1])
