import keras
import numpy as np
import pytest

from msmm import losses


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


@pytest.mark.parametrize("shape", [(3,), (3, 1)])
def test_squared_error_is_eq_5(shape):
    raw = np.array([[1.5], [2.0], [4.0]], np.float32)
    m = np.array([1, 2, 7]).reshape(shape)
    np.testing.assert_allclose(losses.squared_error(m, raw), [0.25, 0, 9])


def test_keras_takes_the_mean_over_the_batch_and_nothing_else():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, kernel_initializer="zeros")])
    model.compile("sgd", losses.sigmoid_cross_entropy)
    loss = model.train_on_batch(np.ones((5, 3), np.float32), np.ones((5, 4), bool))
    assert float(loss) == pytest.approx(4 * np.log(2), rel=1e-5)
