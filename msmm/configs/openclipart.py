"""OpenClipart with an ImageNet-pretrained EfficientNet-Lite0, whose trunk stays as it is.

Give the backbone file with --backbone=PATH. The learning rates are those of a data set of
one's own; the trunk is frozen because the set is small (and two cores are slow).
"""

import dataclasses

from msmm.configs import custom
from msmm.configs.base import setting


@dataclasses.dataclass(frozen=True)
class Config(custom.Config):
    backbone_taps: tuple = setting(
        (
            "stage1_block1_project_bn",
            "stage2_block2_add",
            "stage3_block2_add",
            "stage5_block3_add",
            "head_relu6",
        ),
        "the block outputs of EfficientNet-Lite0 at strides 2 to 32",
    )
    finetune_trunk: bool = setting(False, "only the head: 2,741 images are few for a trunk")
    bn_momentum: float = setting(0.9997, "share kept a step; IV-A3")
    bn_batches: int = setting(30, "decision 8; the set has 77 batches")
    finetune_learning_rate: float = setting(0.01, "a step; a linear head, chosen on held-out images")
    visual_learning_rate: float = setting(0.003, "a step; chosen on held-out images")
    classifier_learning_rate: float = setting(0.003, "a step; chosen on held-out images")
    finetune_epochs: int = setting(60, "at most; the head alone is cheap")
    visual_epochs: int = setting(12, "at most; the held-out loss is lowest before")
    classifier_epochs: int = setting(60, "at most; cheap")
    quantity_epochs: int = setting(80, "at most; cheap")
    patience: int = setting(10, "epochs; held-out figures of so few images are noisy")
    logistic_learning_rate: float = setting(0.003, "a step of Adam; chosen on held-out images")
    logistic_epochs: int = setting(60, "at most; cheap")
    softmax_learning_rate: float = setting(0.03, "a step; a linear head, chosen on held-out images")
    softmax_epochs: int = setting(60, "at most; the head alone is cheap")
    warp_learning_rate: float = setting(0.01, "a step; a linear head, chosen on held-out images")
    warp_epochs: int = setting(60, "at most; the head alone is cheap")
    cnn_rnn_epochs: int = setting(60, "at most; 12 steps each")
    ria_epochs: int = setting(30, "at most; 12 steps each")
    tag_neighbour_learning_rate: float = setting(1e-3, "a step of RMSProp; chosen on held-out images")
    tag_neighbour_epochs: int = setting(40, "at most; 23 steps each")
    sinn_epochs: int = setting(40, "at most; 30 steps each")
    sr_cnn_rnn_epochs: int = setting(60, "at most; 12 steps each")
