import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from msmm.baselines.warp import Warp, warp_loss


def harmonic(rank):
    return sum(1 / q for q in range(1, rank + 1))


def violators(scores, positive, negatives):
    return [k for k in negatives if scores[k] > scores[positive] - 1]


def loss_by_loops(labels, scores, rank_of):
    """Computes J of one image; rank_of: (positive, negatives) -> rank."""
    total, negatives = 0.0, [k for k in range(len(labels)) if not labels[k]]
    for positive in np.flatnonzero(labels):
        weight = harmonic(rank_of(positive, negatives))
        total += sum(weight * max(0, 1 - scores[positive] + scores[k]) for k in negatives)
    return total


def draw_rank(scores, positive, draws):
    """Returns the rank from draws, one class after the other, until one violates the margin."""
    for drawn, k in enumerate(draws, 1):
        if scores[k] > scores[positive] - 1:
            return (len(scores) - 1) // drawn
    return 0


@pytest.fixture
def labels_and_scores():
    rng = np.random.default_rng(0)
    labels = rng.random((30, 7)) < 0.4
    labels[0], labels[1] = True, False
    return labels, rng.normal(0, 1.5, (30, 7)).astype(np.float32)


def test_exact_warp_loss_counts_all_violators(labels_and_scores):
    expected = [
        loss_by_loops(y, f, lambda j, negatives, f=f: len(violators(f, j, negatives)))
        for y, f in zip(*labels_and_scores, strict=True)
    ]
    np.testing.assert_allclose(warp_loss(*labels_and_scores), expected, rtol=1e-5)
    assert max(expected) > 10


def test_sampled_warp_loss_draws_classes_in_the_order_of_the_keys(labels_and_scores):
    labels, scores = labels_and_scores
    keys = np.random.default_rng(1).random(labels.shape).astype(np.float32)
    expected = [
        loss_by_loops(
            y, f, lambda j, negatives, f=f, k=k: draw_rank(f, j, sorted(negatives, key=lambda n: k[n]))
        )
        for y, f, k in zip(labels, scores, keys, strict=True)
    ]
    np.testing.assert_allclose(warp_loss(labels, scores, keys), expected, rtol=1e-5)


# f_0 = 0 is the label; classes 1 and 3 violate its margin, 2 does not.
@pytest.mark.parametrize(
    ("order", "weight"),
    [((1, 2, 3), 1 + 1 / 2 + 1 / 3), ((2, 3, 1), 1), ((2, 1, 3), 1), ((3, 2, 1), 1 + 1 / 2 + 1 / 3)],
)
def test_sampled_warp_weights_counted_by_hand(order, weight):
    labels, scores = np.array([[1, 0, 0, 0]]), np.array([[0, 0.5, -2, 0.2]], np.float32)
    keys = np.zeros((1, 4), np.float32)
    keys[0, list(order)] = [0.1, 0.2, 0.3]
    np.testing.assert_allclose(warp_loss(labels, scores, keys), [weight * (1.5 + 1.2)], rtol=1e-6)


def test_a_violator_at_the_last_draw_gives_rank_one():
    labels, scores = np.array([[1, 0, 0, 0]]), np.array([[0, -5, -5, 2]], np.float32)
    keys = np.array([[0.9, 0.1, 0.2, 0.3]], np.float32)
    np.testing.assert_allclose(warp_loss(labels, scores, keys), [3], rtol=1e-6)


def test_mean_sampled_loss_equals_drawing_without_replacement(make_method):
    labels, scores = np.array([1, 0, 0, 1, 0]), np.array([0, 0.4, -3, 1, 0.3], np.float32)
    orders = list(itertools.permutations([1, 2, 4]))

    def mean_weight(positive):
        return np.mean([harmonic(draw_rank(scores, positive, draws)) for draws in orders])

    expected = sum(mean_weight(j) * max(0, 1 - scores[j] + scores[k]) for j in (0, 3) for k in (1, 2, 4))
    method = make_method(Warp)
    method.splits["train"].labels[:] = labels
    rng = np.random.default_rng(0)
    targets = np.concatenate([method.targets(np.arange(30), rng) for _ in range(300)])
    losses = keras.ops.convert_to_numpy(method.loss(targets, np.tile(scores, (len(targets), 1)))) * 5
    assert losses.std() > 0.5
    assert losses.mean() == pytest.approx(expected, abs=4 * losses.std() / np.sqrt(len(losses)))


