"""Photographs with an ImageNet-pretrained EfficientNet-Lite0, whose whole trunk is fine-tuned.

Give the backbone file with --backbone=PATH.
"""

import dataclasses

from msmm.configs import custom
from msmm.configs.settings import setting

EFFICIENTNET_LITE0_TAPS = (
    "stage1_block1_project_bn",
    "stage2_block2_add",
    "stage3_block2_add",
    "stage5_block3_add",
    "head_relu6",
)


@dataclasses.dataclass(frozen=True)
class Config(custom.Config):
    backbone_taps: tuple = setting(
        EFFICIENTNET_LITE0_TAPS, "the block outputs of EfficientNet-Lite0 at strides 2 to 32"
    )
    held_out: int = setting(2500, "images, a tenth; decision 25")
