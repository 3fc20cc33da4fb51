"""The drawn data set: small enough for a few minutes on two cores.

A small ResNet from scratch on 64-pixel images stands in for ResNet-101; everything that the
paper adds to it (fusion blocks, MLP, heads) is built as for the paper's data.
"""

import dataclasses

from msmm.configs import base
from msmm.configs.base import setting


@dataclasses.dataclass(frozen=True)
class Config(base.Config):
    backbone: str = setting("resnet-1-1-1-1-w16", "a small ResNet, so that the demo takes minutes")
    weights: str = setting("none", "trained from scratch: nothing to download")
    image_size: int = setting(64, "pixels; what the scenes are drawn at")
    bn_momentum: float = setting(0.99, "share kept a step; 0.9997 needs thousands of steps, the demo has few")
    bn_batches: int = setting(0, "unneeded at this bn_momentum")
    finetune_learning_rate: float = setting(0.01, "a step; from scratch, so more than a fine-tuning's")
    visual_learning_rate: float = setting(0.003, "a step; new layers on a small trunk")
    textual_learning_rate: float = setting(0.03, "a step; decision 5")
    classifier_learning_rate: float = setting(1e-3, "a step; IV-A3, NUS-WIDE")
    quantity_learning_rate: float = setting(1e-3, "a step; decision 5")
    finetune_epochs: int = setting(16, "at most; from scratch")
    visual_epochs: int = setting(10, "at most")
    textual_epochs: int = setting(15, "at most")
    classifier_epochs: int = setting(15, "at most")
    quantity_epochs: int = setting(20, "at most")
    logistic_learning_rate: float = setting(0.003, "a step of Adam; chosen on held-out images")
    softmax_learning_rate: float = setting(0.03, "a step; from scratch, chosen on held-out images")
    softmax_epochs: int = setting(16, "at most; from scratch, as stage finetune")
    warp_learning_rate: float = setting(0.01, "a step; from scratch")
    warp_epochs: int = setting(16, "at most; from scratch, as stage finetune")
    cnn_rnn_learning_rate: float = setting(1e-3, "a step of RMSProp; few steps an epoch")
    cnn_rnn_epochs: int = setting(12, "at most")
    ria_epochs: int = setting(6, "at most; its LSTM is the slowest of all methods")
    tag_neighbour_learning_rate: float = setting(1e-3, "a step of RMSProp; chosen on held-out images")
    tag_neighbour_epochs: int = setting(15, "at most")
    sinn_epochs: int = setting(15, "at most")
    sr_cnn_rnn_epochs: int = setting(15, "at most")
