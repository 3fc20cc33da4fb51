import numpy as np
import pytest

from msmm.scoring import metrics, predictions
from msmm.scoring.metrics import annotation_metrics, per_class_f1, quantity_metrics


def random_case(seed, n=200, c=12, density=0.2):
    """Truth and chosen with class 0 never predicted, class 1 without positives, class 2 neither."""
    rng = np.random.default_rng(seed)
    truth, chosen = rng.random([2, n, c]) < density
    chosen |= truth & (rng.random([n, c]) < 0.5)
    chosen[:, [0, 2]] = False
    truth[:, [1, 2]] = False
    return truth, chosen


def top(scores, k):
    return predictions.choose_labels(predictions.Predictions(scores.astype(np.float32)), k)


def test_annotation_metrics_of_a_case_counted_by_hand():
    # class:            0  1  2  3  4
    truth = np.array([[1, 1, 0, 0, 0],
                      [1, 0, 1, 0, 0],
                      [1, 0, 1, 1, 0],
                      [0, 1, 0, 0, 0]])  # fmt: skip
    chosen = np.array([[1, 0, 1, 0, 0],
                       [1, 0, 0, 0, 0],
                       [1, 1, 1, 0, 0],
                       [1, 1, 0, 0, 0]])  # fmt: skip
    # NI^c (correct):    3  1  1  0  0   sum 5
    # NI^p (predicted):  4  2  2  0  0   sum 8
    # NI^g (given):      3  2  2  1  0   sum 8
    # precision:       3/4 1/2 1/2 0  0    C-P = 1.75 / 5 = 35 %
    # recall:            1 1/2 1/2 0  0    C-R = 2 / 5    = 40 %
    # C-F1 = 2 * .35 * .4 / .75 = .28 / .75 = 37.333 %
    # I-P = I-R = I-F1 = 5 / 8 = 62.5 %
    # H-F1 = 2 * .37333 * .625 / .99833 = .466667 / .998333 = 46.7446 %
    got = annotation_metrics(truth, chosen)
    want = {"C-P": 35, "C-R": 40, "C-F1": 28 / 0.75, "I-P": 62.5, "I-R": 62.5, "I-F1": 62.5, "H-F1": 46.7446}
    for key, value in want.items():
        assert got[key] == pytest.approx(value, abs=1e-4), key
    assert got["classes never predicted"] == 2  # 3 and 4
    assert got["classes without positives"] == 1  # 4
    assert got["mean predicted"] == got["mean true"] == 2
    assert per_class_f1(truth, chosen) == pytest.approx([600 / 7, 50, 50, 0, 0])


@pytest.mark.parametrize("seed", range(5))
def test_annotation_metrics_equal_scikit_learn(seed):
    sklearn_metrics = pytest.importorskip("sklearn.metrics")
    truth, chosen = random_case(seed)
    got = annotation_metrics(truth, chosen)
    for average, names in {"macro": ("C-P", "C-R"), "micro": ("I-P", "I-R", "I-F1")}.items():
        want = sklearn_metrics.precision_recall_fscore_support(
            truth, chosen, average=average, zero_division=0
        )
        for name, value in zip(names, want, strict=False):
            assert got[name] == pytest.approx(100 * value, abs=1e-9), name
    f1 = sklearn_metrics.f1_score(truth, chosen, average=None, zero_division=0)
    assert per_class_f1(truth, chosen) == pytest.approx(100 * f1)
    assert got["classes never predicted"] == 2
    assert got["classes without positives"] == 2


def test_zero_over_zero_is_zero_and_stays_in_the_mean():
    truth = np.eye(4, dtype=bool)[:, :3]  # 4 images, 3 classes; the last image has no label
    nothing = annotation_metrics(truth, np.zeros([4, 3], bool))
    assert [nothing[key] for key in metrics.METRICS] == [0] * 7
    assert nothing["classes never predicted"] == 3
    right_but_for_one_class = truth & [True, True, False]
    got = annotation_metrics(truth, right_but_for_one_class)
    assert got["C-P"] == got["C-R"] == pytest.approx(100 * 2 / 3)
    assert got["I-P"] == 100


def test_perfect_annotations_score_hundred():
    truth, _ = random_case(0)
    truth[0, [1, 2]] = True
    assert [annotation_metrics(truth, truth)[key] for key in metrics.METRICS] == pytest.approx([100] * 7)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_a_fixed_k_makes_precision_over_recall_the_mean_count_over_k(k):
    rng = np.random.default_rng(k)
    truth = rng.random([300, 20]) < 0.15
    got = annotation_metrics(truth, top(rng.random([300, 20]) + truth, k))
    assert got["I-P"] / got["I-R"] == pytest.approx(truth.sum() / (300 * k), rel=1e-12)
    assert got["mean predicted"] == k


