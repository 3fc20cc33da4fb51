import keras
import numpy as np

from msmm.baselines.baseline import predict_arrays
from msmm.baselines.logistic import L2, Logistic


def test_logits_are_linear_in_features_standardised_on_the_training_split(make_method):
    method = make_method(Logistic)
    features = method.splits["train"].features
    features[:, 1] = 7.0  # constant, with a standard deviation of 0
    network = method.build()
    weights, bias = np.random.default_rng(1).normal(size=(4, 5)), np.arange(5.0)
    network.get_layer("logits").set_weights([weights, bias])
    test = method.splits["test"].features
    test[:, 1] = 7.0
    deviation = np.where(np.arange(4) == 1, 1, features.std(axis=0))
    expected = (test - features.mean(axis=0)) / deviation @ weights + bias
    np.testing.assert_allclose(predict_arrays(network, test), expected, rtol=1e-4, atol=1e-4)


def test_l2_penalty_covers_weights_but_not_biases(make_method):
    network = make_method(Logistic).build()
    weights, bias = np.full((4, 5), 3.0), np.full(5, 9.0)
    network.get_layer("logits").set_weights([weights, bias])
    (penalty,) = [float(loss) for loss in network.losses]
    np.testing.assert_allclose(penalty, L2 / 2 * 20 * 9, rtol=1e-5)


def test_initial_logits_are_zero(make_method):
    method = make_method(Logistic)
    assert not predict_arrays(method.build(), method.splits["test"].features).any()


def test_only_the_logistic_regressions_are_trainable(make_method):
    network = make_method(Logistic, classes=81, feature_size=2048).build()
    assert sum(np.prod(v.shape) for v in network.trainable_variables) == 2048 * 81 + 81
    assert isinstance(network.get_layer("standardised"), keras.layers.Normalization)
