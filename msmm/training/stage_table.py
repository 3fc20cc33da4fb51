"""The table of stages: what each one trains, needs, minimises, and whose settings it has. No Keras here.

Everything that lists stages or parts reads `STAGES`. A baseline is a stage too, made by `baseline_stage`.
"""

import dataclasses
from collections.abc import Mapping

from msmm.configs.base import Config
from msmm.configs.modern import group_of_method

LABEL_SETTINGS = ("k", "selection")
IMAGE_SETTINGS = (
    "backbone", "weights", "backbone_taps", "preprocessing", "image_size", "flip", "bn_momentum",
    *LABEL_SETTINGS,
)  # fmt: skip
COMMON_SETTINGS = ("batch_size", "momentum", "weight_decay", "held_out", "patience")
# Settings that are recorded only if they differ from the default, so that a stage that finished before they
# existed still counts as finished.
COMMON_OPTIONS = ("precision", "head_schedule")
# Checksums of a backbone or weights file, which its name does not tell: recorded beside the settings.
FILE_HASHES = ("backbone_sha256", "weights_sha256")
# The values of stages that finished before these settings existed.
FORMER_SETTINGS = {"selection": "h_f1"}
ASYMMETRIC = ("asymmetric_gamma_positive", "asymmetric_gamma_negative", "asymmetric_shift")
CROSS_ENTROPY = "cross_entropy"  # eq. 4, whose stages do not depend on the settings of the other loss
AUGMENTATION = ("finetune_crop", "finetune_randaugment", "finetune_cutout")
BEYOND_FINETUNE = (
    "finetune_optimizer",
    "finetune_ema",
    *AUGMENTATION,
    "finetune_sizes",
    "finetune_head_epochs",
    "finetune_frozen_maps",
)
JOINT_SETTINGS = ("finetune_trunk", "bn_batches", "textual_units", "textual_dropout")


@dataclasses.dataclass(frozen=True)
class Stage:
    """A row of the table.

    Attributes:
        parts: the networks that it trains.
        needs: the stages that must have finished before.
        loss: the equation of its loss, for people.
        reads: its inputs for each image: "images", "maps", "f_v", "f_t", "tags" or "groups". Empty for a
            baseline, whose class describes them.
        group: the group of settings with its learning rate and epochs. The stage depends on all of them.
        settings: flat names of the other settings it depends on, beside `COMMON_SETTINGS`.
        options: settings recorded only if they differ from the default, beside `COMMON_OPTIONS`.
        unread: flat names of settings of its group that it does not depend on.
        of_paper: whether Algorithm 1 (or a row of Tables I and V) has it.
    """

    parts: tuple[str, ...]
    needs: tuple[str, ...]
    loss: str
    reads: tuple[str, ...]
    group: str
    settings: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    of_paper: bool = True


# The heads of single branches are no part of the complete model; they serve rows of Table I (decision 16).
STAGES: dict[str, Stage] = {
    "finetune": Stage(
        ("backbone", "cnn_head"), (), "eq. 4", ("images",), "finetune", IMAGE_SETTINGS,
        ("finetune_loss", *ASYMMETRIC, "bias_init", *BEYOND_FINETUNE),
    ),
    "visual": Stage(
        ("multi_scale", "visual_head"), ("finetune",), "eq. 4", ("maps",), "visual",
        (*IMAGE_SETTINGS, "bn_batches"), ("visual_loss", *ASYMMETRIC, "visual_fusion"),
    ),
    "textual": Stage(
        ("textual", "textual_head"), (), "eq. 4", ("tags",), "textual", LABEL_SETTINGS, ("bias_init",)
    ),
    "classifier": Stage(
        ("classifier",), ("visual", "textual"), "eq. 4", ("f_v", "f_t"), "classifier", LABEL_SETTINGS,
        ("classifier_loss", *ASYMMETRIC, "bias_init"),
    ),
    "quantity": Stage(("quantity",), ("visual", "textual"), "eq. 5", ("f_v", "f_t"), "quantity"),
    "quantity_visual": Stage(("quantity_visual",), ("visual",), "eq. 5", ("f_v",), "quantity"),
    # A third branch, which the setting `groups` joins to the others.
    "groups": Stage(
        ("groups", "groups_head"), (), "eq. 4", ("groups",), "textual", LABEL_SETTINGS, ("bias_init",),
        of_paper=False,
    ),
    # The complete model trained at once.
    "joint": Stage(
        (
            "backbone", "multi_scale", "textual", "classifier", "quantity", "visual_head", "quantity_visual",
        ),
        ("finetune",),
        "eq. 4 + eq. 5",
        ("images", "tags"),
        "joint",
        (*IMAGE_SETTINGS, *JOINT_SETTINGS),
        ("joint_loss", *ASYMMETRIC, "bias_init", "visual_fusion"),
        of_paper=False,
    ),
}  # fmt: skip
JOINT = "joint"
PAPER_STAGES = tuple(name for name, stage in STAGES.items() if stage.of_paper)
# part -> the stage that trains it alone (every stage but joint).
STAGE_OF_PART = {part: name for name, stage in STAGES.items() if name != JOINT for part in stage.parts}
PAPER_PARTS = tuple(part for part, stage in STAGE_OF_PART.items() if STAGES[stage].of_paper)
# part -> its name in work directories of version 0.1.0.
FORMER_PART_NAMES = {"quantity_visual": "visual_quantity"}


