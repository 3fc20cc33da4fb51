"""Cached outputs of frozen model parts, one row per image, float32, in the work directory.

Each array is keyed by the hash of all that it depends on (data set, split, weights, image size), see
`array_cache`. Its rows are in the order of the records.
"""

import itertools
import math
import pathlib

import keras
import numpy as np

from msmm.configs.base import Config
from msmm.core.errors import UserError
from msmm.core.files import remove
from msmm.data import records
from msmm.data.input_pipeline import batches_of
from msmm.models.precision import set_precision
from msmm.training import model_parts
from msmm.training.array_cache import cache_arrays, cache_path
from msmm.training.disk_arrays import ConcatenatedRows, DiskRows
from msmm.training.run import Run

BATCH = 64


def cached_maps(
    run: Run, split: str, flip: bool = False, num_maps: int = 5, backbone: keras.Model | None = None
) -> list[DiskRows] | None:
    """Returns the last `num_maps` of M_1 … M_5 of the frozen backbone, float16 [N, h, w, c] each.

    None if over the disk budget. Where all five are cached, fewer are taken from them. The maps of a data set
    of arrays are its own.

    backbone: the one that stage finetune keeps, in float32, before that stage; by default that of the stage.
    """
    if run.dataset.arrays is not None:
        return [_given_maps(run, split, run.dataset.arrays[records.MAPS])]
    if num_maps < 5 and _maps_fit_budget(run) and _maps_path(run, split, flip).exists():
        return cached_maps(run, split, flip)[-num_maps:]  # type: ignore[index]
    if not _maps_fit_budget(run, num_maps):
        return None

    def compute():
        trunk = backbone or model_parts.load_part(run, "backbone")
        model = keras.Model(trunk.input, trunk.output[-num_maps:]) if num_maps < 5 else trunk
        for images in run.images(split).ordered(BATCH, flip):
            maps = keras.tree.flatten(model.predict_on_batch(images))
            yield [keras.ops.convert_to_numpy(m) for m in maps]

    kind, key = _maps_key(run, split, flip, num_maps, backbone)
    num_rows = run.dataset.num_examples(split)
    arrays = cache_arrays(run.features_directory, kind, key, num_rows, compute, np.float16)
    return [DiskRows(array) for array in arrays]


def _maps_fit_budget(run: Run, num_maps: int = 5) -> bool:
    """Returns whether the last `num_maps` maps are cached on disk, see `cached_maps`."""
    shapes = model_parts.map_shapes(run.config)[-num_maps:]
    per_image = sum(math.prod(shape) for shape in shapes) * 2
    images = sum(map(run.dataset.num_examples, run.dataset.splits))
    mirrored = run.dataset.num_examples("train") * run.config.flip
    return per_image * (images + mirrored) <= run.config.maps_cache_gib * 2**30


def _maps_key(
    run: Run, split: str, flip: bool, num_maps: int = 5, backbone: keras.Model | None = None
) -> tuple[str, dict]:
    """Returns the kind and the key of cached maps."""
    key = cache_key(run, split, backbone=_backbone_hash(run, backbone), flip=flip)
    if num_maps < 5:
        key["maps"] = num_maps
    return f"maps-{split}{'-mirrored' if flip else ''}", key


def _backbone_hash(run: Run, backbone: keras.Model | None) -> str:
    return model_parts.weights_hash(backbone) if backbone else model_parts.trained_hash(run, "backbone")


def _maps_path(run: Run, split: str, flip: bool, num_maps: int = 5) -> pathlib.Path:
    return cache_path(run.features_directory, *_maps_key(run, split, flip, num_maps))


def _given_maps(run: Run, split: str, shape: tuple[int, ...]) -> DiskRows:
    """Returns the maps of a data set of arrays, float16 [N, h, w, D]."""
    num_rows = run.dataset.num_examples(split)
    size = math.prod(shape) * 2 * num_rows
    if size > run.config.maps_cache_gib * 2**30:
        raise UserError(
            f"the maps of {split} need {size / 2**30:.1f} GiB of disk: raise --maps_cache_gib, which is "
            f"{run.config.maps_cache_gib:g}"
        )
    key = {"dataset": run.dataset.fingerprint, "split": split, "array": records.MAPS}

    def compute():
        return ([batch] for batch in run.dataset.read_arrays(split, records.MAPS))

    arrays = cache_arrays(run.features_directory, f"maps-{split}", key, num_rows, compute, np.float16)
    return DiskRows(arrays[0])


def discard_maps(run: Run) -> None:
    """Deletes the maps of this run's backbone: large, and unused once f_v is cached."""
    for split, flip, num_maps in itertools.product(run.dataset.splits, (False, True), range(1, 6)):
        remove(_maps_path(run, split, flip, num_maps))


def given_features(run: Run, split: str) -> np.ndarray:
    """Returns f_v of a data set of arrays, float32 [N, D]: its features, else its maps averaged over places.

    With tags alone it is a constant 0, [N, 1].
    """
    dataset, num_rows = run.dataset, run.dataset.num_examples(split)
    if not dataset.arrays:
        return np.zeros((num_rows, 1), np.float32)
    name = records.FEATURES if records.FEATURES in dataset.arrays else records.MAPS

    def compute():
        for batch in dataset.read_arrays(split, name):
            yield [batch if name == records.FEATURES else batch.astype(np.float32).mean(axis=(1, 2))]

    key = {"dataset": dataset.fingerprint, "split": split, "array": name}
    return cache_arrays(run.features_directory, f"given-{split}", key, num_rows, compute, np.float32)[0]


