"""A user's own data set: the trunk of the package, frozen, and learning rates that neither diverge nor stall.

Nothing is downloaded, and two cores train on 2,000 photographs in minutes. The paper's network and line 1 of
Algorithm 1 are --backbone=resnet101 --finetune_trunk.

The paper's two data sets differ by a factor of 1,000 in the rates of the MLP and the regressor. A rate of 0.1
trains the MLP and 0.001 the regressor on every data set that was tried (decision 5).
"""

import dataclasses

from msmm.configs import base
from msmm.configs.settings import setting, with_defaults


@dataclasses.dataclass(frozen=True)
class Config(base.Config):
    """A user's own data set: heads, fusion and MLP train on the frozen trunk of the package."""

    backbone: str = setting(
        "photos",
        "photos (the package's EfficientNet-Lite0, fine-tuned on photographs), a network of "
        "keras.applications, resnet-D-D-D-D-wW (depths, width), keras_hub:PRESET or a saved .keras file; "
        "decision 40",
    )
    bn_momentum: float = setting(
        0.99, "share kept per step; 0.9997 would leave the trunk's averages behind on a small set"
    )
    finetune: base.Finetune = with_defaults(
        trunk=(False, "only the head: the package's trunk was fine-tuned on photographs"),
        learning_rate=(0.01, "per step; a linear head, chosen on held-out images of OpenClipart"),
        epochs=(30, "at most; the head alone is cheap"),
    )
    visual: base.Visual = with_defaults(
        learning_rate=(0.003, "per step; chosen on held-out images of OpenClipart"), epochs=(12, "at most")
    )
    classifier: base.Classifier = with_defaults(
        learning_rate=(0.003, "per step; chosen on held-out images of OpenClipart"),
        epochs=(60, "at most; cheap"),
    )
    quantity: base.Quantity = with_defaults(
        learning_rate=(1e-3, "per step; decision 5"), epochs=(60, "at most; cheap")
    )
