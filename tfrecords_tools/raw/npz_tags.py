"""Tags in a .npz file: none, a matrix, or the parts of a scipy CSR matrix; read some rows at a time."""

import numpy as np

from msmm.core.errors import UserError
from tfrecords_tools.raw.npz_file import Array, NpzFile, Rows

SPARSE = ("tags_data", "tags_indices", "tags_indptr", "tags_shape")


class NoTags:
    """Tags of a file without any."""

    width = 0

    def open(self) -> "NoTags":
        return self

    def take(self, count: int) -> list[np.ndarray]:
        """Returns no tag for the next `count` rows."""
        return [np.zeros(0, int)] * count


class DenseTags:
    """Tags as a matrix: [N, T]."""

    def __init__(self, array: Array):
        self._array, self.width = array, array.shape[1]

    def open(self) -> "DenseTags":
        opened = DenseTags(self._array)
        opened._rows, opened._next = self._array.open(), 0
        return opened

    def take(self, count: int) -> list[np.ndarray]:
        """Returns the columns of the tags of the next `count` rows."""
        numbers = range(self._next, self._next + count)
        self._next += count
        taken = self._rows.take(count)
        return [np.flatnonzero(_present(self._array, *row)) for row in zip(taken, numbers, strict=True)]


class SparseTags:
    """Tags as a scipy CSR matrix in its parts; the values are read as they are needed."""

    def __init__(self, file: NpzFile, count: int):
        parts = {name: file.arrays[name] for name in SPARSE if name in file.arrays}
        if len(parts) != len(SPARSE):
            raise UserError(f"{file.path}: expected all of {', '.join(SPARSE)}, got {', '.join(parts)}")
        for name, array in parts.items():
            kinds, wanted = ("biuf", "numbers") if name == "tags_data" else ("iu", "integers")
            if array.dtype.kind not in kinds:
                raise file.error(name, f"expected {wanted}, got values of type {array.dtype}")
        self._data, self._indices, ends, shape = parts.values()
        rows, self.width = shape.read().tolist() if shape.shape == (2,) else (None, None)
        if rows != count:
            raise file.error("tags_shape", f"expected ({count}, T), as many rows as labels has")
        self._ends = ends.read().astype(np.int64) if ends.shape == (count + 1,) else np.zeros(0)
        if not len(self._ends) or self._ends[0] or (np.diff(self._ends) < 0).any():
            raise file.error("tags_indptr", f"expected {count + 1} rising numbers from 0 on")
        for array in (self._data, self._indices):
            if array.shape != (self._ends[-1],):
                raise file.error(array.name, f"expected {self._ends[-1]} values, got {list(array.shape)}")

    def open(self) -> "SparseTags":
        self._readers: tuple[Rows, Rows] = (self._data.open(), self._indices.open())
        self._next = 0
        return self

    def take(self, count: int) -> list[np.ndarray]:
        """Returns the columns of the tags of the next `count` rows."""
        ends = self._ends[self._next : self._next + count + 1]
        self._next += count
        values, columns = (reader.take(int(ends[-1] - ends[0])) for reader in self._readers)
        if len(columns) and not (columns.min() >= 0 and columns.max() < self.width):
            raise self._indices.file.error("tags_indices", f"expected columns from 0 to {self.width - 1}")
        rows = np.repeat(np.arange(self._next - count, self._next), np.diff(ends))
        present = _present(self._data, values, rows)
        return [
            np.unique(columns[start:end][present[start:end]])
            for start, end in zip(ends[:-1] - ends[0], ends[1:] - ends[0], strict=True)
        ]


def open_tags(file: NpzFile, count: int) -> NoTags | DenseTags | SparseTags:
    """Returns the tags of a file with `count` rows."""
    sparse = [name for name in SPARSE if name in file.arrays]
    if "tags" in file.arrays:
        if sparse:
            raise UserError(f"{file.path}: expected tags or {sparse[0]}, got both")
        return DenseTags(file.arrays["tags"])
    return SparseTags(file, count) if sparse else NoTags()


def _present(array: Array, values: np.ndarray, rows: int | np.ndarray) -> np.ndarray:
    """Returns which values are above 0. Raises UserError where one is negative or not a number.

    rows: of the file, in which the values stand.
    """
    wrong = ~(values >= 0)
    if wrong.any():
        row = np.broadcast_to(rows, values.shape)[wrong][0]
        raise array.file.error(
            array.name, f"expected values of 0 or more, got {values[wrong][0]} in row {row}"
        )
    return values > 0
