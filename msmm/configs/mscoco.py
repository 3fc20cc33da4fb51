"""MSCOCO: the paper's settings (section IV-A3)."""

import dataclasses

from msmm.configs import base
from msmm.configs.settings import changed


@dataclasses.dataclass(frozen=True)
class Config(base.Config):
    """MSCOCO: the paper's settings."""

    finetune: base.Finetune = changed(learning_rate=(2e-3, "per step; IV-A3, MSCOCO"))
    visual: base.Visual = changed(learning_rate=(2e-3, "per step; IV-A3, MSCOCO"))
    textual: base.Textual = changed(
        learning_rate=(1e-4, "per step; IV-A3, MSCOCO (barely trains: see decision 5)")
    )
    classifier: base.Classifier = changed(learning_rate=(2e-3, "per step; IV-A3, MSCOCO"))
    quantity: base.Quantity = changed(learning_rate=(1e-4, "per step; IV-A3, MSCOCO"))
