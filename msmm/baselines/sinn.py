"""SINN: Hu, Zhou, Deng, Liao, Mori, "Learning Structured Inference Neural Networks with Label Relations".

Concepts lie in layers, here labels (t = 1) and tags (t = 2). x_t is the image's evidence for a layer;
one pass carries it from layer 1 on (→), one back to layer 1 (←), and both are combined. With γ = ReLU:

    →a_t = γ(→V⁺ →a_t-1) + γ(→H⁺ x_t) - γ(→V⁻ →a_t-1) - γ(→H⁻ x_t) + →b_t
    ←a_t = γ(←V⁺ ←a_t+1) + γ(←H⁺ x_t) - γ(←V⁻ ←a_t+1) - γ(←H⁻ x_t) + ←b_t
    a_t = →U →a_t + ←U ←a_t + b_t,  p_t = σ(a_t),    the three best of p_1 are the annotation

V⁺ and H⁺ have entries only for positive relations, V⁻ and H⁻ for negative relations (`label_graph`, with the
diagonal of H⁺). `sinn_dense` is the source's BINN: one V and one H, every entry, no γ. Labels: x_1 = W f + c.
Tags are observed, in training and at test time. So x_2 is the inverse of the sigmoid, g(t) = log(t / (1 -
t)), with t kept within 0.005 … 0.995. The loss is eq. 4 over the labels alone: the tags are given.

Decided, since the source has no code: the relations come from training co-occurrence (the source: WordNet,
which knows no tag such as "nikon"); V, H ~ N(0, 0.01²) with a diagonal of 1 in H⁺ (and in BINN's H),
U = I/2; SGD with momentum 0.9, clipped to a global norm of 5, L2 5e-4, batches of 50.

No path to a label passes through →a_2 and a_2, so they are not built. With 81 classes, 1,000
tags and ResNet-101's 2,048 features the network has 2,368,578 weights before masking. With those two it
would be 6,532,578, and with a W f for the tags as well, which their observation replaces, 8,581,578.

Where our numbers may differ: the published row also uses 698 groups, which NUS-WIDE does not have. It is
listed with quantity prediction, but its I-P/I-R fits a fixed number of labels, and the paper compares
top-3: here it predicts none. Its source averages precision and recall per image,
which raises the bold I-R of 79.12 (by eq. 6 about 71.0); its C-R 60.30 should be 60.63 by its C-F1.
"""

import keras
import numpy as np
from keras import ops

from msmm.baselines.baseline import Baseline
from msmm.baselines.label_graph import find_relations
from msmm.core.errors import UserError
from msmm.models import optimizers

EPSILON = 0.005  # distance of observed tags from 0 and 1
DEVIATION = 0.01  # standard deviation of fresh weights
# Settings of SGD, decided here since the source has no code. `--sinn_learning_rate` sets the rate.
MOMENTUM = 0.9
CLIP_NORM = 5.0  # largest global norm of the gradient
L2 = 5e-4  # weight decay of every kernel
MOST_DENSE = 2**23  # entries of a mask; a larger one has weights for its relations alone
BATCH_SIZE = 50  # images a step


