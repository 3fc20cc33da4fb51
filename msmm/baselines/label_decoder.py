"""The networks of the recurrent methods: an LSTM that reads labels, and the steps of a whole batch."""

import keras
from keras import ops

FEW_CLASSES = 500  # about the tokens of a batch of 128 images


class Lstm(keras.layers.Layer):
    """An LSTM on embedded labels; what a label gives to its gates is the same for all images and steps.

        i, f, g, o = (E W + b)_l + h U,    c = σ(f) c + σ(i) φ(g),    h = σ(o) φ(c)

    Args:
        units: of h and c.
        activation: φ.
        decay: L2 of W and U, λ of λ ‖W‖².
    """

    def __init__(self, units: int, activation: str = "tanh", decay: float = 0.0, **options):
        super().__init__(**options)
        self.units, self.decay = units, decay
        self.activation = keras.activations.get(activation)

    def build(self, input_shape):
        """Adds W and U, and b, which starts at 1 for the forget gate. input_shape: [labels, width]."""

        def forget_one(shape, dtype):
            return ops.cast(ops.arange(shape[0]) // self.units == 1, dtype)

        width, gates = input_shape[-1], 4 * self.units
        penalty = keras.regularizers.L2(self.decay) if self.decay else None
        self.kernel = self.add_weight((width, gates), "glorot_uniform", regularizer=penalty, name="kernel")
        self.recurrent_kernel = self.add_weight(
            (self.units, gates), "orthogonal", regularizer=penalty, name="recurrent_kernel"
        )
        self.bias = self.add_weight((gates,), forget_one, name="bias")

    def call(self, embeddings):
        """Returns E W + b, [labels, 4 units], from E [labels, width]."""
        return embeddings @ self.kernel + self.bias

    def step(self, gates, states):
        """Returns the next [h, c], [B, units] each, from labels' rows of `call`, [B, 4 units], and [h, c]."""
        hidden, memory = states
        i, f, g, o = ops.split(gates + hidden @ self.recurrent_kernel, 4, axis=1)
        memory = ops.sigmoid(f) * memory + ops.sigmoid(i) * self.activation(g)
        return [ops.sigmoid(o) * self.activation(memory), memory]


class LabelDecoder(keras.layers.Layer):
    """A recurrent network; subclasses define `start`, `advance` and `score`, which training and search share.

    Args:
        num_classes: C.
        width: of the label embeddings.
        lstm: reads them.
    """

    def __init__(self, num_classes: int, width: int, lstm: Lstm, **options):
        super().__init__(**options)
        self.num_classes, self.cell = num_classes, lstm
        self.embedding = keras.layers.Embedding(num_classes + 2, width, name="embedding")

    def start(self, features) -> list:
        """Returns the states before the first step, a list of [B, …], from features [B, …]."""
        raise NotImplementedError

    def advance(self, gates, states) -> tuple:
        """Returns (output [B, …], states) from `label_gates` of the tokens, [B, …], and states."""
        raise NotImplementedError

    def score(self, outputs):
        """Returns logits [N, C + 1] over classes and END from outputs [N, …] of `advance`."""
        raise NotImplementedError

    def label_gates(self, tokens):
        """Returns what tokens [N] give to the LSTM's gates, [N, 4 units]."""
        return self.cell(self.embedding(tokens))

    def call(self, features, tokens):
        """Returns logits [B, S, C + 1] from features [B, …] and input tokens [B, S]."""
        return self.unroll(self.start(features), tokens)

    def unroll(self, states, tokens):
        """Returns the logits after every input token, [B, S, C + 1]; after END they are 0, which has no loss.

        The images are sorted by their number of tokens, so that each step computes only those that have one:
        with 3 labels an image and 18 at most, a fifth of the work.
        """
        counts = ops.sum(ops.cast(ops.not_equal(tokens, self.num_classes), "int32"), axis=1)
        sorting = ops.argsort(-counts)
        counts, tokens = ops.take(counts, sorting), ops.take(tokens, sorting, axis=0)
        states = [ops.take(state, sorting, axis=0) for state in states]
        few = self.num_classes <= FEW_CLASSES  # once for all ids is less than for each token
        every, outputs = self.label_gates(ops.arange(self.num_classes + 2)) if few else None, []
        has_token = counts > ops.arange(tokens.shape[1])[:, None]  # [S, B], true first in each row
        for place in range(tokens.shape[1]):
            images = ops.sum(ops.cast(has_token[place], "int32"))
            current = tokens[:images, place]
            gates = self.label_gates(current) if every is None else ops.take(every, current, axis=0)
            output, states = self.advance(gates, [state[:images] for state in states])
            outputs.append(output)
        logits = self.score(ops.concatenate(outputs, axis=0))
        places = ops.stack(ops.nonzero(has_token), axis=1)
        shape = (tokens.shape[1], ops.shape(tokens)[0], self.num_classes + 1)
        logits = ops.scatter(places, logits, shape)
        return ops.take(ops.transpose(logits, (1, 0, 2)), ops.argsort(sorting), axis=0)
