"""Arrays on disk that are read row by row, and arrays that are concatenated row by row."""

import functools
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

_READERS = 8  # threads that wait for the disk
_T = TypeVar("_T")


class DiskRows:
    """An array [N, d, …] in a .npy file whose rows are read one by one, in any order.

    A memory map would wait for the disk at every page of a row, one page after the other. Here threads ask
    for whole rows: about ten times faster where the file is not in memory (docs/research/benchmarks.md).
    """

    def __init__(self, array: np.memmap):
        """array: a memory map of the whole file, in C order."""
        self._map = array
        self.shape, self.dtype = array.shape, array.dtype
        self._file = open(str(array.filename), "rb", buffering=0)  # noqa: SIM115 - as long as its array

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Returns the rows with these numbers, [n, …]. Raises OSError if the file is shorter than it was."""
        if not hasattr(os, "preadv"):  # a system without positioned reads
            return self._map[rows]
        rows = np.arange(len(self))[rows]
        taken = np.empty((len(rows), *self.shape[1:]), self.dtype)
        list(_reader_pool().map(self._read, rows.tolist(), taken))
        return taken

    def _read(self, row: int, target: np.ndarray) -> None:
        start = self._map.offset + row * target.nbytes
        size = os.preadv(self._file.fileno(), [target.data], start)
        if size != target.nbytes:
            name = self._map.filename
            raise OSError(f"expected {target.nbytes} bytes of row {row} in {name}. Received: {size}")


@functools.cache
def _reader_pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_READERS, thread_name_prefix="rows")


def read_ahead(items: Iterable[_T]) -> Iterator[_T]:
    """Yields `items`, and computes the next one in a thread while the caller works on this one."""
    iterator, end = iter(items), object()
    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as thread:
        coming = thread.submit(next, iterator, end)
        while (item := coming.result()) is not end:
            coming = thread.submit(next, iterator, end)
            yield item  # type: ignore[misc]


class ConcatenatedRows:
    """Arrays [N, …] side by side; only the rows that are read are concatenated."""

    def __init__(self, *arrays: np.ndarray):
        self._arrays = arrays
        self.shape = (len(arrays[0]), sum(array.shape[1] for array in arrays))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows) -> np.ndarray:
        """Returns some rows, by an index array, mask or slice: [n, sum of the arrays' widths]."""
        return np.concatenate([array[rows] for array in self._arrays], axis=1)
