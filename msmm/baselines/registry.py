"""The compared methods by name, in the order of Table III from its last row up."""

from msmm.baselines.cnn_rnn import CnnRnn
from msmm.baselines.logistic import Logistic
from msmm.baselines.method import Method
from msmm.baselines.ria import Ria
from msmm.baselines.sinn import Sinn
from msmm.baselines.softmax import Softmax
from msmm.baselines.sr_cnn_rnn import SrCnnRnn
from msmm.baselines.tag_neighbour import TagNeighbour
from msmm.baselines.warp import Warp

METHODS: dict[str, type[Method]] = {
    "logistic": Logistic,
    "softmax": Softmax,
    "warp": Warp,
    "cnn_rnn": CnnRnn,
    "ria": Ria,
    "tag_neighbour": TagNeighbour,
    "sinn": Sinn,
    "sr_cnn_rnn": SrCnnRnn,
}
