"""The data set `arrays`: labels with tags, features or maps of one's own, from a .npz file, without images.

    labels       [N, C] of 0 and 1, the only required key
    features     [N, D] numbers, one vector a row
    maps         [N, h, w, D] numbers, the last feature map of a network
    tags         [N, T], a tag is present where the value is above 0; or a scipy CSR matrix in four parts:
                 tags_data, tags_indices, tags_indptr, tags_shape
    ids          [N] texts or integers; the numbers of the rows by default
    split        [N] "train" or "test"; by a hash of the id by default
    label_names  [C], tag_names [T] texts

The file is read a few rows at a time, once to check it and once for each split.
"""

import collections
import dataclasses
import math
import pathlib
import re
from collections.abc import Iterator

import numpy as np

from msmm.core import text
from msmm.core.errors import UserError
from msmm.data import records
from tfrecords_tools.packing.raw_dataset import (
    Contents,
    RawDataset,
    Row,
    Settings,
    check_test_share,
    choose_split,
    option,
)
from tfrecords_tools.raw import npz_tags
from tfrecords_tools.raw.npz_file import NpzFile

DIMENSIONS = {"labels": 2, records.FEATURES: 2, records.MAPS: 4, "tags": 2}
NAMES = ("ids", "split", "label_names", "tag_names")
SPLITS = ("train", "test")
_BLOCK = 2**23  # bytes of an array that are read at a time


