"""Every setting of a run, with its unit, its default and the source of the default.

The defaults are the paper's for NUS-WIDE. The file of a data set changes some of them; the
command line may change any (`--visual_epochs=3`). "Decision N" is in docs/research/decisions.md.
"""

import dataclasses

from msmm.configs.baselines import Training, loss_setting
from msmm.configs.modern import ModernHeads
from msmm.configs.settings import Settings, flat_settings, fraction, group, setting


@dataclasses.dataclass(frozen=True)
class Finetune(Training):
    """Stage finetune: the backbone, or its head alone (Algorithm 1, line 1)."""

    trunk: bool = setting(True, "train the whole backbone in stage finetune, or only its head; III-D")
    learning_rate: float = setting(1e-3, "per step; IV-A3, NUS-WIDE")
    epochs: int = setting(8, "at most, passes over the images; decision 3")
    loss: str = loss_setting()
    # Beyond the paper: the defaults are the paper's.
    optimizer: str = setting(
        "momentum",
        "momentum (IV-A3), or adamw with cosine decay to 0; for the whole backbone",
        choices=("momentum", "adamw"),
    )
    ema: float = fraction(
        0.0, "decay of the moving average of the weights, share kept per step; 0: the last weights"
    )
    crop: float = setting(
        1.0, "smallest share of an image's area that a random crop keeps; 1: whole images", above=0, at_most=1
    )
    randaugment: int = setting(
        0, "strength of RandAugment on training images, 0 (none) to 10", at_least=0, at_most=10
    )
    cutout: float = fraction(
        0.0, "side of a grey square that hides a part, share of the image's side; 0: none"
    )
    sizes: tuple = setting(
        (), "image sizes of the first passes, pixels, multiples of 32; image_size after them"
    )
    head_epochs: int = setting(
        0, "passes of the head alone on the frozen trunk's features, before the trunk trains", at_least=0
    )
    frozen_maps: int = setting(
        0,
        "how many of the maps M_1 … M_4 stay as pretrained; the layers after them train",
        at_least=0,
        at_most=4,
    )


@dataclasses.dataclass(frozen=True)
class Visual(Training):
    """Stage visual: the fusion blocks (Algorithm 1, lines 2-3)."""

    learning_rate: float = setting(1e-3, "per step; IV-A3, NUS-WIDE")
    epochs: int = setting(20, "at most; decision 3")
    fusion: str = setting(
        "multi_scale",
        "multi_scale (eq. 2-3), or a control beyond the paper: last_map (as many parameters, M_5 alone), "
        "pooled (the averages of the five maps)",
        choices=("multi_scale", "last_map", "pooled"),
    )
    loss: str = loss_setting()


@dataclasses.dataclass(frozen=True)
class Textual(Training):
    """Stage textual: the MLP of tags (Algorithm 1, line 4); stage groups has the same settings."""

    units: int = setting(
        0, "units of each layer of the textual MLP; 0: as many as f_v has (III-B)", at_least=0
    )
    dropout: float = fraction(0.0, "share of the textual MLP's hidden units dropped; decision 18")
    learning_rate: float = setting(0.1, "per step; IV-A3, NUS-WIDE")
    epochs: int = setting(20, "at most; decision 3")


@dataclasses.dataclass(frozen=True)
class Classifier(Training):
    """Stage classifier (Algorithm 1, line 5)."""

    learning_rate: float = setting(1e-3, "per step; IV-A3, NUS-WIDE")
    epochs: int = setting(30, "at most; decision 3")
    loss: str = loss_setting()


@dataclasses.dataclass(frozen=True)
class Quantity(Training):
    """Stages quantity and quantity_visual: the regressors (Algorithm 1, line 5)."""

    learning_rate: float = setting(0.1, "per step; IV-A3, NUS-WIDE (diverges: see decision 5)")
    epochs: int = setting(30, "at most; decision 3")


