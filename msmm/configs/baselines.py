"""The registry of baselines (the compared methods of Tables III and IV) and their settings.

Learning rates and epochs come from the methods' sources; where a source gives none, they are choices of this
project.
"""

import dataclasses
from typing import Any

from msmm.configs.settings import Settings, group, setting

ORDERS = ("frequent_first", "rare_first")


@dataclasses.dataclass(frozen=True)
class Training(Settings):
    """The settings that every stage and baseline has for its training."""

    learning_rate: float = setting(1e-3, "per step", above=0)
    epochs: int = setting(8, "at most", at_least=1)


@dataclasses.dataclass(frozen=True)
class Logistic(Settings):
    """CNN+logistic. It is fitted to its optimum, so it has neither a learning rate nor epochs."""

    l2_largest: float = setting(
        1.0, "λ on standardised features; first of the grid in half decades; our choice", above=0
    )
    l2_smallest: float = setting(1e-6, "λ on standardised features; last of the grid; our choice", above=0)
    iterations: int = setting(1000, "of L-BFGS for one λ, at most; our choice", at_least=1)


@dataclasses.dataclass(frozen=True)
class Softmax(Training):
    """CNN+softmax."""

    learning_rate: float = setting(1e-2, "per step; this loss is about 1/C of eq. 4's size")
    epochs: int = setting(8, "at most; as stage finetune")


@dataclasses.dataclass(frozen=True)
class Warp(Training):
    """CNN+WARP."""

    learning_rate: float = setting(1e-3, "per step; our choice")
    epochs: int = setting(8, "at most; as stage finetune")
    exact: bool = setting(False, "count all violators of the margin instead of sampling until one is found")


@dataclasses.dataclass(frozen=True)
class CnnRnn(Training):
    """CNN-RNN."""

    learning_rate: float = setting(1e-4, "per step of RMSProp; its source, from memory")
    epochs: int = setting(50, "at most; our choice")
    order: str = setting("frequent_first", "frequent_first or rare_first; its section 3.4", choices=ORDERS)
    beam: int = setting(5, "paths of the beam search; our choice", at_least=1)
    free_length: bool = setting(
        False, "stop at END, not at k labels; its MSCOCO row does, its NUS-WIDE row does not"
    )


@dataclasses.dataclass(frozen=True)
class Ria(Training):
    """RIA."""

    learning_rate: float = setting(1e-3, "per step of Adam; its author's code")
    epochs: int = setting(50, "at most; our choice")
    order: str = setting("rare_first", "frequent_first or rare_first; its best order", choices=ORDERS)
    beam: int = setting(1, "paths of the beam search; 1 is greedy, as its author's code", at_least=1)


@dataclasses.dataclass(frozen=True)
class TagNeighbour(Training):
    """TagNeighbour."""

    learning_rate: float = setting(1e-4, "per step of RMSProp; its re-implementation")
    epochs: int = setting(10, "at most; its re-implementation")
    pool: str = setting(
        "all",
        "images that may be neighbours: all (that train or test, as its source) or train",
        choices=("all", "train"),
    )
    own_tags: bool = setting(True, "join the image's own tag vector to its feature")


@dataclasses.dataclass(frozen=True)
class Sinn(Training):
    """SINN."""

    learning_rate: float = setting(1e-2, "per step; our choice")
    epochs: int = setting(20, "at most; our choice")
    dense: bool = setting(False, "BINN: every label related to every other, no masks")


@dataclasses.dataclass(frozen=True)
class SrCnnRnn(Training):
    """SR-CNN-RNN."""

    learning_rate: float = setting(1e-3, "per step of Adam on fixed features; our choice")
    epochs: int = setting(50, "at most; our choice")
    tags: bool = setting(True, "observe filtered tags too; off: image only")
    beam: int = setting(1, "paths of the beam search; 1 is greedy", at_least=1)


def baseline(settings: type[Settings], implementation: str) -> Any:
    """Returns the registry line of a baseline: its settings and its class as "module:Class"."""
    return group(settings, implementation=implementation)


@dataclasses.dataclass(frozen=True)
class Baselines(Settings):
    """The registry: one line for each baseline, in the order of Table III from its last row up."""

    logistic: Logistic = baseline(Logistic, "msmm.baselines.logistic:Logistic")
    softmax: Softmax = baseline(Softmax, "msmm.baselines.softmax:Softmax")
    warp: Warp = baseline(Warp, "msmm.baselines.warp:Warp")
    cnn_rnn: CnnRnn = baseline(CnnRnn, "msmm.baselines.cnn_rnn:CnnRnn")
    ria: Ria = baseline(Ria, "msmm.baselines.ria:Ria")
    tag_neighbour: TagNeighbour = baseline(TagNeighbour, "msmm.baselines.tag_neighbour:TagNeighbour")
    sinn: Sinn = baseline(Sinn, "msmm.baselines.sinn:Sinn")
    sr_cnn_rnn: SrCnnRnn = baseline(SrCnnRnn, "msmm.baselines.sr_cnn_rnn:SrCnnRnn")


def baseline_implementations(config: Any = Baselines) -> dict[str, str]:
    """Returns baseline -> "module:Class" of the registry of a `Config` (class or instance)."""
    return {
        field.name: field.metadata["implementation"]
        for field in dataclasses.fields(config)
        if "implementation" in field.metadata
    }
