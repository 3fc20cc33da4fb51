import numpy as np
import pytest

from msmm.scoring.logits import NEAREST, sigmoid, to_logits


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(), (5,), (3, 4)])
def test_sigmoid_and_logits_equal_their_formulas_and_change_no_input(dtype, shape):
    z = np.random.default_rng(0).normal(0, 3, shape)
    z = np.asarray(z, dtype)
    before = z.copy()
    p = sigmoid(z)
    np.testing.assert_array_equal(z, before)
    np.testing.assert_allclose(p, 1 / (1 + np.exp(-z.astype(np.float64))), rtol=3e-6)
    assert p.dtype == dtype
    np.testing.assert_allclose(to_logits(p), z, rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(sigmoid(z), p)


def test_extreme_values_stay_finite():
    assert sigmoid(np.array([-800.0, 800.0])).tolist() == [0.0, 1.0]
    assert sigmoid(np.array([0, 2])).dtype == np.float64
    limit = np.log(NEAREST) - np.log1p(-NEAREST)
    np.testing.assert_allclose(to_logits(np.array([0.0, 1.0])), [limit, -limit], rtol=1e-6)
