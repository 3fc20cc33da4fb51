"""SINN: Hu, Zhou, Deng, Liao, Mori, "Learning Structured Inference Neural Networks with Label Relations".

Concepts lie in layers, here labels (t = 1) and tags (t = 2). What the image says of a layer is x_t;
one pass carries it from layer 1 on (→), one back to layer 1 (←), and both are joined. With γ = ReLU:

    →a_t = γ(→V⁺ →a_t-1) + γ(→H⁺ x_t) - γ(→V⁻ →a_t-1) - γ(→H⁻ x_t) + →b_t
    ←a_t = γ(←V⁺ ←a_t+1) + γ(←H⁺ x_t) - γ(←V⁻ ←a_t+1) - γ(←H⁻ x_t) + ←b_t
    a_t = →U →a_t + ←U ←a_t + b_t,  p_t = σ(a_t),    the three best of p_1 are the annotation

V⁺ and H⁺ have entries only where two concepts go together, V⁻ and H⁻ where they exclude each other
(`label_graph`, with the diagonal of H⁺). `sinn_dense` is the source's BINN: one V and one H, every
entry, no γ. Labels: x_1 = W f + c. Tags are observed, in training and at test time, so x_2 is the
inverse of the sigmoid, g(t) = log(t / (1 - t)), t kept within 0.005 … 0.995. The loss is eq. 4 over the
labels alone: the tags are given.

Decided, since the source has no code: the relations come from training co-occurrence (the source: WordNet,
which knows no tag such as "nikon"); V, H ~ N(0, 0.01²) with a diagonal of 1 in H⁺ (and in BINN's H),
U = I/2; SGD with momentum 0.9, clipped to a global norm of 5, L2 5e-4, batches of 50.

Nothing that reaches a label passes through →a_2 and a_2, so they are not built. With 81 classes, 1,000
tags and ResNet-101's 2,048 features the network has 2,368,578 weights before masking. With those two it
would be 6,532,578, and with a W f for the tags as well, which their observation replaces, 8,581,578.

Where our numbers may differ: the published row also uses 698 groups, which NUS-WIDE does not have. It is
listed with quantity prediction, but its I-P/I-R is that of a fixed number of labels, and the paper compares
top-3: here it predicts none. Its source takes precision and recall of an image and averages over images,
which raises the bold I-R of 79.12 (by eq. 6 about 71.0); its C-R 60.30 should be 60.63 by its C-F1.
"""

import keras
import numpy as np
from keras import ops

from msmm.baselines.label_graph import relations
from msmm.baselines.method import Method, predict
from msmm.core.errors import UserError
from msmm.models import optimizers

EPSILON = 0.005
DEVIATION = 0.01
CLIP_NORM = 5.0
L2 = 5e-4


class Sinn(Method):
    title = "SINN [25]"
    multi_modal = True
    batch_size = 50

    def build(self) -> keras.Model:
        """Features [B, D] and tags [B, T] -> logits of the labels [B, C]."""
        train, num_classes = self.splits["train"], self.num_classes
        if self.config.sinn_dense and not train.tags.shape[1]:
            raise UserError("sinn_dense relates labels to tags, and this data set has none: leave it out")
        feature = keras.Input((self.feature_size,), name="feature")
        tags = keras.Input((train.tags.shape[1],), name="tags")
        x_1 = keras.layers.Dense(num_classes, name="labels")(feature)
        x_2 = reverse_sigmoid(tags)
        forward = self._within(train.labels, "forward_h1")(x_1)
        of_tags = self._within(train.tags, "backward_h2")(x_2)
        of_tags = self._relation(train.labels, train.tags, "backward_v1")(of_tags)
        backward = keras.layers.Add()([of_tags, self._within(train.labels, "backward_h1")(x_1)])
        half = {"units": num_classes, "kernel_initializer": keras.initializers.Identity(0.5)}
        joined = [
            keras.layers.Dense(**half, use_bias=False, name="forward_u1")(forward),
            keras.layers.Dense(**half, name="backward_u1")(backward),
        ]
        return keras.Model([feature, tags], keras.layers.Add(name="logits")(joined))

    def optimizer(self, learning_rate, steps):
        rate = optimizers.schedule(learning_rate, steps)
        return optimizers.Momentum(rate, momentum=0.9, l2=L2, global_clipnorm=CLIP_NORM)

    def inputs(self, rows, epoch, rng):
        return self._read("train", rows)

    def annotate(self, network, split, rows):
        return self.decode(predict(network, self._read(split, rows)))

    def _read(self, split: str, rows: np.ndarray) -> list[np.ndarray]:
        examples = self.splits[split]
        return [examples.features[rows], examples.tags[rows].astype(np.float32)]

    def _within(self, concepts: np.ndarray, name: str):
        """H and b of a layer."""
        return self._relation(concepts, concepts, name, near_identity, use_bias=True)

    def _relation(self, to, of, name: str, initializer=None, use_bias: bool = False):
        """What concepts `of`, bool [N, S], say of those `to`, bool [N, R]: a layer [B, S] -> [B, R]."""
        initializer = initializer or keras.initializers.RandomNormal(stddev=DEVIATION)
        if self.config.sinn_dense:
            return keras.layers.Dense(
                to.shape[1], use_bias=use_bias, kernel_initializer=initializer, name=name
            )
        positive, negative = relations(to, of)
        if to is of:
            np.fill_diagonal(positive, True)
        return Related(positive.T, negative.T, initializer, use_bias, name=name)


class Related(keras.layers.Layer):
    """γ((K⁺ ∘ positive) x) - γ((K⁻ ∘ negative) x), and a bias if asked for: [B, S] -> [B, R].

    positive, negative: bool [S, R], saved with the weights.
    """

    def __init__(self, positive, negative, initializer, use_bias: bool, **kwargs):
        super().__init__(**kwargs)
        self.masks = {"positive": positive, "negative": negative}
        self.initializer, self.use_bias = initializer, use_bias

    def build(self, input_shape):
        self.signs = []
        for sign, mask in self.masks.items():
            kernel = self.add_weight(mask.shape, self.initializer, name=f"{sign}_kernel")
            fixed = self.add_weight(mask.shape, "zeros", trainable=False, name=f"{sign}_mask")
            fixed.assign(mask.astype(np.float32))
            self.signs.append((kernel, fixed))
        if self.use_bias:
            self.bias = self.add_weight(self.masks["positive"].shape[1:], "zeros", name="bias")

    def call(self, x):
        positive, negative = (ops.relu(x @ (kernel * mask)) for kernel, mask in self.signs)
        return positive - negative + (self.bias if self.use_bias else 0)


def near_identity(shape, dtype=None):
    """N(0, 0.01²) with a diagonal of 1, [n, n]."""
    diagonal = ops.eye(shape[0], dtype=dtype)
    return keras.initializers.RandomNormal(stddev=DEVIATION)(shape, dtype) * (1 - diagonal) + diagonal


def reverse_sigmoid(observed):
    """log(t / (1 - t)) of t in {0, 1}, kept 0.005 from both ends."""
    t = ops.clip(observed, EPSILON, 1 - EPSILON)
    return ops.log(t) - ops.log(1 - t)
