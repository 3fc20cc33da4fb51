"""The two losses of section III-D, the asymmetric loss and the multi-task loss: [B, …] to [B], as in Keras.

Keras takes the mean over the batch; the sum over classes is eq. 4's own (decision 2).
"""

from collections.abc import Callable

from keras import ops


def sigmoid_cross_entropy(labels, logits):
    """Returns eq. 4: labels [B, C] in {0, 1}, logits [B, C], float32 -> [B], summed over classes (nats)."""
    labels = ops.cast(labels, logits.dtype)
    return ops.sum(ops.binary_crossentropy(labels, logits, from_logits=True), axis=-1)


def asymmetric(
    gamma_positive: float, gamma_negative: float, shift: float, detached: bool = False
) -> Callable:
    """Returns the asymmetric loss of Ridnik et al. (Asymmetric Loss For Multi-Label Classification, ICCV
    2021).

    The loss takes labels [B, C] in {0, 1} and logits [B, C], float32 -> [B], summed over classes (nats). With
    p = σ(z) and p_m = max(p - shift, 0), a positive label costs -(1 - p)^γ₊ log p, a negative label
    -p_m^γ₋ log(1 - p_m). With 0, 0 and 0 the loss is eq. 4.

    detached: whether the focusing weights (1 - p)^γ₊ and p_m^γ₋ are constants for the gradient, as in the
    authors' training script. The loss has the same value; the authors' loss class has both forms.
    """
    constant = ops.stop_gradient if detached else lambda weight: weight

    def loss(labels, logits):
        labels = ops.cast(labels, logits.dtype)
        log_p, log_not_p = -ops.softplus(-logits), -ops.softplus(logits)
        positive = constant(ops.exp(gamma_positive * log_not_p)) * log_p
        if shift:
            log_not_p = ops.minimum(ops.log(ops.exp(log_not_p) + shift), 0.0)
            # Not 0: where p_m is 0 so is the logarithm, but the slope of a power of 0 may be infinite.
            weight = ops.power(ops.maximum(ops.sigmoid(logits) - shift, 1e-7), gamma_negative)
        else:
            weight = ops.exp(gamma_negative * log_p)
        return -ops.sum(labels * positive + (1 - labels) * constant(weight) * log_not_p, axis=-1)

    return loss


def label_loss(name: str, asymmetric_settings) -> Callable:
    """Returns the loss of labels that a setting names: (labels, logits) -> [B].

    Args:
        name: one of `configs.baselines.LOSSES`.
        asymmetric_settings: the settings of the asymmetric loss.
    """
    if name == "cross_entropy":
        return sigmoid_cross_entropy
    gammas = asymmetric_settings
    detached = name == "asymmetric_detached"
    return asymmetric(gammas.gamma_positive, gammas.gamma_negative, gammas.shift, detached)


def multi_task(label_loss: Callable) -> Callable:
    """Returns one loss of labels and quantity: labels [B, C] and outputs [B, 2 C + 2 + 4] -> [B].

    The outputs come from `models.joint_network`. Each loss L with a log-variance s counts as
    exp(-s) L + s / 2, a squared error with half its L: the uncertainty weighting of Kendall, Gal and Cipolla
    (Multi-Task Learning Using Uncertainty to Weigh Losses, CVPR 2018, eq. 7-10), s being trained too.
    """

    def loss(labels, outputs):
        classes = labels.shape[1]
        s = outputs[:, 2 * classes + 2 :]
        counts = ops.sum(ops.cast(labels, outputs.dtype), axis=1)
        total = 0.0
        for head, start in enumerate((0, classes + 1)):
            logits, raw = outputs[:, start : start + classes], outputs[:, start + classes, None]
            own = (label_loss(labels, logits), squared_error(counts, raw) / 2)
            for value, log_variance in zip(own, (s[:, 2 * head], s[:, 2 * head + 1]), strict=True):
                total = total + ops.exp(-log_variance) * value + log_variance / 2
        return total

    return loss


def squared_error(counts, raw):
    """Returns eq. 5: true quantities [B] or [B, 1] and raw [B, 1], float32 -> [B], in labels squared."""
    return ops.sum(ops.square(raw - ops.cast(ops.reshape(counts, (-1, 1)), raw.dtype)), axis=-1)
