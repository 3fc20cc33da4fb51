"""The trained parts of a run: which stage trains each, how it is built, how it is loaded."""

import dataclasses
import functools
import hashlib
import json
import pathlib

import keras
import numpy as np

from msmm.configs.base import Config
from msmm.core import checksums
from msmm.core.errors import UserError
from msmm.models import backbone, heads, multi_scale, textual
from msmm.models.precision import IN_PRECISION, set_precision
from msmm.training.run import Run

# part -> the stage of Algorithm 1 that trains it. The heads of single branches are thrown
# away by the complete model and kept for the rows of Table I (decision 16).
STAGE_OF = {
    "backbone": "finetune",
    "cnn_head": "finetune",
    "multi_scale": "visual",
    "visual_head": "visual",
    "textual": "textual",
    "textual_head": "textual",
    "classifier": "classifier",
    "quantity": "quantity",
    "visual_quantity": "quantity_visual",
}

# A branch beyond the paper, which the setting `groups` joins to the others.
OF_GROUPS = {"groups": "groups", "groups_head": "groups"}


def trainer(run: Run, part: str) -> str:
    """The stage whose weights of a part a run uses."""
    return "joint" if run.joint else (STAGE_OF | OF_GROUPS)[part]


def build(
    part: str, config: Config, num_classes: int, num_tags: int, mean_count: float = 0.0, num_groups: int = 0
) -> keras.Model:
    """A part with fresh weights (the backbone: those that `config.weights` names), which computes in
    `config.precision` if it is one of IN_PRECISION, else in float32."""
    if part == "backbone":
        return build_backbone(config)
    model = _build(part, config, num_classes, num_tags, mean_count, num_groups)
    return set_precision(model, config.precision) if part in IN_PRECISION else model


def _build(part, config: Config, num_classes, num_tags, mean_count, num_groups) -> keras.Model:
    maps = map_shapes(config)
    f_v = maps[-1][-1]
    f_t = config.textual_units or f_v
    if part == "multi_scale":
        return multi_scale.multi_scale(maps, config.bn_momentum)
    if part == "textual":
        return textual.textual(num_tags, f_t, config.textual_dropout)
    if part == "groups":
        return textual.textual(num_groups, f_t, config.textual_dropout, name="groups")
    joint = f_v + f_t + (f_t if config.groups else 0)
    if part == "quantity":
        return heads.quantity(joint, mean_count)
    if part == "visual_quantity":
        return heads.quantity(f_v, mean_count, name=part)
    sizes = {"cnn_head": f_v, "visual_head": f_v, "textual_head": f_t, "groups_head": f_t}
    return heads.classifier({**sizes, "classifier": joint}[part], num_classes, name=part)


def build_backbone(config: Config) -> keras.Model:
    """The backbone with the weights that `config.weights` names."""
    model = backbone.build(
        config.backbone,
        image_size=config.image_size,
        weights=config.weights,
        taps=config.backbone_taps,
        preprocessing=config.preprocessing,
        bn_momentum=config.bn_momentum,
    )
    return set_precision(model, config.precision)


def on_pooled_maps(backbone: keras.Model, head: keras.Model | None = None) -> keras.Model:
    """Images to the average-pooled M_5 of a backbone, [B, D], or to what a head says of it."""
    pooled = keras.layers.GlobalAveragePooling2D()(backbone.output[-1])
    return keras.Model(backbone.input, head(pooled) if head else pooled)


def map_shapes(config: Config) -> list[tuple[int, int, int]]:
    """(height, width, channels) of M_1 … M_5."""
    return _map_shapes(config.backbone, config.backbone_taps, config.image_size)


@functools.cache
def _map_shapes(name: str, taps: tuple, image_size: int) -> list[tuple[int, int, int]]:
    outputs = backbone.build(name, weights="none", taps=taps, image_size=image_size).outputs
    return [tuple(o.shape[1:]) for o in outputs]


def load(run: Run, part: str) -> keras.Model:
    """A trained part of a run, frozen, in float32 whatever it was trained in: what it says is computed once,
    and a saved model is float32. Its stage must have finished, with the images and the trunk of now."""
    config = dataclasses.replace(run.config, precision="float32")
    _check_settings(run, part)
    if part == "backbone":  # the stage's own weights replace these: nothing to download
        config = dataclasses.replace(config, weights="none")
    labels, tags, groups = run.dataset.labels, run.dataset.tags, run.dataset.groups
    model = build(part, config, len(labels), len(tags), num_groups=len(groups))
    load_weights(model, run.stage_directory(trainer(run, part)), part)
    return model


def _check_settings(run: Run, part: str) -> None:
    then = run.stage_record(trainer(run, part))["settings"]
    for name in ("backbone", "backbone_taps", "preprocessing", "image_size", "textual_units", "groups"):
        now = json.loads(json.dumps(getattr(run.config, name)))  # tuples to lists, as read back
        if then.get(name, now) != now:
            raise UserError(
                f"{run.stage_directory(trainer(run, part))} was trained with {name}={then[name]}, and now "
                f"{name}={now}: give the same --{name}"
            )


def load_weights(model: keras.Model, directory: pathlib.Path, part: str) -> None:
    """Reads the weights of a part that the stage of this directory has trained, and freezes it."""
    path, remedy = directory / f"{part}.weights.h5", f"train {directory.name} again with --restart"
    checksums.check(path, remedy)
    try:
        model.load_weights(path)
    except Exception as error:  # whatever a damaged file makes h5py or Keras raise
        said = " ".join(str(error).split())[:200]  # Keras may add the weights themselves
        raise UserError(f"cannot load {path} ({said}): {remedy}") from error
    model.trainable = False


def is_pretrained(config: Config) -> bool:
    """Whether the backbone comes with weights that have learnt something."""
    return config.backbone.endswith(".keras") or config.weights != "none"


def weights_hash(model: keras.Model) -> str:
    """SHA-256 over the values of every variable of a model, hex."""
    digest = hashlib.sha256()
    for variable in model.weights:
        digest.update(np.ascontiguousarray(keras.ops.convert_to_numpy(variable)).tobytes())
    return digest.hexdigest()


def trained_hash(run: Run, part: str) -> str:
    """What `weights_hash` was when the part's stage finished."""
    return run.stage_record(trainer(run, part))["weights"][part]
