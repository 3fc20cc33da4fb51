"""What an example looks like on disk, and reading it back: the only place that knows.

A packed data set is a TFDS directory, `<data_dir>/<name>/<version>/`. Every example has
`image` (JPEG bytes, upright RGB), `tags` and `labels` (class ids, with their vocabularies
as ClassLabel names) and `image_id`. Records keep one order, the order of the shards.
"""

import dataclasses
import functools
import hashlib
import json
import pathlib
from typing import TYPE_CHECKING, Any

import numpy as np

from msmm.errors import UserError

if TYPE_CHECKING:
    import tensorflow as tf
    import tensorflow_datasets as tfds

IMAGE = "image"
TAGS = "tags"
LABELS = "labels"
IMAGE_ID = "image_id"
REPORT = "report.json"  # beside the records, written by the packer


def features(labels: tuple[str, ...], tags: tuple[str, ...]) -> "tfds.features.FeaturesDict":
    """The example schema for the vocabularies `labels` (C names) and `tags` (T names, T may be 0)."""
    import tensorflow_datasets as tfds

    types = tfds.features
    return types.FeaturesDict(
        {
            IMAGE: types.Image(shape=(None, None, 3), encoding_format="jpeg"),
            TAGS: types.Sequence(types.ClassLabel(names=tags)),
            LABELS: types.Sequence(types.ClassLabel(names=labels)),
            IMAGE_ID: types.Text(),
        }
    )


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A packed data set: see `open_dataset`.

    labels, tags: the vocabularies; a position is a class id (C labels, T tags).
    directory: `<data_dir>/<name>/<version>`.
    """

    name: str
    directory: pathlib.Path
    labels: tuple[str, ...]
    tags: tuple[str, ...]
    builder: Any = dataclasses.field(repr=False)

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits, "train" first."""
        return tuple(sorted(self.builder.info.splits, key=lambda split: (split != "train", split)))

    @property
    def description(self) -> str:
        """One line on where the data came from."""
        return self.builder.info.description

    @property
    def licence(self) -> str | None:
        """What the packer knows of the licence of the data, in a sentence or less."""
        return self.builder.info.as_proto.redistribution_info.license or None

    def num_examples(self, split: str) -> int:
        """How many records `split` has."""
        return self._split(split).num_examples

    def report(self) -> dict:
        """What the packer counted, kept and dropped (`report.json`); empty where it is missing."""
        path = self.directory / REPORT
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 in hex over the vocabularies and every record, whatever the data set's name.

        The packer leaves the shards' checksums in the report, so no record is read here.
        """
        checksums = self.report().get("checksums") or self.checksums()
        content = json.dumps([self.labels, self.tags, checksums], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()

    def checksums(self) -> dict[str, list[str]]:
        """SHA-256 in hex of every shard of every split, in order; reads all files."""
        return {split: [_sha256(path) for path in self._split(split).filepaths] for split in self.splits}

    def read(self, split: str) -> "tf.data.Dataset":
        """The records of `split` in order: dicts of scalar `image` (encoded bytes) and `image_id`
        (string), and of `labels` and `tags`, [any] int64 class ids."""
        import tensorflow_datasets as tfds

        self._split(split)
        # One shard after the other, so that the order is the files' own.
        config = tfds.ReadConfig(try_autocache=False, interleave_cycle_length=1)
        decoders = {IMAGE: tfds.decode.SkipDecoding()}
        return self.builder.as_dataset(split=split, decoders=decoders, read_config=config)

    def annotations(self, split: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What `split` says of its N images, in the order of `read`, without decoding any.

        Returns image_ids [N] str, tags [N, T] bool, labels [N, C] bool.
        """
        import tensorflow as tf

        ids = tf.io.RaggedFeature(tf.int64)
        wanted = {IMAGE_ID: tf.io.FixedLenFeature((), tf.string), TAGS: ids, LABELS: ids}
        files = [str(path) for path in self._split(split).filepaths]
        count = self.num_examples(split)
        tags = np.zeros((count, len(self.tags)), bool)
        labels = np.zeros((count, len(self.labels)), bool)
        image_ids = []
        for batch in tf.data.TFRecordDataset(files).batch(1024):
            parsed = tf.io.parse_example(batch, wanted)
            for name, matrix in ((TAGS, tags), (LABELS, labels)):
                rows = len(image_ids) + parsed[name].value_rowids().numpy()
                matrix[rows, parsed[name].values.numpy()] = True
            image_ids += [value.decode() for value in parsed[IMAGE_ID].numpy()]
        return np.array(image_ids, dtype=str), tags, labels

    def _split(self, split: str) -> "tfds.core.SplitInfo":
        if split not in self.builder.info.splits:
            raise UserError(
                f"no split {split!r} in data set {self.name!r}: choose one of {list(self.splits)}"
            )
        return self.builder.info.splits[split]


def find_dataset(data_dir: str | pathlib.Path, name: str) -> pathlib.Path:
    """The directory of the newest version of the data set `name` in `data_dir`.

    Raises UserError where there is none, without importing TensorFlow.
    """
    data_dir = pathlib.Path(data_dir)
    if not data_dir.is_dir():
        raise UserError(
            f"no folder {data_dir} of packed data sets: choose another --data_dir, or pack {name!r} "
            "with python -m tfrecords_tools.pack"
        )
    versions = _versions(data_dir / name) if name else []
    if not versions:
        found = sorted(path.name for path in data_dir.glob("*") if _versions(path))
        choice = f", or choose one of: {', '.join(found)}" if found else ""
        raise UserError(
            f"no data set {name!r} in {data_dir}: pack it with python -m tfrecords_tools.pack{choice}"
        )
    return versions[-1]


def open_dataset(data_dir: str | pathlib.Path, name: str) -> Dataset:
    """Opens the newest version of the data set `name` in `data_dir`.

    Raises UserError where there is none, or where it is not one of ours.
    """
    directory = find_dataset(data_dir, name)
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(directory)
    present = builder.info.features
    if not {IMAGE, TAGS, LABELS, IMAGE_ID} <= set(present):
        raise UserError(
            f"expected the features {IMAGE}, {TAGS}, {LABELS}, {IMAGE_ID} in {directory}, found "
            f"{', '.join(sorted(present))}: pack the data set with python -m tfrecords_tools.pack"
        )
    for info in builder.info.splits.values():
        for path in info.filepaths:
            if not path.exists():
                raise UserError(f"{path} is missing: pack {name!r} again with --overwrite, or copy it whole")
    return Dataset(
        name=name,
        directory=directory,
        labels=tuple(present[LABELS].feature.names),
        tags=tuple(present[TAGS].feature.names),
        builder=builder,
    )


def _versions(directory: pathlib.Path) -> list[pathlib.Path]:
    """The finished versions (1.2.3) of a data set, oldest first."""
    finished = [path.parent for path in directory.glob("*.*.*/dataset_info.json")]
    numbered = [path for path in finished if all(part.isdigit() for part in path.name.split("."))]
    return sorted(numbered, key=lambda path: [int(part) for part in path.name.split(".")])


def _sha256(path: Any) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
