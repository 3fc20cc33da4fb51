import keras
import numpy as np
import pytest

from msmm.models import losses


def test_sigmoid_cross_entropy_is_eq_4_summed_over_classes():
    rng = np.random.default_rng(0)
    y, z = rng.integers(0, 2, (5, 7)), rng.normal(size=(5, 7)).astype(np.float32)
    p = 1 / (1 + np.exp(-z.astype(np.float64)))
    expected = -(y * np.log(p) + (1 - y) * np.log(1 - p)).sum(axis=1)
    np.testing.assert_allclose(losses.sigmoid_cross_entropy(y, z), expected, rtol=1e-5)


def test_sigmoid_cross_entropy_does_not_overflow():
    z = np.array([[1000.0, -1000.0]], np.float32)
    np.testing.assert_allclose(losses.sigmoid_cross_entropy(np.array([[0, 1]]), z), [2000.0])
    np.testing.assert_allclose(losses.sigmoid_cross_entropy(np.array([[1, 0]]), z), [0.0])


def asymmetric_of_one(y, z, gamma_positive, gamma_negative, shift):
    """Ridnik et al., eq. 4-5, of one label."""
    p = 1 / (1 + np.exp(-float(z)))
    if y:
        return -((1 - p) ** gamma_positive) * np.log(p)
    p_m = max(p - shift, 0)
    return -(p_m**gamma_negative) * np.log(1 - p_m)


SETTINGS = [(0, 4, 0.05), (1, 4, 0.05), (2, 2, 0), (0, 0.5, 0.2), (0, 0, 0.1), (0.5, 1, 0)]


def examples_of_losses(scale):
    rng = np.random.default_rng(0)
    return rng.integers(0, 2, (9, 7)), rng.normal(scale=scale, size=(9, 7)).astype(np.float32)


def gradient_of(loss, y, z):
    import tensorflow as tf

    z = tf.constant(z)
    with tf.GradientTape() as tape:
        tape.watch(z)
        value = loss(y, z)
    return tape.gradient(value, z).numpy()


@pytest.mark.parametrize("detached", [False, True])
@pytest.mark.parametrize("setting", SETTINGS)
def test_asymmetric_loss_equals_a_plain_loop(setting, detached):
    y, z = examples_of_losses(scale=4)
    expected = [
        sum(asymmetric_of_one(*pair, *setting) for pair in zip(*row, strict=True))
        for row in zip(y, z, strict=True)
    ]
    computed = losses.asymmetric(*setting, detached=detached)(y, z)
    np.testing.assert_allclose(computed, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("setting", SETTINGS)
def test_gradient_of_the_asymmetric_loss_equals_the_numeric_one(setting):
    y, z = examples_of_losses(scale=2)
    step = 1e-5
    expected = [
        [
            (
                asymmetric_of_one(label, logit + step, *setting)
                - asymmetric_of_one(label, logit - step, *setting)
            )
            / (2 * step)
            for label, logit in zip(*row, strict=True)
        ]
        for row in zip(y, z.astype(np.float64), strict=True)
    ]
    computed = gradient_of(losses.asymmetric(*setting), y, z)
    np.testing.assert_allclose(computed, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("setting", SETTINGS)
def test_gradient_of_the_detached_asymmetric_loss_equals_the_numeric_one_with_fixed_weights(setting):
    y, z = examples_of_losses(scale=2)
    gamma_positive, gamma_negative, shift = setting
    step, exact = 1e-5, z.astype(np.float64)
    p = 1 / (1 + np.exp(-exact))
    weights = np.where(y, (1 - p) ** gamma_positive, np.maximum(p - shift, 0) ** gamma_negative)

    def loss(logits):
        p = 1 / (1 + np.exp(-logits))
        return -weights * np.where(y, np.log(p), np.log(1 - np.maximum(p - shift, 0)))

    expected = (loss(exact + step) - loss(exact - step)) / (2 * step)
    computed = gradient_of(losses.asymmetric(*setting, detached=True), y, z)
    np.testing.assert_allclose(computed, expected, rtol=1e-3, atol=1e-4)
    if gamma_positive or gamma_negative:
        attached = gradient_of(losses.asymmetric(*setting), y, z)
        assert np.abs(computed - attached).max() > 0.01


def test_asymmetric_loss_without_gammas_and_shift_is_eq_4():
    rng = np.random.default_rng(0)
    y, z = rng.integers(0, 2, (9, 7)), rng.normal(scale=30, size=(9, 7)).astype(np.float32)
    np.testing.assert_allclose(
        losses.asymmetric(0, 0, 0)(y, z), losses.sigmoid_cross_entropy(y, z), rtol=1e-5
    )


@pytest.mark.parametrize("setting", [(0, 4, 0.05), (0.5, 0.5, 0.05), (0.5, 0.5, 0.0), (0, 0, 0)])
def test_asymmetric_loss_and_its_gradient_are_finite_for_any_logit(setting):
    z = np.array([[-1000.0, -30, -3, 0, 3, 30, 1000]] * 2, np.float32)
    y = np.array([[0] * 7, [1] * 7])
    for detached in (False, True):
        loss = losses.asymmetric(*setting, detached=detached)
        assert np.isfinite(loss(y, z)).all() and np.isfinite(gradient_of(loss, y, z)).all()


def test_joint_loss_equals_a_plain_loop():
    rng = np.random.default_rng(0)
    classes, y = 3, rng.integers(0, 2, (5, 3))
    outputs = rng.normal(size=(5, 2 * classes + 2 + 4)).astype(np.float32)
    computed = losses.multi_task(losses.sigmoid_cross_entropy)(y, outputs)
    for i in range(5):
        expected = 0.0
        for head in (0, 1):
            own = outputs[i, head * (classes + 1) :].astype(np.float64)
            p = 1 / (1 + np.exp(-own[:classes]))
            entropy = -sum(np.log(p[c]) if y[i, c] else np.log(1 - p[c]) for c in range(classes))
            s_labels, s_count = outputs[i, 2 * classes + 2 + 2 * head :][:2].astype(np.float64)
            expected += np.exp(-s_labels) * entropy + s_labels / 2
            expected += np.exp(-s_count) * (own[classes] - y[i].sum()) ** 2 / 2 + s_count / 2
        assert float(computed[i]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("shape", [(3,), (3, 1)])
def test_squared_error_is_eq_5(shape):
    raw = np.array([[1.5], [2.0], [4.0]], np.float32)
    m = np.array([1, 2, 7]).reshape(shape)
    np.testing.assert_allclose(losses.squared_error(m, raw), [0.25, 0, 9])


def test_keras_only_averages_the_loss_over_the_batch():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, kernel_initializer="zeros")])
    model.compile("sgd", losses.sigmoid_cross_entropy)
    loss = model.train_on_batch(np.ones((5, 3), np.float32), np.ones((5, 4), bool))
    assert float(loss) == pytest.approx(4 * np.log(2), rel=1e-5)
