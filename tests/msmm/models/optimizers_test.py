import keras
import numpy as np

from msmm.models.optimizers import Momentum, adamw, schedule


def test_momentum_with_l2_equals_numpy():
    dense = keras.layers.Dense(2)
    dense.build((None, 3))
    kernel, bias = (np.array(v) + 0.5 for v in dense.variables)
    dense.set_weights([kernel, bias])
    optimizer = Momentum(0.1, momentum=0.9, l2=0.01)
    velocity_k, velocity_b = np.zeros_like(kernel), np.zeros_like(bias)
    rng = np.random.default_rng(0)
    for _ in range(5):
        grad_k, grad_b = rng.normal(size=kernel.shape), rng.normal(size=bias.shape)
        gradients = [keras.ops.convert_to_tensor(g.astype(np.float32)) for g in (grad_k, grad_b)]
        optimizer.apply(gradients, dense.trainable_variables)
        velocity_k = 0.9 * velocity_k - 0.1 * (grad_k + 0.01 * kernel)
        velocity_b = 0.9 * velocity_b - 0.1 * grad_b  # biases have no decay
        kernel, bias = kernel + velocity_k, bias + velocity_b
    np.testing.assert_allclose(dense.get_weights()[0], kernel, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(dense.get_weights()[1], bias, rtol=1e-4, atol=1e-5)


def test_learning_rate_falls_to_a_tenth_after_two_thirds():
    rates = [float(schedule(0.3, 9)(step)) for step in range(9)]
    np.testing.assert_allclose(rates, [0.3] * 7 + [0.03] * 2, rtol=1e-6)


def test_adamw_decays_kernels_only_and_ends_at_a_rate_of_0():
    dense = keras.layers.Dense(2, bias_initializer="ones")
    dense.build((None, 3))
    kernel = keras.ops.convert_to_numpy(dense.kernel)
    optimizer = adamw(0.1, steps=4)
    zeros = [keras.ops.zeros_like(v) for v in dense.trainable_variables]
    expected = kernel
    for step in range(5):
        rate = 0.05 * (1 + np.cos(np.pi * min(step, 4) / 4))
        expected = expected * (1 - 0.01 * rate)
        optimizer.apply(zeros, dense.trainable_variables)
    np.testing.assert_allclose(dense.get_weights()[0], expected, rtol=1e-5)
    np.testing.assert_array_equal(dense.get_weights()[1], [1, 1])
    assert float(keras.ops.convert_to_numpy(optimizer.learning_rate)) == 0


def test_the_moving_average_of_adamw_equals_numpy():
    dense = keras.layers.Dense(2)
    dense.build((None, 3))
    optimizer = adamw(0.1, steps=10, ema=0.5)
    optimizer.build(dense.trainable_variables)
    average = None
    for _ in range(3):
        optimizer.apply(
            [keras.ops.ones_like(v) for v in dense.trainable_variables], dense.trainable_variables
        )
        kernel = dense.get_weights()[0]
        average = kernel if average is None else 0.5 * average + 0.5 * kernel
    optimizer.finalize_variable_values(dense.trainable_variables)
    np.testing.assert_allclose(dense.get_weights()[0], average, rtol=1e-5)
