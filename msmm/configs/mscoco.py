"""MSCOCO: the paper's settings (section IV-A3)."""

import dataclasses

from msmm.configs import base
from msmm.configs.base import setting


@dataclasses.dataclass(frozen=True)
class Config(base.Config):
    finetune_learning_rate: float = setting(2e-3, "a step; IV-A3, MSCOCO")
    visual_learning_rate: float = setting(2e-3, "a step; IV-A3, MSCOCO")
    textual_learning_rate: float = setting(1e-4, "a step; IV-A3, MSCOCO (barely trains: see decision 5)")
    classifier_learning_rate: float = setting(2e-3, "a step; IV-A3, MSCOCO")
    quantity_learning_rate: float = setting(1e-4, "a step; IV-A3, MSCOCO")
