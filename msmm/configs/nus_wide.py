"""NUS-WIDE: the paper's settings (section IV-A3), which are the defaults of `base`."""

import dataclasses

from msmm.configs import base


@dataclasses.dataclass(frozen=True)
class Config(base.Config):
    """NUS-WIDE: the paper's settings."""
