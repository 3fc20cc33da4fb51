"""Statistics of batch normalisation, estimated again for fixed weights (decision 8).

The fused op that normalises in training is in `fast_layers`.
"""

import weakref
from collections.abc import Callable, Iterable

import keras
import numpy as np
import tensorflow as tf

from msmm.training.fast_layers import accelerated


def reestimate(model: keras.Model, batches: Iterable, limit: int) -> None:
    """Sets the moving statistics of a model's BN layers to the plain mean over at most `limit` batches.

    With momentum 0.9997 the moving averages lag the weights by thousands of steps, which distorts held-out
    metrics. They do not match averaged weights either.

    Args:
        model: its weights stay as they are, and so do the statistics of its frozen layers.
        batches: of the model's inputs.
        limit: number of batches that are used, at most.
    """
    norms = [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
    ]
    if not norms:
        return
    statistics = [variable for layer in norms for variable in (layer.moving_mean, layer.moving_variance)]
    momenta = [layer.momentum for layer in norms]
    sums, count = [np.zeros(v.shape) for v in statistics], 0
    for layer in norms:
        layer.momentum = 0.0  # after a step, the moving statistics are those of its batch
    try:
        for batch, _ in zip(batches, range(limit)):  # noqa: B905 - whichever ends first
            _step_of(model)(batch)
            count += 1
            for total, variable in zip(sums, statistics, strict=True):
                total += keras.ops.convert_to_numpy(variable)
    finally:
        for layer, momentum in zip(norms, momenta, strict=True):
            layer.momentum = momentum
    for total, variable in zip(sums, statistics, strict=True):
        variable.assign((total / count).astype(np.float32))


_STEPS: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()  # model -> its traced step


def _step_of(model: keras.Model) -> Callable:
    """Returns a training pass of a model as a graph, traced once, while its BN layers have momentum 0."""
    if model not in _STEPS:
        fast = accelerated(model)
        _STEPS[model] = tf.function(lambda x: fast(x, training=True), reduce_retracing=True)
    return _STEPS[model]
