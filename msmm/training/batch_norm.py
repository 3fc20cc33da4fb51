"""Statistics of batch normalisation, estimated again for fixed weights (decision 8)."""

from collections.abc import Iterable

import keras
import numpy as np
import tensorflow as tf

from msmm.training.fast_layers import accelerated


def reestimate(model: keras.Model, batches: Iterable, limit: int) -> None:
    """Sets the moving statistics of a model's BN layers to the plain mean over at most `limit` batches.

    At momentum 0.9997 they lag thousands of steps behind the weights, and held-out figures with them. They
    also differ from those of averaged weights.

    Args:
        model: its weights stay as they are.
        batches: of the model's inputs.
        limit: number of batches that are used, at most.
    """
    norms = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]
    statistics = [variable for layer in norms for variable in (layer.moving_mean, layer.moving_variance)]
    momenta = [layer.momentum for layer in norms]
    fast = accelerated(model)
    step = tf.function(lambda x: fast(x, training=True), reduce_retracing=True)
    sums, count = [np.zeros(v.shape) for v in statistics], 0
    for layer in norms:
        layer.momentum = 0.0  # after a step, the moving statistics are those of its batch
    try:
        for batch, _ in zip(batches, range(limit)):  # noqa: B905 - whichever ends first
            step(batch)
            count += 1
            for total, variable in zip(sums, statistics, strict=True):
                total += keras.ops.convert_to_numpy(variable)
    finally:
        for layer, momentum in zip(norms, momenta, strict=True):
            layer.momentum = momentum
    for total, variable in zip(sums, statistics, strict=True):
        variable.assign((total / count).astype(np.float32))
