"""The settings of the compared methods; each begins with the method's name in `methods.METHODS`.

Learning rates and epochs are those of the methods' sources or, where these are silent, ours.
"""

import dataclasses


def setting(default, help: str):
    """A field with its unit and source."""
    return dataclasses.field(default=default, metadata={"help": help})


@dataclasses.dataclass(frozen=True)
class Baselines:
    logistic_learning_rate: float = setting(1e-3, "a step of Adam; our choice")
    logistic_epochs: int = setting(30, "at most; our choice")
    softmax_learning_rate: float = setting(1e-2, "a step; this loss is about 1/C of eq. 4's size")
    softmax_epochs: int = setting(8, "at most; as stage finetune")
    warp_learning_rate: float = setting(1e-3, "a step; our choice")
    warp_epochs: int = setting(8, "at most; as stage finetune")
    warp_exact: bool = setting(False, "count the violators of the margin instead of sampling until one")
    cnn_rnn_learning_rate: float = setting(1e-4, "a step of RMSProp; its source, from memory")
    cnn_rnn_epochs: int = setting(50, "at most; our choice")
    cnn_rnn_order: str = setting("frequent_first", "frequent_first or rare_first; its section 3.4")
    cnn_rnn_beam: int = setting(5, "paths of the beam search; our choice")
    cnn_rnn_free_length: bool = setting(
        False, "stop when it says so, not at k labels; its MSCOCO row does, its NUS-WIDE row does not"
    )
    ria_learning_rate: float = setting(1e-3, "a step of Adam; its author's code")
    ria_epochs: int = setting(50, "at most; our choice")
    ria_order: str = setting("rare_first", "frequent_first or rare_first; its best order")
    ria_beam: int = setting(1, "paths of the beam search; 1 is greedy, as its author's code")
    tag_neighbour_learning_rate: float = setting(1e-4, "a step of RMSProp; its re-implementation")
    tag_neighbour_epochs: int = setting(10, "at most; its re-implementation")
    tag_neighbour_pool: str = setting("all", "images that may be neighbours: all (as its source) or train")
    tag_neighbour_own_tags: bool = setting(True, "join the image's own tag vector to its feature")
    sinn_learning_rate: float = setting(1e-2, "a step; our choice")
    sinn_epochs: int = setting(20, "at most; our choice")
    sinn_dense: bool = setting(False, "BINN: every label related to every other, no masks")
    sr_cnn_rnn_learning_rate: float = setting(1e-3, "a step of Adam on fixed features; our choice")
    sr_cnn_rnn_epochs: int = setting(50, "at most; our choice")
    sr_cnn_rnn_tags: bool = setting(True, "observe filtered tags too; off: image only")
    sr_cnn_rnn_beam: int = setting(1, "paths of the beam search; 1 is greedy")
