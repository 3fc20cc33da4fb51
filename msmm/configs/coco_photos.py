"""A part of MSCOCO's photographs with an ImageNet-pretrained EfficientNet-Lite0, whose whole trunk trains.

Give the backbone file with --backbone=PATH. Line 1 of Algorithm 1 is followed by a recipe beyond the paper:
the head first, then all layers by AdamW with cosine decay, averaged weights, random crops, and smaller images
in the first two passes. Six passes over 22,500 photographs take about three quarters of an hour on two cores.
"""

import dataclasses

from msmm.configs import base, custom, modern
from msmm.configs.settings import setting, with_defaults

# The block outputs of EfficientNet-Lite0 at strides 2 to 32.
EFFICIENTNET_LITE0_TAPS = (
    "stage1_block1_project_bn",
    "stage2_block2_add",
    "stage3_block2_add",
    "stage5_block3_add",
    "head_relu6",
)


@dataclasses.dataclass(frozen=True)
class Config(custom.Config):
    """Photographs of MSCOCO: the whole EfficientNet-Lite0 trains, by a recipe beyond the paper."""

    backbone_taps: tuple = setting(
        EFFICIENTNET_LITE0_TAPS, "the block outputs of EfficientNet-Lite0 at strides 2 to 32"
    )
    held_out: int = setting(2500, "training images kept for selection, a tenth; decision 25")
    bn_batches: int = setting(100, "batches; decision 8")
    maps_cache_gib: float = setting(48.0, "disk for the frozen trunk's maps, GiB")
    finetune: base.Finetune = with_defaults(
        trunk=(True, "the whole backbone; Algorithm 1, line 1"),
        optimizer=("adamw", "beyond the paper; usual for fine-tuning"),
        learning_rate=(2e-4, "per step; usual for AdamW"),
        epochs=(6, "passes"),
        ema=(0.999, "share kept per step; usual"),
        crop=(0.5, "smallest share of the area"),
        sizes=(("160", "160"), "pixels; passes after the second at image_size"),
        head_epochs=(3, "passes"),
    )
    visual: base.Visual = with_defaults(
        learning_rate=(0.003, "per step; as on OpenClipart"), epochs=(3, "at most; 703 steps each")
    )
    textual: base.Textual = with_defaults(epochs=(12, "at most; 703 steps each"))
    classifier: base.Classifier = with_defaults(
        learning_rate=(0.003, "per step; as on OpenClipart"), epochs=(12, "at most; 703 steps each")
    )
    quantity: base.Quantity = with_defaults(epochs=(12, "at most; 703 steps each"))
    csra: modern.Csra = with_defaults(epochs=(12, "at most; 351 steps each"))
    ml_decoder: modern.MlDecoder = with_defaults(
        **modern.SMALL_ML_DECODER, epochs=(2, "at most; 351 steps each, 6 minutes of one core")
    )
    query2label: modern.Query2Label = with_defaults(
        **modern.SMALL_QUERY2LABEL, epochs=(3, "at most; 351 steps each, 3 minutes of one core")
    )
