"""CNN+WARP: Gong, Jia, Leung, Toshev, Ioffe, "Deep Convolutional Ranking for Multilabel Image Annotation".

Every label of an image should score higher than every other class by 1; a label costs more the lower it
ranks:

    J = Σ_j∈pos Σ_k∈neg L(r_j) max(0, 1 - f_j + f_k),    L(r) = Σ_{q≤r} 1/q

The rank r_j is estimated by drawing other classes without replacement until one violates the
margin: after s draws, r_j = ⌊(C - 1)/s⌋, and no violator means no loss. `warp_exact` counts the
violators instead. L(r_j) is constant for the gradient. J is divided by C, and the batch's mean is
taken. One permutation of the classes serves all labels of an image: for a single label it is a
uniform draw. Images without labels, or with all, have no loss.

The loss is the method, so the trunk is trained by it, from the ImageNet weights. A widely copied port
has 1/i + 1 for 1/(i + 1) in L; here L is tested against sums. The published rows use the source's
small network, on another test set.

2,048 C + C parameters beside ResNet-101's.
"""

import functools

import numpy as np
from keras import ops

from msmm.baselines.baseline import Baseline


class Warp(Baseline):
    title = "CNN+WARP [39]"
    trunk = "own"
    batch_size = 32

    def targets(self, rows, rng):
        """Returns float32 [B, 2, C]: the labels, and one random key per class, the order of the draws."""
        labels = self.splits["train"].labels[rows].astype(np.float32)
        return np.stack([labels, rng.random(labels.shape, np.float32)], axis=1)

    def loss(self, targets, outputs):
        """Returns J / C, [B], of targets as in `targets` and scores [B, C]."""
        labels, keys = targets[:, 0], targets[:, 1]
        keys = None if self.config.warp.exact else keys
        few = ops.max(ops.sum(labels, axis=1)) <= self.longest  # always so in training
        total = ops.cond(
            few,
            lambda: warp_loss(labels, outputs, keys, self.longest),
            lambda: warp_loss(labels, outputs, keys, self.longest_of_all),
        )
        return total / self.num_classes

    @functools.cached_property
    def longest(self) -> int:
        """The largest number of labels of an image that trains; at least 1.

        The bound saves memory and changes the loss by rounding at most. All labels of a held-out image count,
        also where it has more.
        """
        return max(1, int(self.train_labels.sum(axis=1).max()))

    @functools.cached_property
    def longest_of_all(self) -> int:
        """The largest number of labels of an image that trains or is held out; at least 1."""
        return max(1, int(self.splits["train"].labels.sum(axis=1).max()))


def warp_loss(labels, scores, keys=None, longest=None):
    """Returns J of labels [B, C] in {0, 1}, scores [B, C] -> [B].

    keys: [B, C], all different in a row: classes are drawn in their order; None counts violators exactly.
    longest: P, the most labels per image (C if None). Memory is B·P·C values, so a small P saves much with
    many classes.
    """
    labels = ops.cast(labels, scores.dtype)
    classes = labels.shape[-1]
    present, places = ops.top_k(labels, longest or classes)  # [B, P], the labels first
    margins = ops.take_along_axis(1 - scores, places, axis=1)
    pairs = present[:, :, None] * (1 - labels[:, None, :])  # [B, j, k]
    hinges = ops.relu(margins[:, :, None] + scores[:, None, :]) * pairs
    violations = ops.cast(hinges > 0, scores.dtype)
    if keys is None:
        ranks = ops.sum(violations, axis=2)
    else:
        first = ops.min(ops.where(violations > 0, keys[:, None, :], np.inf), axis=2, keepdims=True)
        draws = ops.sum(pairs * ops.cast(keys[:, None, :] <= first, scores.dtype), axis=2)
        violated = ops.max(violations, axis=2)
        ranks = violated * ops.floor((classes - 1) / ops.maximum(draws, 1))
    harmonic = np.concatenate([[0], np.cumsum(1 / np.arange(1, classes))]).astype(np.float32)
    weights = ops.take(ops.convert_to_tensor(harmonic), ops.cast(ranks, "int32"))
    return ops.sum(ops.stop_gradient(weights)[:, :, None] * hinges, axis=(1, 2))
