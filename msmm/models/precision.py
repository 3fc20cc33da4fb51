"""The precision in which the layers of a part compute."""

import keras
from keras import layers

IN_PRECISION = ("backbone", "multi_scale")  # parts that --precision applies to; the others would gain no time
POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}


def set_precision(model: keras.Model, precision: str) -> keras.Model:
    """Sets the precision (of POLICIES) in which the layers of a model compute, and returns the model.

    Weights stay float32, and so do preprocessing, batch normalisation's statistics and every part's
    vector outputs: features, logits, quantities. Losses and metrics therefore are float32 as well. Call it
    before the model becomes part of another model or is compiled.
    """
    vectors = {id(tensor) for tensor in model.outputs if len(tensor.shape) == 2}
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            set_precision(layer, precision)
        elif not isinstance(layer, (layers.InputLayer, layers.Rescaling, layers.Normalization)):
            exact = id(layer.output) in vectors
            for part in layer._flatten_layers():  # itself, and the layers in a block of a transformer
                part.dtype_policy = keras.DTypePolicy("float32" if exact else POLICIES[precision])
    return model
