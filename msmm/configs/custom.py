"""A data set of one's own: the paper's settings with learning rates that neither diverge nor stall.

The paper's two data sets differ by a factor of 1,000 in the rates of the MLP and the
regressor; 0.1 trains the MLP and 0.001 the regressor on every set that we tried (decision 5).
"""

import dataclasses

from msmm.configs import base
from msmm.configs.base import setting


@dataclasses.dataclass(frozen=True)
class Config(base.Config):
    bn_momentum: float = setting(
        0.99, "share kept a step; 0.9997 would leave the trunk's averages behind on a small set"
    )
    quantity_learning_rate: float = setting(1e-3, "a step; decision 5")
