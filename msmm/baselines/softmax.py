"""CNN+softmax: Gong, Jia, Leung, Toshev, Ioffe, "Deep Convolutional Ranking for Multilabel Image Annotation".

p = softmax(W f + b) is trained towards equal shares of the labels, ȳ_c = y_c / Σ y:

    J = -Σ_c ȳ_c log p_c,    the three best p are the annotation

The loss is the method, so the trunk is trained by it, from the ImageNet weights, with the schedule of
stage finetune. The published rows come from an AlexNet-like network of the source. The row on NUS-WIDE was
measured on another test set: I-P/I-R gives 2.41 labels per image, the paper's own rows 2.55. Precision and
recall of the row on MSCOCO are probably exchanged.

2,048 C + C parameters beside ResNet-101's.
"""

from keras import ops

from msmm.baselines.baseline import Baseline


class Softmax(Baseline):
    title = "CNN+softmax [39]"
    trunk = "own"
    batch_size = 32

    def loss(self, targets, outputs):
        return softmax_cross_entropy(targets, outputs)


def softmax_cross_entropy(labels, logits):
    """Returns J of labels [B, C] in {0, 1} and logits [B, C] -> [B] (nats); 0 for an image without labels."""
    labels = ops.cast(labels, logits.dtype)
    shares = labels / ops.maximum(ops.sum(labels, axis=-1, keepdims=True), 1)
    return -ops.sum(shares * ops.log_softmax(logits, axis=-1), axis=-1)
