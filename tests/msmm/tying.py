"""A model whose probabilities often tie and whose quantities often end in one half."""

import keras
import numpy as np

from msmm.inference.model import Model

NUM_TAGS, NUM_LABELS, SIZE = 6, 10, 8


def build() -> Model:
    weights = np.zeros((3 + NUM_TAGS, NUM_LABELS + 1))
    weights[3:, :-1] = np.random.default_rng(0).integers(-1, 2, (NUM_TAGS, NUM_LABELS))
    weights[3:, -1] = 1.5
    image, tags = keras.Input((SIZE, SIZE, 3), name="image"), keras.Input((NUM_TAGS,), name="tags")
    joint = keras.layers.Concatenate()([keras.layers.GlobalAveragePooling2D()(image), tags])

    def dense(columns):
        kernel = keras.initializers.Constant(weights[:, columns].reshape(len(weights), -1))
        return keras.layers.Dense(np.size(kernel.value) // len(weights), kernel_initializer=kernel)(joint)

    probabilities = keras.layers.Activation("sigmoid", name="probabilities")(dense(slice(0, -1)))
    network = keras.Model(
        {"image": image, "tags": tags}, {"probabilities": probabilities, "quantity": dense(slice(-1, None))}
    )
    labels = tuple(f"label {i}" for i in range(NUM_LABELS))
    return Model(network, labels, ("été", "dog", "new york", "x", "y", "z"), {})