class Sinn(Baseline):
    """SINN, or BINN with `sinn_dense`. The loss is eq. 4 over the labels, `Baseline.loss`."""

    title = "SINN [25]"
    multi_modal = True
    score_at_half_probability = 0.0
    batch_size = BATCH_SIZE

    def build(self) -> keras.Model:
        """Builds features [B, D] and tags [B, T] -> logits of the labels [B, C]."""
        train_labels, train_tags, num_classes = self.train_labels, self.train_tags, self.num_classes
        if self.config.sinn.dense and not train_tags.shape[1]:
            raise UserError("sinn_dense relates labels to tags, and this data set has none: leave it out")
        feature = keras.Input((self.feature_size,), name="feature")
        tags = keras.Input((train_tags.shape[1],), name="tags")
        x_1 = keras.layers.Dense(num_classes, name="labels")(feature)
        x_2 = reverse_sigmoid(tags)
        forward = self._within(train_labels, "forward_h1")(x_1)
        from_tags = self._within(train_tags, "backward_h2")(x_2)
        from_tags = self._relation(train_labels, train_tags, "backward_v1")(from_tags)
        backward = keras.layers.Add()([from_tags, self._within(train_labels, "backward_h1")(x_1)])
        half = {"units": num_classes, "kernel_initializer": keras.initializers.Identity(0.5)}
        combined = [
            keras.layers.Dense(**half, use_bias=False, name="forward_u1")(forward),
            keras.layers.Dense(**half, name="backward_u1")(backward),
        ]
        return keras.Model([feature, tags], keras.layers.Add(name="logits")(combined))

    def optimizer(self, learning_rate, steps):
        rate = optimizers.schedule(learning_rate, steps)
        return optimizers.Momentum(rate, momentum=MOMENTUM, l2=L2, global_clipnorm=CLIP_NORM)

    def split_inputs(self, split, rows):
        return [self.features(split)[rows], self.splits[split].tags[rows].astype(np.float32)]

    def _within(self, concepts: np.ndarray, name: str):
        """Returns H and b of a layer."""
        return self._relation(concepts, concepts, name, near_identity, use_bias=True)

    def _relation(self, target, source, name: str, initializer=None, use_bias: bool = False):
        """Builds a layer [B, S] -> [B, R] from concepts `source`, bool [N, S], to `target`, bool [N, R]."""
        initializer = initializer or keras.initializers.RandomNormal(stddev=DEVIATION)
        if self.config.sinn.dense:
            return keras.layers.Dense(
                target.shape[1], use_bias=use_bias, kernel_initializer=initializer, name=name
            )
        positive, negative = find_relations(target, source)
        if target is source:
            np.fill_diagonal(positive, True)
        layer = Related if positive.size <= MOST_DENSE else SparselyRelated
        return layer(positive.T, negative.T, initializer, use_bias, name=name)


class Related(keras.layers.Layer):
    """γ((K⁺ ∘ positive) x) - γ((K⁻ ∘ negative) x), with an optional bias: [B, S] -> [B, R].

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


class SparselyRelated(keras.layers.Layer):
    """`Related` with a weight per relation, not per pair: of thousands of concepts few pairs are related.

    positive, negative: bool [S, R]; only their pairs are kept, ordered by the target.
    """

    def __init__(self, positive, negative, initializer, use_bias: bool, **kwargs):
        super().__init__(**kwargs)
        self.pairs = {"positive": np.nonzero(positive.T), "negative": np.nonzero(negative.T)}
        self.num_targets, self.use_bias = positive.shape[1], use_bias
        self.identity = initializer is near_identity  # the diagonal of the positive relations is 1

    def build(self, input_shape):
        self.signs = []
        for sign, (targets, sources) in self.pairs.items():
            kernel = self.add_weight(
                (len(targets),), keras.initializers.RandomNormal(stddev=DEVIATION), name=f"{sign}_kernel"
            )
            if self.identity:
                kernel.assign(np.where(targets == sources, 1, keras.ops.convert_to_numpy(kernel)))
            self.signs.append((kernel, targets.astype(np.int32), sources.astype(np.int32)))
        if self.use_bias:
            self.bias = self.add_weight((self.num_targets,), "zeros", name="bias")

    def call(self, x):
        columns = ops.transpose(x)
        sums = [
            ops.segment_sum(ops.take(columns, sources, axis=0) * kernel[:, None], targets, self.num_targets)
            for kernel, targets, sources in self.signs
        ]
        positive, negative = (ops.relu(ops.transpose(total)) for total in sums)
        return positive - negative + (self.bias if self.use_bias else 0)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.num_targets)


def near_identity(shape, dtype=None):
    """Returns N(0, 0.01²) with a diagonal of 1, [n, n]."""
    diagonal = ops.eye(shape[0], dtype=dtype)
    return keras.initializers.RandomNormal(stddev=DEVIATION)(shape, dtype) * (1 - diagonal) + diagonal


def reverse_sigmoid(observed):
    """Returns log(t / (1 - t)) of t in {0, 1}, kept 0.005 from both ends."""
    t = ops.clip(observed, EPSILON, 1 - EPSILON)
    return ops.log(t) - ops.log(1 - t)