@dataclasses.dataclass(kw_only=True)
class Arrays(RawDataset):
    """The rows of a .npz file."""

    arrays: str | pathlib.Path = option(
        "The .npz file of labels, tags, features and maps.",
        required="FILE, a .npz file of labels, tags, features or maps",
    )
    test_share: float = option("Share (0 to 1) to test on, where the file has no split.", 0.2)

    lists = ("arrays",)

    def read(self, settings: Settings) -> Contents:
        """Checks the shapes and reads all but the large arrays."""
        check_test_share(self.test_share)
        self._file = file = NpzFile(pathlib.Path(self.arrays))
        self._check_keys()
        self._count, num_labels = file.arrays["labels"].shape
        self._tags = npz_tags.open_tags(file, self._count)
        self._label_names = self._names("label_names", "label", num_labels)
        self._tag_names = self._names("tag_names", "tag", self._tags.width)
        self._ids = self._read_ids()
        self._splits = self._read_splits()
        counts = collections.Counter(self._splits.tolist())
        if not counts["train"]:
            raise UserError(f"{file.path} has no train rows: set split, or choose another --test_share")
        return Contents(
            description=f"Arrays {file.path.name}",
            labels=self._label_names,
            tags=self._tag_names,
            num_rows={split: counts[split] for split in SPLITS if counts[split]},
            arrays={name: file.arrays[name].shape[1:] for name in self._given_arrays()},
        )

    def rows(self, split: str) -> Iterator[Row]:
        """Yields the rows of `split`, in the order of the file."""
        names = ("labels", *self._given_arrays())
        readers = {name: self._file.arrays[name].open() for name in names}
        tag_reader = self._tags.open()
        step = self._rows_at_once()
        for start in range(0, self._count, step):
            rows = range(start, min(start + step, self._count))
            labels = self._labels(readers["labels"].take(len(rows)), start)
            tags = tag_reader.take(len(rows))
            given = {n: self._numbers(n, readers[n].take(len(rows)), start) for n in self._given_arrays()}
            for i, row in enumerate(rows):
                if self._splits[row] != split:
                    continue
                yield Row(
                    self._ids[row],
                    None,
                    tuple(self._label_names[j] for j in np.flatnonzero(labels[i])),
                    tuple(self._tag_names[j] for j in tags[i]),
                    arrays={name: array[i] for name, array in given.items()},
                )

    def default_name(self) -> str:
        """Returns the name of the file."""
        return re.sub(r"\W+", "_", pathlib.Path(self.arrays).stem, flags=re.ASCII)

    def _given_arrays(self) -> list[str]:
        return [name for name in records.ARRAY_DTYPES if name in self._file.arrays]

    def _rows_at_once(self) -> int:
        """Returns the number of rows that take at most `_BLOCK` bytes in every array, at least 1."""
        arrays = [self._file.arrays[name] for name in DIMENSIONS if name in self._file.arrays]
        sizes = [array.dtype.itemsize * math.prod(array.shape[1:]) for array in arrays]
        return max(1, min(1024, _BLOCK // max(sizes)))

    def _check_keys(self) -> None:
        """Raises UserError where a key is missing or unknown, or an array has another shape than expected."""
        file, known = self._file, {*DIMENSIONS, *npz_tags.SPARSE, *NAMES}
        if unknown := sorted(file.arrays.keys() - known):
            raise UserError(
                f"{file.path}: expected the keys {', '.join(sorted(known))}. Received: {', '.join(unknown)}"
            )
        if "labels" not in file.arrays or not file.arrays.keys() & {*DIMENSIONS, *npz_tags.SPARSE} - {
            "labels"
        }:
            raise UserError(
                f"{file.path}: expected labels and any of features, maps and tags, got "
                f"{', '.join(file.arrays) or 'nothing'}"
            )
        for name, dimensions in DIMENSIONS.items():
            array, count = file.arrays.get(name), file.arrays["labels"].shape[0]
            if array is None:
                continue
            expected = "[N, h, w, D]" if dimensions == 4 else "[N, columns]"
            if len(array.shape) != dimensions or (0 in array.shape and name != "tags"):
                raise file.error(name, f"expected the shape {expected}, got {list(array.shape)}")
            if array.shape[0] != count:
                raise file.error(name, f"expected {count} rows, as labels has. Received: {array.shape[0]}")
            if array.dtype.kind not in "biuf":
                raise file.error(name, f"expected numbers, got values of type {array.dtype}")

    def _texts(self, name: str, count: int) -> list[str]:
        array = self._file.arrays[name]
        if array.shape != (count,) or array.dtype.kind not in "USiu":
            raise self._file.error(
                name, f"expected {count} texts, got an array {list(array.shape)} of type {array.dtype}"
            )
        texts = []
        for row, value in enumerate(array.read().tolist()):
            try:
                texts.append(value.decode() if isinstance(value, bytes) else str(value))
                texts[-1].encode()  # as records and hashes need it
            except UnicodeError:
                raise self._file.error(name, f"expected texts in UTF-8, got {value!a} in row {row}") from None
        return texts

    def _names(self, key: str, default: str, count: int) -> tuple[str, ...]:
        if key not in self._file.arrays:
            return tuple(f"{default} {i}" for i in range(count))
        normalise = text.normalise_label if default == "label" else text.normalise_tag
        names = tuple(normalise(name) for name in self._texts(key, count))
        if "" in names:
            raise self._file.error(key, f"expected names, got an empty one in row {names.index('')}")
        if twice := [name for name, number in collections.Counter(names).items() if number > 1]:
            raise self._file.error(key, f"expected different names, got {twice[0]!r} more than once")
        return names

    def _read_ids(self) -> list[str]:
        if "ids" not in self._file.arrays:
            return [f"row-{i:07d}" for i in range(self._count)]
        return self._texts("ids", self._count)

    def _read_splits(self) -> np.ndarray:
        if "split" not in self._file.arrays:
            return np.array([choose_split(row_id, self.test_share) for row_id in self._ids])
        splits = np.array(self._texts("split", self._count))
        if (other := set(splits.tolist()) - set(SPLITS)) and self._count:
            raise self._file.error("split", f"expected train or test, got {sorted(other)[0]!r}")
        return splits

    def _labels(self, values: np.ndarray, start: int) -> np.ndarray:
        wrong = ~((values == 0) | (values == 1))
        if wrong.any():
            i, j = np.argwhere(wrong)[0]
            raise self._file.error("labels", f"expected 0 or 1, got {values[i, j]} in row {start + i}")
        return values != 0

    def _numbers(self, name: str, values: np.ndarray, start: int) -> np.ndarray:
        """Returns rows of features or maps in the type of the records."""
        with np.errstate(over="ignore"):  # the next check has a better message
            values = values.astype(records.ARRAY_DTYPES[name])
        finite = np.isfinite(values).reshape(len(values), -1).all(axis=1)
        if not finite.all():
            row = start + int(np.argmin(finite))
            raise self._file.error(name, f"expected numbers that {values.dtype} holds, not so in row {row}")
        return values
