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
    finetune_epochs: int = setting(30, "at most; the head alone is cheap")