def cnn_features(run: Run, split: str) -> np.ndarray:
    """Returns the average-pooled M_5 of the fine-tuned CNN, or given features, float32 [N, D]."""
    if not run.dataset.has_images:
        return given_features(run, split)
    return _pooled_maps(run, split)


def _pooled_maps(run: Run, split: str, backbone: keras.Model | None = None) -> np.ndarray:
    """Returns `cnn_features` of images. backbone: see `cached_maps`."""
    key = features_key(run, split, backbone=_backbone_hash(run, backbone))
    return _features_of_maps(run, split, "cnn", key, lambda: _build_pooling(run), backbone)


def pretrained_features(run: Run, backbone: keras.Model, split: str) -> np.ndarray:
    """Returns the average-pooled M_5 of a run's backbone before any stage, float32 [N, D].

    The backbone computes in float32 from then on.
    """
    set_precision(backbone, "float32")
    if not run.config.finetune.trunk:  # stage finetune keeps it: these are `cnn_features`, of the same maps
        return _pooled_maps(run, split, backbone)

    def compute():
        pooled = model_parts.build_pooled_model(backbone)
        for images in run.images(split).ordered(BATCH):
            yield [keras.ops.convert_to_numpy(pooled.predict_on_batch(images))]

    key = cache_key(run, split, backbone=model_parts.weights_hash(backbone))
    num_rows = run.dataset.num_examples(split)
    return cache_arrays(run.features_directory, f"cnn-{split}", key, num_rows, compute, np.float32)[0]


def visual_features(run: Run, split: str) -> np.ndarray:
    """Returns f_v of MS-CNN, or given features, float32 [N, D] (Algorithm 2, line 1)."""
    if not run.dataset.has_images:
        return given_features(run, split)
    hashes = {part: model_parts.trained_hash(run, part) for part in ("backbone", "multi_scale")}
    key = features_key(run, split, **hashes)
    return _features_of_maps(run, split, "visual", key, lambda: model_parts.load_part(run, "multi_scale"))


def textual_features(run: Run, split: str) -> np.ndarray:
    """Returns f_t of the textual MLP, float32 [N, D] (Algorithm 2, line 2)."""
    return _features_of_vectors(run, split, "textual", run.split(split).tags)


def group_features(run: Run, split: str) -> np.ndarray:
    """Returns f_g of the MLP of groups, float32 [N, D]."""
    return _features_of_vectors(run, split, "groups", run.groups(split))


def concatenated_features(run: Run, split: str) -> ConcatenatedRows:
    """Returns f = [f_v, f_t], float32 [N, 2 D] (Algorithm 2, line 3), with f_g if the setting `groups` is on.

    Only the rows that are read leave the disk.
    """
    third = [group_features(run, split)] if run.config.groups else []
    return ConcatenatedRows(visual_features(run, split), textual_features(run, split), *third)


def _features_of_vectors(run: Run, split: str, part: str, vectors: np.ndarray) -> np.ndarray:
    def compute():
        model = model_parts.load_part(run, part)
        for rows in batches_of(np.arange(len(vectors)), 256):
            yield [keras.ops.convert_to_numpy(model.predict_on_batch(vectors[rows].astype(np.float32)))]

    key = cache_key(run, split, **{part: model_parts.trained_hash(run, part)})
    return cache_arrays(run.features_directory, f"{part}-{split}", key, len(vectors), compute, np.float32)[0]


def _features_of_maps(
    run: Run, split: str, kind: str, key: dict, load_model, backbone: keras.Model | None = None
) -> np.ndarray:
    def compute():
        model, maps = load_model(), cached_maps(run, split, backbone=backbone)
        if maps is not None:
            for rows in batches_of(np.arange(len(maps[0])), BATCH):
                batch = [m[rows] for m in maps]
                yield [keras.ops.convert_to_numpy(model.predict_on_batch(batch))]
            return
        trunk = backbone or model_parts.load_part(run, "backbone")
        whole = keras.Model(trunk.input, model(trunk.output))
        for images in run.images(split).ordered(BATCH):
            yield [keras.ops.convert_to_numpy(whole.predict_on_batch(images))]

    num_rows = run.dataset.num_examples(split)
    return cache_arrays(run.features_directory, f"{kind}-{split}", key, num_rows, compute, np.float32)[0]


def _build_pooling(run: Run) -> keras.Model:
    inputs = [keras.Input(shape) for shape in model_parts.map_shapes(run.config)]
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(inputs[-1]))


def features_key(run: Run, split: str, **hashes: str) -> dict:
    """Returns `cache_key` of features of the frozen maps, which are rounded where they are cached."""
    through = {"maps": "float16"} if _maps_fit_budget(run) else {}
    return cache_key(run, split, **hashes, **through)


def cache_key(run: Run, split: str, **depends_on) -> dict:
    """Returns all that the features of a split depend on, for `cache_arrays`.

    Settings beside the image size count only if they differ from the default. Features that were cached
    before these settings were part of the key are thus still found.
    """
    rare = {"preprocessing": run.config.preprocessing, "backbone_taps": run.config.backbone_taps}
    files = model_parts.file_hashes(run.config)
    files.pop("weights_sha256", None)  # `depends_on` has the weights' own hash
    return {
        "dataset": run.dataset.fingerprint,
        "split": split,
        "image_size": run.config.image_size,
        **{name: value for name, value in rare.items() if value != getattr(Config, name)},
        **files,  # a layer of preprocessing has no weights
        **depends_on,
    }
