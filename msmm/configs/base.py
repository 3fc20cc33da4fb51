"""Every setting of a run, with its unit, its default and where the default comes from.

The defaults are the paper's for NUS-WIDE. A data set's file changes some of them; the
command line may change any (`--visual_epochs=3`). "Decision N" is in WORKSPACE.md.
"""

import dataclasses

from msmm.configs.baselines import Baselines, setting
from msmm.core.errors import UserError


@dataclasses.dataclass(frozen=True)
class Config(Baselines):
    backbone: str = setting(
        "resnet101",
        "a network of keras.applications, resnet-D-D-D-D-wW (depths, width), keras_hub:PRESET or a saved "
        ".keras file; section III-A",
    )
    weights: str = setting("imagenet", "imagenet, none or a weights file for the backbone; IV-A3")
    backbone_taps: tuple = setting((), "names of the five layers that end the scales; empty: found by stride")
    preprocessing: str = setting("auto", "auto, caffe, torch, tf or none; decision 10")
    image_size: int = setting(224, "side of the square input, pixels; IV-A3")
    flip: bool = setting(True, "mirror training images at random; decision 11")
    textual_units: int = setting(0, "units a layer of the textual MLP; 0: as many as f_v has (III-B)")
    groups: bool = setting(False, "a third branch, of the data set's groups; beyond the paper")
    textual_dropout: float = setting(0.0, "share of the textual MLP's hidden units dropped; decision 18")

    precision: str = setting(
        "float32", "float32, bfloat16 or float16: what trunk and fusion compute in; the rest is float32"
    )
    recompute: bool = setting(
        False, "finetune, joint: keep less for the gradients and compute it again: less memory, more time"
    )
    batch_size: int = setting(32, "images; decision 1")
    momentum: float = setting(0.9, "of SGD, share kept a step; IV-A3")
    weight_decay: float = setting(1e-4, "L2 on kernels, gradient share a step; decision 7")
    bn_momentum: float = setting(0.9997, "decay of batch normalisation's averages, share kept a step; IV-A3")
    bn_batches: int = setting(
        500, "batches over which the fusion blocks' BN statistics are taken anew; 0: never; decision 8"
    )
    finetune_trunk: bool = setting(
        True, "train the whole backbone in stage finetune, or only its head; III-D"
    )
    held_out: int = setting(5000, "training images kept for selection, at most a tenth; decision 25")
    patience: int = setting(5, "epochs without a better held-out value before a stage stops; decision 3")
    k: int = setting(3, "labels an image where quantity is not predicted; decision 24")

    asymmetric_loss: bool = setting(False, "train stage classifier by it (Ridnik et al.) instead of eq. 4")
    asymmetric_gamma_positive: float = setting(0.0, "focus on hard labels that are there; its source")
    asymmetric_gamma_negative: float = setting(4.0, "focus on hard labels that are not there; its source")
    asymmetric_shift: float = setting(
        0.05, "probability below which an absent label costs nothing; its source"
    )

    finetune_learning_rate: float = setting(1e-3, "a step; IV-A3, NUS-WIDE")
    visual_learning_rate: float = setting(1e-3, "a step; IV-A3, NUS-WIDE")
    textual_learning_rate: float = setting(0.1, "a step; IV-A3, NUS-WIDE")
    classifier_learning_rate: float = setting(1e-3, "a step; IV-A3, NUS-WIDE")
    quantity_learning_rate: float = setting(0.1, "a step; IV-A3, NUS-WIDE (diverges: see decision 5)")
    joint_learning_rate: float = setting(
        1e-3, "the first step of AdamW's; beyond the paper, as all of joint_"
    )
    joint_epochs: int = setting(28, "at most, passes over the images; as finetune and visual together")
    joint_dropout: float = setting(0.3, "share of f_v and f_t that its heads do not see in training")
    joint_ema: float = setting(
        0.99, "decay of the mean of its weights, share kept a step; 0: the last weights"
    )
    finetune_epochs: int = setting(8, "at most, passes over the images; decision 3")
    visual_epochs: int = setting(20, "at most; decision 3")
    textual_epochs: int = setting(20, "at most; decision 3")
    classifier_epochs: int = setting(30, "at most; decision 3")
    quantity_epochs: int = setting(30, "at most; decision 3")

    image_cache_gib: float = setting(4.0, "memory for decoded training images, GiB")
    maps_cache_gib: float = setting(
        8.0, "disk for the frozen trunk's maps, GiB; above it they are recomputed"
    )

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value not in _CHOICES.get(field.name, (value,)):
                raise UserError(
                    f"expected {field.name} of {', '.join(_CHOICES[field.name])}. Received: {value!r}"
                )
            if field.name in _AT_LEAST and value < _AT_LEAST[field.name]:
                raise UserError(f"expected {field.name} >= {_AT_LEAST[field.name]}. Received: {value}")
            if field.name in _SHARES and not 0 <= value < 1:
                raise UserError(f"expected {field.name} in [0, 1). Received: {value}")
            if field.name.endswith("_learning_rate") and not value > 0:
                raise UserError(f"expected {field.name} > 0. Received: {value}")


_AT_LEAST = {
    name: low
    for low, names in {
        0: "textual_units weight_decay bn_batches image_cache_gib maps_cache_gib "
        "asymmetric_gamma_positive asymmetric_gamma_negative",
        1: "batch_size patience k held_out "
        "finetune_epochs visual_epochs textual_epochs classifier_epochs quantity_epochs joint_epochs "
        "logistic_epochs softmax_epochs warp_epochs cnn_rnn_epochs cnn_rnn_beam ria_epochs ria_beam "
        "tag_neighbour_epochs sinn_epochs sr_cnn_rnn_epochs sr_cnn_rnn_beam",
        32: "image_size",
    }.items()
    for name in names.split()
}
_CHOICES = {
    "precision": ("float32", "bfloat16", "float16"),
    "cnn_rnn_order": ("frequent_first", "rare_first"),
    "ria_order": ("frequent_first", "rare_first"),
    "tag_neighbour_pool": ("all", "train"),
}
_SHARES = ("momentum", "bn_momentum", "textual_dropout", "asymmetric_shift", "joint_dropout", "joint_ema")
