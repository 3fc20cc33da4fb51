"""A user's own data set: the paper's settings with learning rates that neither diverge nor stall.

The paper's two data sets differ by a factor of 1,000 in the rates of the MLP and the regressor. A rate of 0.1
trains the MLP and 0.001 the regressor on every data set that was tried (decision 5).
"""

import dataclasses

from msmm.configs import base
from msmm.configs.settings import changed, setting


@dataclasses.dataclass(frozen=True)
class Config(base.Config):
    """A user's own data set: the paper's settings, with rates and averages that suit small sets."""

    bn_momentum: float = setting(
        0.99, "share kept per step; 0.9997 would leave the trunk's averages behind on a small set"
    )
    quantity: base.Quantity = changed(learning_rate=(1e-3, "per step; decision 5"))