# A data set of arrays has no stage that reads images. One of tags alone lacks the visual stages, too.
ON_IMAGES = tuple(name for name, stage in STAGES.items() if "images" in stage.reads)
VISUAL = tuple(name for name, stage in STAGES.items() if set(stage.reads) <= {"maps", "f_v"})
# The stages whose steps pass images or maps through convolutions, and those that train on vectors.
ON_PIXELS = tuple(name for name, stage in STAGES.items() if {"images", "maps"} & set(stage.reads))
PAPER_HEADS = tuple(name for name in PAPER_STAGES if name not in ON_PIXELS)


def paper_stages(arrays: Mapping | None) -> tuple[str, ...]:
    """Returns the stages of the paper that a data set can train, see `records.Dataset.arrays`."""
    if arrays is None:
        return PAPER_STAGES
    lacking = ON_IMAGES if arrays else (*ON_IMAGES, *VISUAL)
    return tuple(name for name in PAPER_STAGES if name not in lacking)


def needs_statistics(config: Config) -> bool:
    """Returns whether stage finetune estimates the statistics of batch normalisation again (`bn_batches`)."""
    return bool(config.bn_batches and (config.finetune.ema or config.finetune.sizes))


def resolve_stage(name: str, config: Config, arrays: Mapping | None = None) -> Stage:
    """Returns a row of the table with the needs and options that it has under these settings.

    arrays: of the data set (`records.Dataset.arrays`). Given features are f_v, so nothing computes it.
    """
    stage = STAGES[name]
    if arrays is not None:
        stage = dataclasses.replace(stage, needs=tuple(need for need in stage.needs if need != "visual"))
        if name == "visual":
            stage = Stage(
                ("visual_head",), (), "eq. 4", ("f_v",), "visual", LABEL_SETTINGS,
                ("visual_loss", *ASYMMETRIC, "bias_init"),
            )  # fmt: skip
    if getattr(getattr(config, stage.group), "loss", CROSS_ENTROPY) == CROSS_ENTROPY:
        stage = dataclasses.replace(stage, options=tuple(o for o in stage.options if o not in ASYMMETRIC))
    if name == "finetune" and not config.finetune.trunk:
        return dataclasses.replace(stage, unread=BEYOND_FINETUNE)
    if name == "finetune" and needs_statistics(config):
        return dataclasses.replace(stage, settings=(*stage.settings, "bn_batches"))
    if name == JOINT and config.finetune.trunk:  # it trains the trunk itself
        return dataclasses.replace(stage, needs=())
    if config.groups and name in ("classifier", "quantity"):
        return dataclasses.replace(stage, needs=(*stage.needs, "groups"), options=(*stage.options, "groups"))
    return stage


def baseline_stage(name: str, needs: tuple[str, ...], config: Config, on_images: bool = True) -> Stage:
    """Returns the stage that trains a compared method. On arrays it depends on no settings of images."""
    settings = (*IMAGE_SETTINGS, "finetune_trunk") if on_images else LABEL_SETTINGS
    group = group_of_method(name)
    if trains_trunk(group, config):
        settings = (*settings, *AUGMENTATION, "bn_batches")
    if getattr(getattr(config, group), "loss", CROSS_ENTROPY) != CROSS_ENTROPY:
        settings = (*settings, *ASYMMETRIC)
    options = (f"{group}_trunk",) if hasattr(getattr(config, group), "trunk") else ()
    return Stage((name,), needs, "its own", (), group, settings, options, of_paper=False)


def trains_trunk(method: str, config: Config) -> bool:
    """Returns whether a compared method is a modern head that trains a trunk of its own."""
    return getattr(getattr(config, group_of_method(method)), "trunk", "frozen") == "trained"


def settings_group(name: str) -> str:
    """Returns the group with the learning rate of a stage or baseline."""
    return STAGES[name].group if name in STAGES else group_of_method(name)
