"""Layers with faster training steps on TensorFlow: fused batch normalisation, depthwise convolution.

Two layers take most of the time in which a CPU trains a convolutional network (figures are in
docs/research/benchmarks.md):

- Keras normalises a batch by a dozen elementwise ops. TensorFlow has one fused op for each pass.
- TensorFlow's gradient of a depthwise convolution by its input is slow, in bfloat16 ten times slower than in
  float32. At stride 1 it is itself a depthwise convolution, with the kernel turned by 180 degrees.

Results and gradients equal those of the plain layers except for rounding, and they share the variables.
"""

import keras
import tensorflow as tf
from keras import layers


def accelerated(model: keras.Model) -> keras.Model:
    """Returns the same functional model, on the same variables, with faster training steps.

    The parts of the model stay as they are: save and load these. Other backends than TensorFlow get the model
    itself.
    """
    if keras.backend.backend() != "tensorflow":
        return model
    return keras.models.clone_model(model, clone_function=_accelerated_layer)


def plain_copy(layer: layers.Layer) -> layers.Layer:
    """Returns a new layer like a layer of an accelerated model, but plain: for `keras.models.clone_model`."""
    if _is_graph(layer):
        return keras.models.clone_model(layer, clone_function=plain_copy)
    plain = layer.plain if isinstance(layer, FusedBatchNormalization | FastDepthwiseConv2D) else layer
    return type(plain).from_config(plain.get_config())


def _is_graph(layer: layers.Layer) -> bool:
    """Returns whether a layer is a model of layers; a network of KerasHub has a configuration of its own."""
    return isinstance(layer, keras.Model) and type(layer).__module__.startswith("keras.")


def _accelerated_layer(layer: layers.Layer) -> layers.Layer:
    if _is_graph(layer):
        return accelerated(layer)
    if type(layer) is layers.BatchNormalization and len(layer.input.shape) == 4 and layer.axis in (-1, 3):
        return FusedBatchNormalization(layer)
    if type(layer) is layers.DepthwiseConv2D and _is_plain(layer):
        return FastDepthwiseConv2D(layer)
    return layer


def _is_plain(layer: layers.DepthwiseConv2D) -> bool:
    return (
        layer.padding == "same"
        and layer.data_format == "channels_last"
        and layer.depth_multiplier == 1
        and set(layer.strides) == {1}
        and set(layer.dilation_rate) == {1}
        and not layer.use_bias
        and layer.activation is keras.activations.linear
        and all(side % 2 for side in layer.kernel_size)
    )


class FusedBatchNormalization(layers.Layer):
    """Batch normalisation of maps [B, h, w, C] by the fused op, on a Keras layer's variables."""

    def __init__(self, plain: layers.BatchNormalization):
        super().__init__(name=plain.name, dtype=plain.dtype_policy)
        self.plain = plain

    def call(self, inputs, training=None, mask=None):
        """Normalises by the batch's statistics and updates the moving ones; else as the Keras layer."""
        plain = self.plain
        if not training or not plain.trainable:
            return plain(inputs, training=False)
        channels = inputs.shape[-1]
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=tf.convert_to_tensor(plain.gamma) if plain.scale else tf.ones(channels),
            offset=tf.convert_to_tensor(plain.beta) if plain.center else tf.zeros(channels),
            mean=[],
            variance=[],
            epsilon=plain.epsilon,
            is_training=True,
        )
        places = tf.cast(tf.size(inputs) // channels, tf.float32)
        variance *= (places - 1) / places  # the op's is unbiased, Keras keeps the biased one
        for average, value in ((plain.moving_mean, mean), (plain.moving_variance, variance)):
            average.assign(average * plain.momentum + value * (1 - plain.momentum))
        return outputs


class FastDepthwiseConv2D(layers.Layer):
    """A depthwise convolution of stride 1 in float32, on the kernel of a Keras layer."""

    def __init__(self, plain: layers.DepthwiseConv2D):
        super().__init__(name=plain.name, dtype="float32")
        self.plain = plain

    def call(self, inputs):
        """Returns float32 maps [B, h, w, C] of maps of any floating-point type."""

        def convolve(x, kernel):
            return tf.nn.depthwise_conv2d(x, kernel, [1, 1, 1, 1], "SAME")

        @tf.custom_gradient
        def convolve_with_fast_gradient(x, kernel):
            def gradient(dy):
                dkernel = tf.raw_ops.DepthwiseConv2dNativeBackpropFilter(
                    input=x,
                    filter_sizes=tf.shape(kernel),
                    out_backprop=dy,
                    strides=[1, 1, 1, 1],
                    padding="SAME",
                )
                return convolve(dy, tf.reverse(kernel, [0, 1])), dkernel

            return convolve(x, kernel), gradient

        inputs = tf.cast(inputs, tf.float32)  # Keras leaves symbolic inputs as they are
        return convolve_with_fast_gradient(inputs, tf.convert_to_tensor(self.plain.kernel))
