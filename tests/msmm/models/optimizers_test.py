import keras
import numpy as np

from msmm.models.optimizers import Momentum, schedule


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