@dataclasses.dataclass(frozen=True)
class Joint(Training):
    """Stage joint: all parts at once, beyond the paper."""

    learning_rate: float = setting(1e-3, "AdamW's first step; beyond the paper, as all of joint_")
    epochs: int = setting(28, "at most, passes over the images; as finetune and visual together")
    loss: str = loss_setting()
    dropout: float = fraction(0.3, "share of f_v and f_t that its heads do not see in training")
    ema: float = fraction(
        0.99, "decay of the moving average of its weights, share kept per step; 0: the last weights"
    )


@dataclasses.dataclass(frozen=True)
class Asymmetric(Settings):
    """The asymmetric loss of Ridnik et al., of the stages whose `loss` names it."""

    gamma_positive: float = setting(0.0, "focus on hard positive labels; its source", at_least=0)
    gamma_negative: float = setting(4.0, "focus on hard negative labels; its source", at_least=0)
    shift: float = fraction(0.05, "probability below which a negative label costs nothing; its source")


@dataclasses.dataclass(frozen=True)
class Config(ModernHeads):
    """All settings of a run; the defaults are the paper's for NUS-WIDE."""

    backbone: str = setting(
        "resnet101",
        "a network of keras.applications, photos (the package's), resnet-D-D-D-D-wW (depths, width), "
        "keras_hub:PRESET or a saved .keras file; section III-A",
    )
    weights: str = setting("imagenet", "imagenet, none or a weights file for the backbone; IV-A3")
    backbone_taps: tuple = setting((), "names of the five layers that end the scales; empty: found by stride")
    preprocessing: str = setting("auto", "auto, caffe, torch, tf or none; decision 10")
    image_size: int = setting(224, "side of the square input, pixels; IV-A3", at_least=32)
    flip: bool = setting(True, "mirror training images at random; decision 11")
    groups: bool = setting(False, "a third branch, of the data set's groups; beyond the paper")

    precision: str = setting(
        "float32",
        "float32, bfloat16 or float16: what trunk and fusion compute in; the rest is float32",
        choices=("float32", "bfloat16", "float16"),
    )
    recompute: bool = setting(
        False, "finetune, joint: recompute activations for the gradients: less memory, more time"
    )
    batch_size: int = setting(32, "images; decision 1", at_least=1)
    momentum: float = fraction(0.9, "of SGD, share kept per step; IV-A3")
    weight_decay: float = setting(1e-4, "L2 on kernels, gradient share per step; decision 7", at_least=0)
    bn_momentum: float = fraction(
        0.9997, "decay of batch normalisation's averages, share kept per step; IV-A3"
    )
    bn_batches: int = setting(
        500,
        "batches over which the fusion blocks' BN statistics are estimated again; 0: never; decision 8",
        at_least=0,
    )
    held_out: int = setting(
        5000, "training images kept for selection, at most a tenth; decision 25", at_least=1
    )
    selection: str = setting(
        "map",
        "held-out figure that chooses the kept epoch of a classifier: loss, map or h_f1; decision 25",
        choices=("loss", "map", "h_f1"),
    )
    patience: int = setting(
        5,
        "epochs without a better held-out value before a stage stops, once its rate dropped; decision 3",
        at_least=1,
    )
    head_schedule: str = setting(
        "step",
        "when the rate of heads on fixed features drops: step (at two thirds of the epochs) or plateau "
        "(after `patience` epochs, if earlier); decision 4",
        choices=("step", "plateau"),
    )
    k: int = setting(3, "labels per image where quantity is not predicted; decision 24", at_least=1)
    bias_init: str = setting(
        "zeros",
        "zeros or log_odds (of the labels that train): where biases of label classifiers start; decision 36",
        choices=("zeros", "log_odds"),
    )
    image_cache_gib: float = setting(4.0, "memory for decoded training images, GiB", at_least=0)
    maps_cache_gib: float = setting(
        8.0, "disk for the frozen trunk's maps, GiB; above it they are recomputed", at_least=0
    )

    finetune: Finetune = group(Finetune)
    visual: Visual = group(Visual)
    textual: Textual = group(Textual)
    classifier: Classifier = group(Classifier)
    quantity: Quantity = group(Quantity)
    joint: Joint = group(Joint)
    asymmetric: Asymmetric = group(Asymmetric)

    def __post_init__(self):
        for flat_setting in flat_settings(self).values():
            flat_setting.check(flat_setting.value(self))
