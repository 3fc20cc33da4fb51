"""The network as one TensorFlow graph of constants, batch normalisation folded."""

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from msmm.engines.folding import folded
from msmm.exporting.formats import Run


def open_network(network: keras.Model) -> Run:
    """The network in float32; compiled once for any batch size."""
    fused = folded(network)
    inputs = {t.name: tf.TensorSpec([None, *t.shape[1:]], tf.float32, name=t.name) for t in network.inputs}
    graph = tf.function(lambda image, tags: fused({"image": image, "tags": tags}, training=False))
    # Of constants oneDNN keeps the order that it wants them in; of variables it cannot.
    frozen = convert_variables_to_constants_v2(graph.get_concrete_function(**inputs))

    def run(image: np.ndarray, tags: np.ndarray) -> dict[str, np.ndarray]:
        said = frozen(image=tf.constant(image), tags=tf.constant(tags))
        return {name: value.numpy() for name, value in said.items()}

    return run
