"""Accelerated layers against the plain ones: outputs, gradients, statistics, variables."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from msmm.models.precision import set_precision
from msmm.training.fast_layers import FastDepthwiseConv2D, FusedBatchNormalization, accelerated


def build_network():
    """Returns images [B, 13, 13, 4] -> [B, 6]: BN and depthwise convolutions of every kind, one nested."""
    keras.utils.set_random_seed(0)
    inner_input = keras.Input((13, 13, 4))
    x = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(inner_input)
    x = layers.BatchNormalization(momentum=0.7)(x)
    inner = keras.Model(inner_input, layers.ReLU(6.0)(x), name="maps")
    image = keras.Input((13, 13, 4))
    x = inner(image)
    x = layers.DepthwiseConv2D(5, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization(momentum=0.7, scale=False, epsilon=1e-2)(x)
    x = layers.DepthwiseConv2D(3, strides=2, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization(momentum=0.7, center=False)(x)
    x = layers.ReLU()(x)
    x = layers.DepthwiseConv2D(3, padding="same")(x)  # with a bias: stays plain
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(6)(layers.BatchNormalization()(layers.Dense(5)(x))))


def gradients_of(model, x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        outputs = model(x, training=True)
        loss = tf.reduce_sum(tf.cast(outputs, tf.float32) ** 2 * tf.range(1.0, 7.0))
    return outputs, tape.gradient(loss, [x, *model.trainable_variables])


def test_outputs_gradients_and_statistics_equal_those_of_the_plain_layers():
    x = tf.constant(np.random.default_rng(0).normal(1, 2, (8, 13, 13, 4)), tf.float32)
    plain, original = build_network(), build_network()
    fast = accelerated(original)
    kinds = [type(layer) for layer in (*fast.layers, *fast.get_layer("maps").layers)]
    assert kinds.count(FusedBatchNormalization) == 3 and kinds.count(FastDepthwiseConv2D) == 2
    assert {id(v) for v in fast.variables} == {id(v) for v in original.variables}
    expected, gradients = gradients_of(plain, x)
    outputs, fast_gradients = gradients_of(fast, x)
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-5)
    largest = max(np.abs(g).max() for g in gradients[1:])
    by_place = {id(v): g for v, g in zip(fast.trainable_variables, fast_gradients[1:], strict=True)}
    np.testing.assert_allclose(fast_gradients[0], gradients[0], rtol=1e-3, atol=1e-4)
    for variable, gradient in zip(original.trainable_variables, gradients[1:], strict=True):
        np.testing.assert_allclose(by_place[id(variable)], gradient, rtol=1e-3, atol=1e-5 * largest)
    moved = 0
    for mine, theirs in zip(original.non_trainable_variables, plain.non_trainable_variables, strict=True):
        if "moving" in mine.name:
            moved += 1
            assert mine.name == theirs.name
            np.testing.assert_allclose(mine.numpy(), theirs.numpy(), rtol=1e-4, atol=1e-5)
    assert moved == 8
    np.testing.assert_allclose(fast(x), plain(x), rtol=1e-3, atol=1e-4)  # with the statistics, untrained


def test_a_frozen_batch_norm_keeps_its_statistics():
    original = build_network()
    original.get_layer("maps").trainable = False
    before = original.get_layer("maps").get_weights()
    accelerated(original)(np.ones((4, 13, 13, 4), np.float32), training=True)
    for now, then in zip(original.get_layer("maps").get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_the_precision_of_the_layers_is_kept(requires_bfloat16):
    rng = np.random.default_rng(0)
    x = tf.constant(rng.normal(1, 2, (8, 13, 13, 4)) * rng.uniform(-3, 3, (8, 1, 1, 4)), tf.float32)
    single = accelerated(build_network())
    half = accelerated(set_precision(build_network(), "bfloat16"))
    assert half.layers[1].get_layer(index=2).compute_dtype == "bfloat16"
    outputs, gradients = gradients_of(half, x)
    expected, expected_gradients = gradients_of(single, x)
    np.testing.assert_allclose(outputs, expected, rtol=0.1, atol=0.1)
    kernels = [i for i, v in enumerate(half.trainable_variables, 1) if v.name == "kernel"]
    assert len(kernels) == 6
    for i in kernels:  # the gradient of a bias before batch normalisation is 0, and rounding all of it
        assert np.corrcoef(np.ravel(gradients[i]), np.ravel(expected_gradients[i]))[0, 1] > 0.999
