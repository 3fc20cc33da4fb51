"""The network as one TensorFlow graph of constants, batch normalisation folded."""

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from msmm.inference.engines.folding import folded
from msmm.inference.exporting.formats import RunFunction


def open_network(network: keras.Model) -> RunFunction:
    """The network in float32, compiled for any batch size."""
    fused = folded(network)
    inputs = {t.name: tf.TensorSpec([None, *t.shape[1:]], tf.float32, name=t.name) for t in network.inputs}

    def annotate(image, tags):
        said = fused({"image": image, "tags": tags}, training=False)
        return said["probabilities"], said["quantity"][:, 0]

    # Of constants oneDNN keeps the order that it reads them in; of variables it does not.
    graph = convert_variables_to_constants_v2(tf.function(annotate).get_concrete_function(**inputs))

    def run(image: np.ndarray, tags: np.ndarray) -> dict[str, np.ndarray]:
        probabilities, quantity = graph(image=tf.constant(image), tags=tf.constant(tags))
        return {"probabilities": probabilities.numpy(), "quantity": quantity.numpy()}

    return run
