"""Synthetic data sets and finished stages, for measuring time and memory at any size."""

import dataclasses
import functools
import io

import numpy as np
import tensorflow as tf
from PIL import Image

from msmm.core.files import write_json
from msmm.training import frozen_features, model_parts, task_building
from msmm.training.array_cache import cache_arrays
from msmm.training.run import Run
from msmm.training.stage_table import STAGES

LABELS_PER_IMAGE, TAGS_PER_IMAGE = 2.5, 8  # NUS-WIDE's, nearly
_PICTURES = 16  # different ones


@dataclasses.dataclass(frozen=True)
class SyntheticDataset:
    """Random annotations and noise images, in place of a `records.Dataset`.

    sizes: images of each split. side: of the pictures, pixels.
    """

    sizes: tuple[tuple[str, int], ...]
    num_classes: int
    num_tags: int
    side: int = 32
    name = "synthetic"
    description = "random rows"
    licence = None
    groups = ()
    arrays = None
    has_images = True
    given_size = None

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(f"class{i}" for i in range(self.num_classes))

    @property
    def tags(self) -> tuple[str, ...]:
        return tuple(f"tag{i}" for i in range(self.num_tags))

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(split for split, _ in self.sizes)

    @property
    def fingerprint(self) -> str:
        return repr(self)

    def require_images(self) -> None:
        """Does nothing, as there are images; see `records.Dataset`."""

    def num_examples(self, split: str) -> int:
        return dict(self.sizes)[split]

    def annotations(self, split: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns annotations, as `records.Dataset.annotations`."""
        count, rng = self.num_examples(split), np.random.default_rng(self.splits.index(split))
        matrices = []
        for width, share in ((self.num_tags, TAGS_PER_IMAGE), (self.num_classes, LABELS_PER_IMAGE)):
            matrix = np.zeros((count, width), bool)
            for rows in np.array_split(np.arange(count), max(1, count // 4096)):
                matrix[rows] = rng.random((len(rows), width), np.float32) < share / max(width, 1)
            matrices.append(matrix)
        matrices[1][np.arange(count), rng.integers(self.num_classes, size=count)] = True
        return np.array([f"{split}{i}" for i in range(count)]), *matrices

    def read_images(self, split: str, rows: np.ndarray | None = None) -> tf.data.Dataset:
        """Returns encoded images, as `records.Dataset.read_images`."""
        pictures = tf.constant(self._pictures)
        rows = np.arange(self.num_examples(split)) if rows is None else rows
        numbers = tf.data.Dataset.from_tensor_slices(np.asarray(rows, np.int64))
        return numbers.map(lambda row: (pictures[row % _PICTURES], row))

    @functools.cached_property
    def _pictures(self) -> list[bytes]:
        rng, files = np.random.default_rng(0), []
        for _ in range(_PICTURES):
            blocks = rng.integers(0, 256, (max(1, self.side // 8), max(1, self.side // 8), 3), np.uint8)
            picture, file = Image.fromarray(blocks).resize((self.side, self.side)), io.BytesIO()
            picture.save(file, "JPEG", quality=90)
            files.append(file.getvalue())
        return files


def fake_stages(run: Run, *stages: str) -> None:
    """Marks stages as finished and saves their parts with initial weights.

    The batch statistics of the backbone fit its weights; without them, a hundred layers in
    inference mode would multiply the activations without end. Set `bn_momentum` to 0 for that.
    """
    for stage in stages:
        directory, hashes = run.stage_directory(stage), {}
        directory.mkdir(parents=True, exist_ok=True)
        for name in STAGES[stage].parts:
            (model,) = task_building.build_fresh_parts(run, stage, name)
            if name == "backbone":
                model(next(run.images("train").ordered(8)), training=True)
            model.save_weights(directory / f"{name}.weights.h5")
            hashes[name] = model_parts.weights_hash(model)
        write_json(directory / "stage.json", {"settings": {}, "weights": hashes})


def fake_stages_without_parts(run: Run) -> None:
    """Marks stages as finished without saving parts, for stages that read `fill_features` alone."""
    for stage in ("finetune", "visual", "textual"):
        hashes = dict.fromkeys(STAGES[stage].parts, "none")
        write_json(run.stage_directory(stage) / "stage.json", {"settings": {}, "weights": hashes})


def fill_features(run: Run, split: str, kind: str, width: int) -> None:
    """Writes random features of a split, float32 [N, width], where the run's parts would write theirs.

    kind: "cnn" (pooled M_5), "visual" (f_v) or "textual" (f_t).
    """
    needed = {"cnn": ("backbone",), "visual": ("backbone", "multi_scale"), "textual": ("textual",)}[kind]
    make_key = frozen_features.cache_key if kind == "textual" else frozen_features.features_key
    key = make_key(run, split, **{part: model_parts.trained_hash(run, part) for part in needed})
    count, rng = run.dataset.num_examples(split), np.random.default_rng(0)

    def batches():
        for rows in np.array_split(np.arange(count), max(1, count // 1024)):
            yield [rng.random((len(rows), width), np.float32)]

    cache_arrays(run.features_directory, f"{kind}-{split}", key, count, batches, np.float32)
