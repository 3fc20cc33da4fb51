"""The trained parts of a run: how each is built and loaded."""

import dataclasses
import functools
import hashlib
import json
import pathlib
from collections.abc import Sequence

import keras
import numpy as np

from msmm.configs import flatten
from msmm.configs.base import Config
from msmm.core import checksums
from msmm.core.errors import UserError
from msmm.models import backbone, heads, hub, multi_scale, saved, textual
from msmm.models.precision import IN_PRECISION, set_precision
from msmm.training.run import Run
from msmm.training.stage_table import FORMER_PART_NAMES, JOINT, STAGE_OF_PART

_ALONE = 2048  # size of f_t, the paper's, where tags are alone
MapShape = tuple[int, int, int]  # height, width, channels


def trained_by(run: Run, part: str) -> str:
    """Returns the stage whose weights of a part a run uses."""
    return JOINT if run.uses_joint_parts else STAGE_OF_PART[part]


def build_part(
    part: str,
    config: Config,
    num_classes: int,
    num_tags: int,
    mean_count: float = 0.0,
    num_groups: int = 0,
    bias: np.ndarray | None = None,
    given_size: int | None = None,
) -> keras.Model:
    """Builds a part with fresh weights (the backbone: with those that `config.weights` names).

    Parts of IN_PRECISION compute in `config.precision`, the others in float32. `mean_count` and `bias`, [C],
    are where the biases of regressors and of label classifiers start; None: at 0. `given_size` is the size
    of a data set's own features (`records.Dataset.given_size`), which are f_v.
    """
    if part == "backbone":
        return build_backbone(config)
    model = _build_part(part, config, num_classes, num_tags, mean_count, num_groups, bias, given_size)
    return set_precision(model, config.precision) if part in IN_PRECISION else model


def _build_part(
    part, config: Config, num_classes, num_tags, mean_count, num_groups, bias, given_size
) -> keras.Model:
    if given_size:
        channels = f_v = given_size
    else:
        maps = map_shapes(config)
        channels = maps[-1][-1]
        f_v = multi_scale.feature_size(maps, config.visual.fusion)
    f_t = config.textual.units or (_ALONE if channels == 1 else channels)
    if part == "multi_scale":
        return multi_scale.FUSIONS[config.visual.fusion](maps, config.bn_momentum)
    if part == "textual":
        return textual.build_textual(num_tags, f_t, config.textual.dropout)
    if part == "groups":
        return textual.build_textual(num_groups, f_t, config.textual.dropout, name="groups")
    f = f_v + f_t + (f_t if config.groups else 0)
    if part == "quantity":
        return heads.build_quantity(f, mean_count)
    if part == "quantity_visual":
        # Named as in version 0.1.0: TensorFlow sums gradients in an order that depends on the model's name.
        return heads.build_quantity(f_v, mean_count, name=FORMER_PART_NAMES[part])
    sizes = {
        "cnn_head": channels,
        "visual_head": f_v,
        "textual_head": f_t,
        "groups_head": f_t,
        "classifier": f,
    }
    return heads.build_classifier(sizes[part], num_classes, part, bias)


def textual_size(run: Run) -> int:
    """Returns the size of f_t."""
    if run.config.textual.units:
        return run.config.textual.units
    channels = run.dataset.given_size or map_shapes(run.config)[-1][-1]
    return _ALONE if channels == 1 else channels


def build_backbone(config: Config) -> keras.Model:
    """Builds the backbone with the weights that `config.weights` names."""
    model = backbone.build(
        config.backbone,
        image_size=config.image_size,
        weights=config.weights,
        taps=config.backbone_taps,
        preprocessing=config.preprocessing,
        bn_momentum=config.bn_momentum,
    )
    return set_precision(model, config.precision)


def build_pooled_model(backbone: keras.Model, head: keras.Model | None = None) -> keras.Model:
    """Builds images -> the average-pooled M_5 of a backbone, [B, D], or a head's output on it."""
    pooled = keras.layers.GlobalAveragePooling2D()(backbone.output[-1])
    return keras.Model(backbone.input, head(pooled) if head else pooled)


def map_shapes(config: Config) -> list[MapShape]:
    """Returns (height, width, channels) of M_1 … M_5."""
    return _map_shapes(config.backbone, config.backbone_taps, config.image_size)


@functools.cache
def _map_shapes(name: str, taps: tuple, image_size: int) -> list[MapShape]:
    outputs = backbone.build(name, weights="none", taps=taps, image_size=image_size).outputs
    return [tuple(o.shape[1:]) for o in outputs]


