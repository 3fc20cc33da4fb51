"""OpenClipart with an ImageNet-pretrained EfficientNet-Lite0, whose trunk stays frozen.

Give the backbone file with --backbone=PATH. The learning rates equal the rates of `custom`; the trunk is
frozen because the data set is small (and two cores are slow).
"""

import dataclasses

from msmm.configs import base, baselines, custom, modern
from msmm.configs.coco_photos import EFFICIENTNET_LITE0_TAPS
from msmm.configs.settings import setting, with_defaults


@dataclasses.dataclass(frozen=True)
class Config(custom.Config):
    """OpenClipart: heads, fusion and MLP train on a frozen EfficientNet-Lite0."""

    backbone_taps: tuple = setting(
        EFFICIENTNET_LITE0_TAPS, "the block outputs of EfficientNet-Lite0 at strides 2 to 32"
    )
    bn_momentum: float = setting(0.9997, "share kept per step; IV-A3")
    bn_batches: int = setting(30, "decision 8; the set has 77 batches")
    patience: int = setting(10, "epochs; held-out figures of so few images are noisy")
    finetune: base.Finetune = with_defaults(
        trunk=(False, "only the head: 2,741 images are few for a trunk"),
        learning_rate=(0.01, "per step; a linear head, chosen on held-out images"),
        epochs=(60, "at most; the head alone is cheap"),
    )
    visual: base.Visual = with_defaults(
        learning_rate=(0.003, "per step; chosen on held-out images"),
        epochs=(12, "at most; the held-out loss is lowest before"),
    )
    classifier: base.Classifier = with_defaults(
        learning_rate=(0.003, "per step; chosen on held-out images"), epochs=(60, "at most; cheap")
    )
    quantity: base.Quantity = with_defaults(epochs=(80, "at most; cheap"))
    softmax: baselines.Softmax = with_defaults(
        learning_rate=(0.03, "per step; a linear head, chosen on held-out images"),
        epochs=(60, "at most; the head alone is cheap"),
    )
    warp: baselines.Warp = with_defaults(
        learning_rate=(0.01, "per step; a linear head, chosen on held-out images"),
        epochs=(60, "at most; the head alone is cheap"),
    )
    cnn_rnn: baselines.CnnRnn = with_defaults(
        epochs=(150, "at most; 12 steps each; chosen on held-out images")
    )
    ria: baselines.Ria = with_defaults(epochs=(30, "at most; 12 steps each"))
    tag_neighbour: baselines.TagNeighbour = with_defaults(
        learning_rate=(1e-3, "per step of RMSProp; chosen on held-out images"),
        epochs=(40, "at most; 23 steps each"),
    )
    sinn: baselines.Sinn = with_defaults(epochs=(40, "at most; 30 steps each"))
    sr_cnn_rnn: baselines.SrCnnRnn = with_defaults(epochs=(60, "at most; 12 steps each"))
    csra: modern.Csra = with_defaults(learning_rate=(0.03, "a step; chosen on held-out images"))
    ml_decoder: modern.MlDecoder = with_defaults(
        **modern.SMALL_ML_DECODER,
        learning_rate=(1e-3, "a step; chosen on held-out images"),
        epochs=(10, "at most; 26 steps each"),
    )
    query2label: modern.Query2Label = with_defaults(**modern.SMALL_QUERY2LABEL)
