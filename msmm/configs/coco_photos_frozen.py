"""The same photographs of MSCOCO, on a frozen trunk: heads, fusion blocks and MLP alone train.

Give the backbone file with --backbone=PATH. All stages of one seed take about half an hour on two cores.
"""

import dataclasses

from msmm.configs import base, baselines, coco_photos
from msmm.configs.settings import setting, with_defaults


@dataclasses.dataclass(frozen=True)
class Config(coco_photos.Config):
    """Photographs of MSCOCO: a frozen EfficientNet-Lite0."""

    flip: bool = setting(
        False, "mirror half of the training images; mirrored maps would double the disk space"
    )
    finetune: base.Finetune = with_defaults(
        trunk=(False, "only the head"),
        optimizer=("momentum", "the paper's; IV-A3"),
        ema=(0.0, "share kept per step"),
        crop=(1.0, "smallest share of the area"),
        sizes=((), "pixels; all passes at image_size"),
        head_epochs=(0, "the head trains alone in any case"),
        learning_rate=(0.01, "per step; chosen on held-out images"),
        epochs=(12, "at most; 703 steps each"),
    )
    visual: base.Visual = with_defaults(
        learning_rate=(0.003, "per step; chosen on held-out images"), epochs=(3, "at most; 703 steps each")
    )
    textual: base.Textual = with_defaults(
        learning_rate=(0.03, "per step; chosen on held-out images"), epochs=(12, "at most; 703 steps each")
    )
    softmax: baselines.Softmax = with_defaults(epochs=(12, "at most; 703 steps each"))
    warp: baselines.Warp = with_defaults(epochs=(12, "at most; 703 steps each"))
    cnn_rnn: baselines.CnnRnn = with_defaults(epochs=(30, "at most; 175 steps each"))
    ria: baselines.Ria = with_defaults(epochs=(8, "at most; 175 steps each"))
    tag_neighbour: baselines.TagNeighbour = with_defaults(epochs=(10, "at most; 351 steps each"))
    sr_cnn_rnn: baselines.SrCnnRnn = with_defaults(epochs=(12, "at most; 175 steps each"))
