"""CNN+logistic: C independent logistic regressions on the features of an ImageNet network.

The row of Tables III and IV is a baseline of Hu, Zhou, Deng, Liao, Mori, "Learning Structured Inference
Neural Networks with Label Relations":

    p = σ(W f + b),    L = Σ_c BCE(y_c, p_c) + (λ/2)‖W‖²,    the three best p are the annotation

The trunk keeps its ImageNet weights (otherwise the row would be the paper's own row "CNN"); without
pretrained weights, the trunk of stage finetune is used. f is standardised with mean and deviation of
the training images. W starts at 0: there is one optimum, and directions without data would keep a random
start (on OpenClipart that cost 7 points of held-out H-F1). The published NUS-WIDE row has an I-P/I-R that no
top-3 rule gives under eq. 6: its source probably averages per image, which raises I-R.
"""

import keras
import numpy as np

from msmm.baselines.baseline import Baseline

L2 = 1e-4  # λ


class Logistic(Baseline):
    title = "CNN+logistic [25]"
    trunk = "pretrained"
    batch_size = 256

    def build(self) -> keras.Model:
        """2,048 C + C trained parameters on ResNet-101's features."""
        features = self.features("train")
        feature = keras.Input((self.feature_size,), name="feature")
        mean, variance = features.mean(0), np.maximum(features.var(0), 1e-8)
        standard = keras.layers.Normalization(mean=mean, variance=variance, name="standardised")(feature)
        weights = keras.regularizers.L2(L2 / 2)
        logits = keras.layers.Dense(
            self.num_classes, kernel_initializer="zeros", kernel_regularizer=weights, name="logits"
        )
        return keras.Model(feature, logits(standard))
