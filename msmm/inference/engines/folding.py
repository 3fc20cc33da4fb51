"""Batch normalisation folded into the convolution before it: the same function in fewer passes over memory.

In inference mode BN(W∗x + b) = γ (W∗x + b - μ) / √(σ² + ε) + β is itself a convolution, with the kernel
W γ / √(σ² + ε) and the bias (b - μ) γ / √(σ² + ε) + β.
"""

import collections
from collections.abc import Iterator

import keras
import numpy as np
from keras import layers

CONVOLUTIONS = (layers.Conv2D, layers.DepthwiseConv2D)


def folded(network: keras.Model) -> keras.Model:
    """A copy of a functional network, for inference.

    Each batch normalisation, also in models within it, is folded where it alone reads a Conv2D or
    DepthwiseConv2D that has no activation; others stay as they are.
    """
    norm_after = dict(_pairs(network))
    norms, copies = set(norm_after.values()), []

    def clone(layer):
        if layer in norms:
            return layers.Identity(name=layer.name)
        if not isinstance(layer, layers.Layer):  # a function of keras.ops
            return layer
        config = layer.get_config()
        if layer in norm_after:
            config["use_bias"] = True
        copies.append((layer, type(layer).from_config(config)))
        return copies[-1][1]

    def call(layer, *args, **more):
        # A loaded network gives its normalisations a `mask`, which what takes their place does not know.
        return layer(*args, **({} if type(layer) is layers.Identity else more))

    copy = keras.models.clone_model(network, clone_function=clone, call_function=call, recursive=True)
    for layer, twin in copies:
        norm = norm_after.get(layer)
        twin.set_weights(_fold(layer, norm) if norm else layer.get_weights())
    return copy


def _pairs(model: keras.Model) -> Iterator[tuple[layers.Layer, layers.Layer]]:
    """Each convolution that can take a normalisation in, and that normalisation."""
    read = [t for op in model.operations for node in op._inbound_nodes for t in node.input_tensors]
    readers = collections.Counter(id(tensor) for tensor in [*read, *model.outputs])
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _pairs(layer)
        if not isinstance(layer, layers.BatchNormalization) or len(layer._inbound_nodes) != 1:
            continue
        conv = layer.input._keras_history.operation
        if (
            type(conv) in CONVOLUTIONS
            and len(conv._inbound_nodes) == 1
            and readers[id(conv.output)] == 1
            and conv.activation is keras.activations.linear
            and conv.data_format == "channels_last"
            and layer.axis in (-1, 3)
        ):
            yield conv, layer


def _fold(conv: layers.Layer, norm: layers.BatchNormalization) -> list[np.ndarray]:
    """Kernel and bias of both in one, float32; computed in float64."""
    kernel, *bias = (np.asarray(weight, np.float64) for weight in conv.get_weights())
    *affine, mean, variance = (np.asarray(weight, np.float64) for weight in norm.get_weights())
    scale = (affine.pop(0) if norm.scale else 1.0) / np.sqrt(variance + norm.epsilon)
    offset = affine.pop() if norm.center else 0.0
    bias = ((bias[0] if bias else 0.0) - mean) * scale + offset
    # The output channels are the kernel's last axis, or its last two, channel and multiplier.
    channels = kernel.shape[2:] if isinstance(conv, layers.DepthwiseConv2D) else kernel.shape[3:]
    return [(kernel * np.reshape(scale, channels)).astype(np.float32), bias.astype(np.float32)]
