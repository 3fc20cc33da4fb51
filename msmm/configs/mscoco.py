"""MSCOCO: the paper's settings (section IV-A3)."""

import dataclasses

from msmm.configs import base
from msmm.configs.settings import with_defaults


@dataclasses.dataclass(frozen=True)
class Config(base.Config):
    """MSCOCO: the paper's settings."""

    finetune: base.Finetune = with_defaults(learning_rate=(2e-3, "per step; IV-A3, MSCOCO"))
    visual: base.Visual = with_defaults(learning_rate=(2e-3, "per step; IV-A3, MSCOCO"))
    textual: base.Textual = with_defaults(
        learning_rate=(1e-4, "per step; IV-A3, MSCOCO (barely trains: see decision 5)")
    )
    classifier: base.Classifier = with_defaults(learning_rate=(2e-3, "per step; IV-A3, MSCOCO"))
    quantity: base.Quantity = with_defaults(learning_rate=(1e-4, "per step; IV-A3, MSCOCO"))
