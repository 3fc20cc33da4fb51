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
