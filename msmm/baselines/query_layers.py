"""The common part of the heads whose queries attend to the places of a map: a decoder's layers."""

import keras
from keras import layers, ops

DROPOUT = 0.1
_EPSILON = 1e-5  # of layer normalisation, as in the sources


class Queries(layers.Layer):
    """Query vectors, the same for every image: anything [B, …] -> [B, count, width].

    Args:
        count: the number of queries.
        width: the length of each.
        trained: whether they are trained; otherwise they keep their first values, N(0, 1).
    """

    def __init__(self, count: int, width: int, trained: bool, **options):
        super().__init__(**options)
        self.count, self.width, self.trained = count, width, trained

    def build(self, input_shape):
        normal = keras.initializers.RandomNormal(stddev=1.0)
        shape = (self.count, self.width)
        self.queries = self.add_weight(shape, normal, trainable=self.trained, name="queries")

    def call(self, batch):
        return ops.broadcast_to(self.queries[None], (ops.shape(batch)[0], self.count, self.width))

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.count, self.width)


class GroupLogits(layers.Layer):
    """Logits of classes in groups, a query for each: [B, G, d] -> [B, C].

    Query g gives ⌈C/G⌉ logits by a matrix of its own; those beyond C are cut off, and each class has a bias.
    With G = C each class has a query and a weight vector. G d ⌈C/G⌉ + C parameters.
    """

    def __init__(self, num_classes: int, **options):
        super().__init__(**options)
        self.num_classes = num_classes

    def build(self, input_shape):
        groups, width = input_shape[1:]
        size = -(-self.num_classes // groups)
        self.kernel = self.add_weight((groups, width, size), "glorot_normal", name="kernel")
        self.bias = self.add_weight((self.num_classes,), "zeros", name="bias")

    def call(self, queries):
        logits = ops.einsum("bgd,gdf->bgf", queries, self.kernel)
        whole = ops.reshape(logits, (-1, logits.shape[1] * logits.shape[2]))
        return whole[:, : self.num_classes] + self.bias


def add_and_norm(x, change, name: str):
    """Returns LN(x + dropout(change)), the post-norm of both sources."""
    changed = layers.Add()([x, layers.Dropout(DROPOUT)(change)])
    return layers.LayerNormalization(epsilon=_EPSILON, name=name)(changed)


def attend(query, key, value, heads: int, name: str):
    """Returns multi-head attention of [B, n, d] to [B, m, d]."""
    width = query.shape[-1]
    attention = layers.MultiHeadAttention(heads, width // heads, dropout=DROPOUT, name=name)
    return attention(query, value, key)


def feed_forward(x, hidden: int, name: str):
    """Returns LN(x + dropout(W_2 dropout(ReLU(W_1 x)))) with `hidden` units."""
    inner = layers.Dense(hidden, activation="relu", name=f"{name}_hidden")(x)
    outer = layers.Dense(x.shape[-1], name=f"{name}_output")(layers.Dropout(DROPOUT)(inner))
    return add_and_norm(x, outer, f"{name}_norm")


def flatten_places(x):
    """Returns a map [B, h, w, D] as places [B, h w, D]."""
    height, width, channels = x.shape[1:]
    return layers.Reshape((height * width, channels))(x)