def load_part(run: Run, part: str) -> keras.Model:
    """Loads a trained part of a run, frozen.

    It computes in float32 whatever it was trained in: features are computed once, and a saved model is
    float32.

    Raises:
        UserError: its stage has not finished, or was trained with other images or another trunk.
    """
    config = dataclasses.replace(run.config, precision="float32")
    _check_recorded_settings(run, part)
    if part == "backbone":  # the stage's own weights replace these: nothing to download
        config = dataclasses.replace(config, weights="none")
    labels, tags, groups = run.dataset.labels, run.dataset.tags, run.dataset.groups
    given = run.dataset.given_size
    model = build_part(part, config, len(labels), len(tags), num_groups=len(groups), given_size=given)
    load_part_weights(model, run.stage_directory(trained_by(run, part)), part)
    return model


def _check_recorded_settings(run: Run, part: str) -> None:
    stage = trained_by(run, part)
    then, flat = run.finished_record(stage)["settings"], flatten(run.config)
    for name in ("backbone", "backbone_taps", "preprocessing", "image_size", "textual_units", "groups"):
        now = json.loads(json.dumps(flat[name]))  # tuples to lists, as read back
        if then.get(name, now) != now:
            raise UserError(
                f"{run.stage_directory(stage)} was trained with {name}={then[name]}, and now "
                f"{name}={now}: give the same --{name}"
            )
    check_files(run, stage, ("backbone",))  # trained weights have replaced those of a weights file


def check_files(run: Run, stage: str, settings: Sequence[str] = ("backbone", "weights")) -> None:
    """Raises UserError where a stage was trained with other files of the same names, if its record tells.

    settings: those that name the files.
    """
    then, now = (run.stage_record(stage) or {}).get("settings", {}), file_hashes(run.config)
    for setting in settings:
        name = f"{setting}_sha256"
        if name in then and name in now and then[name] != now[name]:
            raise UserError(
                f"{run.stage_directory(stage)} was trained with {name}={then[name]}, and now "
                f"{name}={now[name]}: give the same --{setting}"
            )


def file_hashes(config: Config) -> dict[str, str]:
    """Returns `stage_table.FILE_HASHES` of the backbone and weights that are a file or folder of the user."""
    paths = {
        "backbone": pathlib.Path(config.backbone.removeprefix(hub.PREFIX)),
        "weights": pathlib.Path(config.weights),
    }
    is_own = {
        "backbone": config.backbone.endswith(".keras") or config.backbone.startswith(hub.PREFIX),
        "weights": config.weights not in ("none", "imagenet"),
    }
    return {
        f"{setting}_sha256": checksums.sha256_of_content(path)
        for setting, path in paths.items()
        if is_own[setting] and path.exists()
    }


def load_own_backbone(run: Run, method: str) -> keras.Model:
    """Loads the trunk that a compared method has trained below its own network, frozen, in float32."""
    backbone = build_backbone(dataclasses.replace(run.config, weights="none", precision="float32"))
    load_part_weights(backbone, run.stage_directory(method), f"{method}_backbone")
    return backbone


def load_part_weights(model: keras.Model, directory: pathlib.Path, part: str) -> None:
    """Loads the weights of a part from the directory of the stage that trained it, and freezes the part."""
    path, remedy = directory / f"{part}.weights.h5", f"train {directory.name} again with --restart"
    former = directory / f"{FORMER_PART_NAMES.get(part, part)}.weights.h5"
    if former.exists() and not path.exists():
        path = former
    checksums.check_file(path, remedy)
    try:
        saved.load_weights(model, path)
    except Exception as error:  # whatever a damaged file makes h5py or Keras raise
        message = " ".join(str(error).split())[:200]  # Keras may add the weights themselves
        raise UserError(f"cannot load {path} ({message}): {remedy}") from error
    model.trainable = False


def is_pretrained(config: Config) -> bool:
    """Returns whether the backbone comes with trained weights."""
    return backbone.has_own_weights(config.backbone) or config.weights != "none"


def weights_hash(model: keras.Model) -> str:
    """Returns the SHA-256 over the values of every variable of a model, hex."""
    digest = hashlib.sha256()
    for variable in model.weights:
        digest.update(np.ascontiguousarray(keras.ops.convert_to_numpy(variable)).tobytes())
    return digest.hexdigest()


def trained_hash(run: Run, part: str) -> str:
    """Returns the `weights_hash` that the part's stage recorded when it finished."""
    weights = run.finished_record(trained_by(run, part))["weights"]
    return weights[part] if part in weights else weights[FORMER_PART_NAMES[part]]
