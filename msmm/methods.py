"""The compared methods by name, in the order of Table III from its last row up."""

from msmm.baselines.logistic import Logistic
from msmm.baselines.method import Method
from msmm.baselines.sinn import Sinn
from msmm.baselines.softmax import Softmax
from msmm.baselines.tag_neighbour import TagNeighbour
from msmm.baselines.warp import Warp

METHODS: dict[str, type[Method]] = {
    "logistic": Logistic,
    "softmax": Softmax,
    "warp": Warp,
    "tag_neighbour": TagNeighbour,
    "sinn": Sinn,
}