def test_with_the_true_count_precision_equals_recall():
    rng = np.random.default_rng(0)
    truth = rng.random([300, 20]) < 0.15
    scores = (rng.random([300, 20]) + 0.3 * truth).astype(np.float32)
    chosen = predictions.choose_labels(predictions.Predictions(scores, truth.sum(1).astype(np.int32)))
    got = annotation_metrics(truth, chosen)
    assert got["I-P"] == got["I-R"] == pytest.approx(got["I-F1"])
    assert got["mean predicted"] == got["mean true"]


def test_metrics_do_not_depend_on_the_order_of_images_and_classes():
    truth, chosen = random_case(3)
    rng = np.random.default_rng(0)
    images, classes = rng.permutation(truth.shape[0]), rng.permutation(truth.shape[1])
    moved = annotation_metrics(truth[images][:, classes], chosen[images][:, classes])
    assert moved == pytest.approx(annotation_metrics(truth, chosen))


def test_zeros_and_ones_of_any_dtype_are_accepted():
    truth, chosen = random_case(1)
    want = annotation_metrics(truth, chosen)
    assert annotation_metrics(truth.astype(np.uint8), chosen.astype(np.float32)) == want
    assert annotation_metrics(truth.tolist(), chosen.astype(int).tolist()) == want


@pytest.mark.parametrize(
    ("truth", "chosen", "message"),
    [
        (np.zeros([3, 2]), np.zeros([2, 3]), "shape of truth"),
        (np.zeros([3, 2]), np.zeros([3]), r"chosen \[N, C\]"),
        (np.zeros([0, 2]), np.zeros([0, 2]), "N >= 1"),
        (np.zeros([3, 0]), np.zeros([3, 0]), "C >= 1"),
        (np.zeros([3, 2]), np.full([3, 2], 0.7), "0/1"),
        (np.full([3, 2], 2), np.zeros([3, 2]), "0/1"),
        (np.full([3, 2], np.nan), np.zeros([3, 2]), "0/1"),
    ],
)
def test_arrays_that_are_not_indicators_are_refused(truth, chosen, message):
    for measure in (annotation_metrics, per_class_f1):
        with pytest.raises(ValueError, match=message):
            measure(truth, chosen)


def test_quantity_metrics_of_a_case_counted_by_hand():
    truth = np.array([1, 2, 3, 4, 1])
    raw = np.array([0.2, 2.49, 2.5, 2.0, 1.5], np.float32)  # rounded: 1, 2, 3, 2, 2
    got = quantity_metrics(truth, raw)
    assert got["Accuracy"] == 60
    assert got["MSE"] == pytest.approx((0.8**2 + 0.49**2 + 0.5**2 + 2**2 + 0.5**2) / 5)
    assert got["variance of true"] == pytest.approx(((1.2**2) * 2 + 0.2**2 + 0.8**2 + 1.8**2) / 5)
    assert got["mean predicted"] == 2
    assert got["mean true"] == pytest.approx(2.2)


def test_quantity_accuracy_uses_the_rounded_quantity():
    rng = np.random.default_rng(0)
    truth, raw = rng.integers(1, 9, 500), rng.normal(3, 3, 500)
    rounded = predictions.round_counts(raw, 81)
    assert quantity_metrics(truth, raw)["Accuracy"] == 100 * np.mean(rounded == truth)


def test_the_best_constant_has_the_variance_as_mse():
    truth = np.random.default_rng(0).integers(1, 9, 500)
    got = quantity_metrics(truth, np.full(500, truth.mean()))
    assert got["MSE"] == pytest.approx(got["variance of true"]) == pytest.approx(np.var(truth))


@pytest.mark.parametrize(
    ("truth", "raw", "message"),
    [
        ([1, 2], [1.0], "one length|N >= 1"),
        ([], [], "N >= 1"),
        ([[1]], [[1.0]], "N >= 1"),
        ([1.5], [1.0], "whole"),
        ([-1], [1.0], "whole"),
        ([1], [np.nan], "finite"),
    ],
)
def test_invalid_quantities_are_refused(truth, raw, message):
    with pytest.raises(ValueError, match=message):
        quantity_metrics(np.array(truth), np.array(raw))
