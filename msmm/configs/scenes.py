"""The drawn data set: small enough for a few minutes on two cores.

A small ResNet from scratch on 64-pixel images replaces ResNet-101. The paper's additions to it (fusion
blocks, MLP, heads) are the same as for the paper's data.
"""

import dataclasses

from msmm.configs import base, baselines
from msmm.configs.settings import setting, with_defaults


@dataclasses.dataclass(frozen=True)
class Config(base.Config):
    """The drawn data set: a small ResNet from scratch."""

    backbone: str = setting("resnet-1-1-1-1-w16", "a small ResNet, so that the demo takes minutes")
    weights: str = setting("none", "trained from scratch: nothing to download")
    image_size: int = setting(64, "pixels; what the scenes are drawn at")
    bn_momentum: float = setting(0.99, "share kept per step; 0.9997 needs thousands of steps")
    bn_batches: int = setting(0, "unneeded at this bn_momentum")
    finetune: base.Finetune = with_defaults(
        learning_rate=(0.01, "per step; from scratch, so more than a fine-tuning's"),
        epochs=(16, "at most; from scratch"),
    )
    visual: base.Visual = with_defaults(
        learning_rate=(0.003, "per step; new layers on a small trunk"), epochs=(10, "at most")
    )
    textual: base.Textual = with_defaults(
        learning_rate=(0.03, "per step; decision 5"), epochs=(15, "at most")
    )
    classifier: base.Classifier = with_defaults(epochs=(15, "at most"))
    quantity: base.Quantity = with_defaults(
        learning_rate=(1e-3, "per step; decision 5"), epochs=(20, "at most")
    )
    softmax: baselines.Softmax = with_defaults(
        learning_rate=(0.03, "per step; from scratch, chosen on held-out images"),
        epochs=(16, "at most; from scratch, as stage finetune"),
    )
    warp: baselines.Warp = with_defaults(
        learning_rate=(0.01, "per step; from scratch"),
        epochs=(16, "at most; from scratch, as stage finetune"),
    )
    cnn_rnn: baselines.CnnRnn = with_defaults(
        learning_rate=(1e-3, "per step of RMSProp; few steps per epoch"), epochs=(12, "at most")
    )
    ria: baselines.Ria = with_defaults(epochs=(6, "at most; its LSTM is the slowest of all methods"))
    tag_neighbour: baselines.TagNeighbour = with_defaults(
        learning_rate=(1e-3, "per step of RMSProp; chosen on held-out images"), epochs=(15, "at most")
    )
    sinn: baselines.Sinn = with_defaults(epochs=(15, "at most"))
    sr_cnn_rnn: baselines.SrCnnRnn = with_defaults(epochs=(15, "at most"))