def test_rank_weights_have_no_gradient(labels_and_scores):
    labels, scores = labels_and_scores
    keys = np.random.default_rng(2).random(labels.shape).astype(np.float32)
    variable = tf.Variable(scores)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(warp_loss(labels, variable, keys))
    gradient = tape.gradient(loss, variable).numpy()
    step = 1e-4
    for image, label in itertools.product(range(2, 8), range(7)):

        def shifted_loss(by, image=image, label=label):
            after = scores[image].astype(np.float64)
            after[label] += by
            order = sorted(range(7), key=lambda n: keys[image, n])

            def rank(j, negatives):  # ranks of the unshifted scores
                return draw_rank(scores[image], j, [k for k in order if k in negatives])

            return loss_by_loops(labels[image], after, rank)

        expected = (shifted_loss(step) - shifted_loss(-step)) / (2 * step)
        assert gradient[image, label] == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("sampled", [True, False])
def test_an_image_with_no_or_all_labels_has_zero_loss_and_gradient(sampled):
    labels, scores = (
        np.array([[0, 0, 0], [1, 1, 1]]),
        tf.Variable(np.array([[1, 2, 3], [3, 2, 1]], np.float32)),
    )
    keys = np.array([[0.1, 0.2, 0.3]] * 2, np.float32) if sampled else None
    with tf.GradientTape() as tape:
        loss = warp_loss(labels, scores, keys)
    np.testing.assert_array_equal(loss, [0, 0])
    np.testing.assert_array_equal(tape.gradient(loss, scores), np.zeros((2, 3)))


def test_warp_divides_by_the_number_of_classes_and_can_be_exact(make_method, labels_and_scores):
    labels, scores = labels_and_scores
    targets = np.stack([labels, np.random.default_rng(3).random(labels.shape)], axis=1).astype(np.float32)
    sampled, exact = (make_method(Warp, classes=7, warp_exact=value) for value in (False, True))
    np.testing.assert_allclose(
        sampled.loss(targets, scores), warp_loss(labels, scores, targets[:, 1]) / 7, rtol=1e-6
    )
    np.testing.assert_allclose(exact.loss(targets, scores), warp_loss(labels, scores) / 7, rtol=1e-6)


def test_loss_over_the_places_of_labels_alone_is_the_same(labels_and_scores, make_method):
    labels, scores = labels_and_scores
    labels = labels[labels.sum(axis=1) <= 4]
    scores = scores[: len(labels)]
    keys = np.random.default_rng(1).random(labels.shape).astype(np.float32)
    for given in (keys, None):
        np.testing.assert_allclose(
            warp_loss(labels, scores, given, longest=4), warp_loss(labels, scores, given), rtol=1e-6
        )
    method = make_method(Warp)
    method.splits["train"].labels[:] = False
    assert method.longest == 1


def test_an_image_with_more_labels_than_any_that_trains_has_the_loss_of_all(labels_and_scores, make_method):
    labels, scores = labels_and_scores
    method = make_method(Warp, classes=7, train_rows=np.arange(29))
    method.splits["train"].labels[:] = np.arange(7) < 2
    method.splits["train"].labels[-1] = True  # held out
    assert (method.longest, method.longest_of_all) == (2, 7)
    assert labels.sum(axis=1).max() > 2
    targets = np.stack([labels, np.random.default_rng(3).random(labels.shape)], axis=1).astype(np.float32)
    expected = warp_loss(labels, scores, targets[:, 1]) / 7
    np.testing.assert_allclose(method.loss(targets, scores), expected, rtol=1e-6)
