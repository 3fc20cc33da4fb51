"""The registry of modern heads, which read maps of a trunk, and their settings.

They came after the paper, and have a table of their own (`experiments.modern_table`). Each line of the
registry is two methods: NAME, and NAME+tags, which reads tags too.
"""

import dataclasses
from typing import Any

from msmm.configs.baselines import Baselines, Training, loss_setting
from msmm.configs.settings import Settings, fraction, group, setting

WITH_TAGS = "+tags"


@dataclasses.dataclass(frozen=True)
class Head(Training):
    """The settings that every modern head has."""

    learning_rate: float = setting(3e-4, "a step; the field has 1e-4 to 3e-4", above=0)
    epochs: int = setting(20, "at most; our choice", at_least=1)
    loss: str = loss_setting()
    trunk: str = setting(
        "frozen",
        "frozen (maps of the trunk of stage finetune), or trained: one of its own, from the pretrained "
        "weights, on images changed by flip, finetune_crop, finetune_randaugment and finetune_cutout",
        choices=("frozen", "trained"),
    )
    optimizer: str = setting(
        "adamw",
        "adamw with cosine decay to 0, as the field, or adam with a drop at two thirds, as other heads",
        choices=("adamw", "adam"),
    )
    ema: float = fraction(
        0.99, "decay of the moving average of the weights, share kept a step; 0: the last weights; our choice"
    )


@dataclasses.dataclass(frozen=True)
class Csra(Head):
    """The settings of CSRA."""

    learning_rate: float = setting(1e-3, "a step; our choice")
    heads: int = setting(1, "attention heads; its source", choices=(1, 2, 4, 6, 8))
    weight: float = setting(0.1, "λ, of attention; its source has 0.1 to 0.5 by data set", at_least=0)


@dataclasses.dataclass(frozen=True)
class MlDecoder(Head):
    """The settings of ML-Decoder."""

    queries: int = setting(
        100, "queries at most, each of a group of classes; its source. Fewer cost less", at_least=1
    )


@dataclasses.dataclass(frozen=True)
class Query2Label(Head):
    """The settings of Query2Label."""

    width: int = setting(
        256, "units of each token, a multiple of 4; its source has 2,048", at_least=4, multiple_of=4
    )
    hidden: int = setting(1024, "units of each feed-forward layer; its source has 8,192", at_least=1)


# Heads that a CPU trains in minutes, for `with_defaults`.
SMALL_ML_DECODER = {"queries": (20, "each of a group of classes; half the time of a query per class of 80")}
SMALL_QUERY2LABEL = {
    "width": (128, "units; a third of the time of 256"),
    "hidden": (512, "units; four times the width, as in the source"),
    "learning_rate": (1e-3, "a step; chosen on held-out photographs: 3e-4 is too slow for so few steps"),
}


def modern_head(settings: type[Settings], implementation: str) -> Any:
    """Returns the registry line of a modern head: its settings and its class as "module:Class"."""
    return group(settings, head=implementation)


@dataclasses.dataclass(frozen=True)
class ModernHeads(Baselines):
    """The registry: one line for each head, in the order of its table."""

    csra: Csra = modern_head(Csra, "msmm.baselines.csra:Csra")
    ml_decoder: MlDecoder = modern_head(MlDecoder, "msmm.baselines.ml_decoder:MlDecoder")
    query2label: Query2Label = modern_head(Query2Label, "msmm.baselines.query2label:Query2Label")


def head_implementations(config: Any = ModernHeads) -> dict[str, str]:
    """Returns head -> "module:Class" of the registry of a `Config` (class or instance)."""
    return {
        field.name: field.metadata["head"] for field in dataclasses.fields(config) if "head" in field.metadata
    }


def head_methods(config: Any = ModernHeads) -> tuple[str, ...]:
    """Returns the methods of every head, without tags and with them."""
    return tuple(name + tags for name in head_implementations(config) for tags in ("", WITH_TAGS))


def group_of_method(method: str) -> str:
    """Returns the group of settings of a compared method, which a head with tags shares with the head."""
    return method.removesuffix(WITH_TAGS)
