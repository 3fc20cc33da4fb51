"""Reading packed data sets; their example schema is in `example_schema`."""

import dataclasses
import functools
import hashlib
import json
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from msmm.core import checksums
from msmm.core.errors import UserError
from msmm.core.files import read_json
from msmm.data import record_index
from msmm.data.example_schema import ARRAY_DTYPES, FEATURES, GROUPS, IMAGE, IMAGE_ID, LABELS, MAPS, TAGS
from msmm.data.locating import describe_remedy, find_dataset

if TYPE_CHECKING:
    import tensorflow as tf

    from msmm.data.tfds import tfds

REPORT = "report.json"  # beside the records, written by the packer
_PARSED_AT_ONCE = 32  # records
_ARRAYS_AT_ONCE = 64  # records
_READERS = 2  # batches of records that are read at the same time, ahead of decoding


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A packed data set (see `open_dataset`).

    Attributes:
        name: its name.
        directory: `<data_dir>/<name>/<version>`.
        labels, tags, groups: the vocabularies, C labels and T tags; a position is a class id.
        builder: the builder of TFDS that reads it.
        arrays: None for a data set of images; else the shapes of its `features` and `maps`, perhaps none.
    """

    name: str
    directory: pathlib.Path
    labels: tuple[str, ...]
    tags: tuple[str, ...]
    builder: Any = dataclasses.field(repr=False)
    groups: tuple[str, ...] = ()
    arrays: Mapping[str, tuple[int, ...]] | None = None

    @property
    def has_images(self) -> bool:
        """Returns whether the examples are images, and no arrays."""
        return self.arrays is None

    @property
    def given_size(self) -> int | None:
        """The size D of the given features, or of the maps; 1 for tags alone, None for images."""
        if self.arrays is None:
            return None
        shape = self.arrays.get(FEATURES) or self.arrays.get(MAPS) or (1,)
        return shape[-1]

    def require_images(self) -> None:
        """Raises UserError where the data set has no images."""
        if not self.has_images:
            raise UserError(
                f"the data set {self.name!r} was packed from arrays and has no images, which this needs"
            )

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of the splits, "train" first."""
        return tuple(sorted(self.builder.info.splits, key=lambda split: (split != "train", split)))

    @property
    def description(self) -> str:
        """One line on the origin of the data."""
        return self.builder.info.description

    @property
    def licence(self) -> str | None:
        """The licence of the data, in a sentence or less, or None if the packer does not know it."""
        return self.builder.info.as_proto.redistribution_info.license or None

    @property
    def has_context_tags(self) -> bool:
        """True if the tags are words of folder and file names, captions and the like, besides keywords."""
        return bool(self.report().get("context_tags"))

    def num_examples(self, split: str) -> int:
        """Returns the number of records of `split`."""
        return self._split(split).num_examples

    def report(self) -> dict:
        """Returns the packing report (`report.json`); empty where it is missing."""
        path = self.directory / REPORT
        return read_json(path, describe_remedy(self.name)) if path.exists() else {}

    @functools.cached_property
    def fingerprint(self) -> str:
        """The SHA-256 in hex over the vocabularies and every record, whatever the data set's name.

        The packing report contains the checksums of the shards, so no record is read here.
        """
        checksums = self.report().get("checksums") or self.checksums()
        vocabularies = [self.labels, self.tags, *([self.groups] if self.groups else [])]
        content = json.dumps([*vocabularies, checksums], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()

    def checksums(self) -> dict[str, list[str]]:
        """Returns the SHA-256 in hex of every shard of every split, in order; reads all files."""
        return {
            split: [checksums.sha256(path) for path in self._split(split).filepaths] for split in self.splits
        }

    def read(self, split: str) -> "tf.data.Dataset":
        """Returns the records of `split` in order. Raises UserError where a file of the split is damaged.

        A record is a dict of scalar `image` (encoded bytes) and `image_id` (string), and of `labels` and
        `tags`, [any] int64 class ids; in a data set of arrays, its arrays are in place of `image`.
        """
        from msmm.data.tfds import tfds

        self._whole_files(split)
        # One shard after the other, so that the order is the files' own.
        config = tfds.ReadConfig(try_autocache=False, interleave_cycle_length=1)
        decoders = {IMAGE: tfds.decode.SkipDecoding()} if self.has_images else {}
        return self.builder.as_dataset(split=split, decoders=decoders, read_config=config)

    def read_images(self, split: str, rows: np.ndarray | None = None) -> "tf.data.Dataset":
        """Returns the encoded images of `split`: scalar (bytes, row number int64).

        Several times as fast as `read`: it parses nothing else, many records at a time.

        Args:
            split: the name of the split.
            rows: the row numbers to read, in this order; by default all rows, in the order of `read`.
        """
        import tensorflow as tf

        self.require_images()
        feature = {IMAGE: tf.io.FixedLenFeature((), tf.string)}

        def parse(row, serialized):
            return tf.io.parse_example(serialized, feature)[IMAGE], row

        files = self._whole_files(split)
        if rows is None:
            numbered = tf.data.TFRecordDataset(files).enumerate().batch(_PARSED_AT_ONCE)
            return numbered.map(parse).unbatch()
        index = self._record_index(split)

        def read(row):
            read_records = lambda numbers: np.array(index.read(numbers), object)  # noqa: E731
            serialized = tf.numpy_function(read_records, [row], tf.string)
            return parse(row, tf.ensure_shape(serialized, row.shape))

        numbers = tf.data.Dataset.from_tensor_slices(np.asarray(rows, np.int64)).batch(_PARSED_AT_ONCE)
        return numbers.map(read, num_parallel_calls=_READERS, deterministic=True).unbatch()

    def read_arrays(self, split: str, name: str) -> Iterator[np.ndarray]:
        """Yields a given array of the rows of `split`, [B, …] in the order of `read`.

        name: "features" or "maps", one of `arrays`.
        """
        import tensorflow as tf

        shape = (self.arrays or {})[name]
        feature = {name: tf.io.FixedLenFeature((), tf.string)}
        for batch in tf.data.TFRecordDataset(self._whole_files(split)).batch(_ARRAYS_AT_ONCE).prefetch(2):
            content = b"".join(tf.io.parse_example(batch, feature)[name].numpy())
            yield np.frombuffer(content, ARRAY_DTYPES[name]).reshape(-1, *shape)

    def annotations(self, split: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns the annotations of the N images of `split`, in the order of `read`, without decoding them.

        Returns:
            image_ids [N] str, tags [N, T] bool, labels [N, C] bool.

        Raises:
            UserError: a file of the split is damaged.
        """
        image_ids, (tags, labels) = self._parsed(split, {TAGS: len(self.tags), LABELS: len(self.labels)})
        return image_ids, tags, labels

    def group_vectors(self, split: str) -> np.ndarray:
        """Returns the groups of the images of `split`, [N, G] bool, in the order of `read`.

        Raises UserError where the data set has no groups.
        """
        if not self.groups:
            raise UserError(
                f"the data set {self.name!r} has no groups: pack a manifest with the field groups"
            )
        return self._parsed(split, {GROUPS: len(self.groups)})[1][0]

    def _parsed(self, split: str, sizes: dict[str, int]) -> tuple[np.ndarray, list[np.ndarray]]:
        """Returns the image ids, and a matrix [N, size] bool per feature of `sizes`."""
        import tensorflow as tf

        wanted = {name: tf.io.RaggedFeature(tf.int64) for name in sizes}
        wanted[IMAGE_ID] = tf.io.FixedLenFeature((), tf.string)
        self._recorded(split)  # without checksums, reading every record checks its CRC
        count = self.num_examples(split)
        matrices, image_ids = {name: np.zeros((count, size), bool) for name, size in sizes.items()}, []
        try:
            for batch in tf.data.TFRecordDataset(self._files(split)).batch(1024):
                parsed = tf.io.parse_example(batch, wanted)
                for name, matrix in matrices.items():
                    rows = len(image_ids) + parsed[name].value_rowids().numpy()
                    matrix[rows, parsed[name].values.numpy()] = True
                image_ids += [value.decode() for value in parsed[IMAGE_ID].numpy()]
            if len(image_ids) != count:
                raise ValueError(f"{len(image_ids)} records, expected {count}")
        except (tf.errors.OpError, IndexError, ValueError) as error:
            raise UserError(
                f"the records of {split} in {self.directory} are not as its dataset_info.json and "
                f"features.json describe them ({str(error).splitlines()[0]}): {describe_remedy(self.name)}"
            ) from error
        return np.array(image_ids, dtype=str), list(matrices.values())

    def _whole_files(self, split: str) -> list[str]:
        """Returns the files of a split, after a check that they are not damaged.

        Raises UserError where a file differs from SHA256SUMS, or, without checksums, where the CRC of a
        record or the number of records is wrong.
        """
        if not self._recorded(split):
            for path, count in zip(self._files(split), self._split(split).shard_lengths, strict=True):
                record_index.check_records(path, count, os.stat(path).st_mtime_ns, describe_remedy(self.name))
        return self._files(split)

    def _record_index(self, split: str) -> record_index.RecordIndex:
        try:
            return record_index.RecordIndex(self._files(split), self._split(split).shard_lengths)
        except ValueError as error:
            raise UserError(f"{error}: {describe_remedy(self.name)}") from error

    def _files(self, split: str) -> list[str]:
        return [str(path) for path in self._split(split).filepaths]

    def _recorded(self, split: str) -> bool:
        """Returns whether SHA256SUMS covers a split. Raises UserError where a file differs from it."""
        for path in self._files(split):
            checksums.check_file(path, describe_remedy(self.name))
        return (self.directory / checksums.SUMS).exists()

    def _split(self, split: str) -> "tfds.core.SplitInfo":
        if split not in self.builder.info.splits:
            raise UserError(
                f"no split {split!r} in data set {self.name!r}: choose one of {list(self.splits)}"
            )
        return self.builder.info.splits[split]


def open_dataset(data_dir: str | pathlib.Path, name: str) -> Dataset:
    """Opens the newest version of the data set `name` in `data_dir`.

    Raises UserError where there is none, or where it was not made by the packer.
    """
    directory = find_dataset(data_dir, name)
    from msmm.data.tfds import tfds

    remedy = describe_remedy(name)
    for file in checksums.read_sums(directory, remedy) or ():
        if ".tfrecord" not in file:  # records are checked as they are first read
            checksums.check_file(directory / file, remedy)
    try:
        builder = tfds.builder_from_directory(directory)
        present = builder.info.features
        files = [path for info in builder.info.splits.values() for path in info.filepaths]
    except Exception as error:  # TFDS raises many types on damaged files
        raise UserError(
            f"cannot read dataset_info.json, features.json or the files that they name in {directory} "
            f"({str(error).splitlines()[0] if str(error) else type(error).__name__}): {remedy}"
        ) from error
    if not {TAGS, LABELS, IMAGE_ID} <= set(present):
        raise UserError(
            f"expected the features {IMAGE}, {TAGS}, {LABELS}, {IMAGE_ID} in {directory}, found "
            f"{', '.join(sorted(present))}: pack the data set with python -m tfrecords_tools.pack"
        )
    for path in files:
        if pathlib.Path(path).parent.resolve() != directory.resolve():  # paths of TFDS follow no links
            raise UserError(f"{directory}/dataset_info.json names {path}, outside of its folder: {remedy}")
        if not path.exists():
            raise UserError(f"{path} is missing: {remedy}")
    return Dataset(
        name=name,
        directory=directory,
        labels=tuple(present[LABELS].feature.names),
        tags=tuple(present[TAGS].feature.names),
        builder=builder,
        groups=tuple(present[GROUPS].feature.names) if GROUPS in present else (),
        arrays=None
        if IMAGE in present
        else {name: tuple(present[name].shape) for name in ARRAY_DTYPES if name in present},
    )
