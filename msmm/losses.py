"""The two losses of section III-D, as Keras takes them: [B, …] in, [B] out.

Keras takes the mean over the batch; the sum over classes is eq. 4's own (decision 2).
"""

from keras import ops


def sigmoid_cross_entropy(labels, logits):
    """Eq. 4: labels [B, C] in {0, 1} and logits [B, C], float32 -> [B], summed over classes (nats)."""
    labels = ops.cast(labels, logits.dtype)
    # -y log σ(z) - (1 - y) log(1 - σ(z)), written so that no exponential overflows.
    return ops.sum(ops.relu(logits) - logits * labels + ops.log1p(ops.exp(-ops.abs(logits))), axis=-1)


def squared_error(counts, raw):
    """Eq. 5: true quantities [B] or [B, 1] and predicted [B, 1], float32 -> [B], in labels squared."""
    return ops.sum(ops.square(raw - ops.cast(ops.reshape(counts, (-1, 1)), raw.dtype)), axis=-1)
