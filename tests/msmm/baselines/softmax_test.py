import numpy as np

from msmm.baselines.softmax import Softmax, softmax_cross_entropy


def test_softmax_loss_is_the_cross_entropy_with_equal_target_shares():
    rng = np.random.default_rng(0)
    labels, logits = rng.random((20, 6)) < 0.4, rng.normal(0, 3, (20, 6)).astype(np.float32)
    labels[0], labels[1] = True, False
    expected = []
    for y, z in zip(labels, logits.astype(np.float64), strict=True):
        p = np.exp(z) / np.exp(z).sum()
        expected.append(sum(-np.log(p[c]) / y.sum() for c in range(6) if y[c]))
    np.testing.assert_allclose(softmax_cross_entropy(labels, logits), expected, rtol=1e-5)
    assert softmax_cross_entropy(labels, logits)[1] == 0  # no labels


def test_softmax_loss_does_not_overflow_for_large_logits():
    loss = softmax_cross_entropy(np.array([[1, 0]]), np.array([[-1000, 1000]], np.float32))
    np.testing.assert_allclose(loss, [2000])


def test_softmax_has_one_weight_per_feature_and_class_and_one_bias_per_class(make_method):
    method = make_method(Softmax, classes=81, feature_size=2048)
    assert method.build().count_params() == 2048 * 81 + 81
