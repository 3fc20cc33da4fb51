"""TFRecord files: where each record begins, reading some records by number, and checking all of them.

A record is its length (8 bytes, little endian), the CRC of the length (4), the content, and the CRC of the
content (4).
"""

import functools
import mmap
import os
import struct
from collections.abc import Sequence

import numpy as np

from msmm.core.errors import UserError

_HEADER, _FOOTER = 12, 4  # bytes around the content of a record
_LENGTH = struct.Struct("<Q")


class RecordIndex:
    """The records of several TFRecord files, numbered through in the order of the files.

    The index takes 24 bytes of memory per record. Building it reads only the lengths of the records.

    Args:
        paths: the files.
        counts: the number of records in each file. Raises ValueError where a file has another number.
    """

    def __init__(self, paths: Sequence[str], counts: Sequence[int]):
        self._paths = list(paths)
        offsets = [_find_offsets(path, os.stat(path).st_mtime_ns) for path in self._paths]
        for path, ends, count in zip(self._paths, offsets, counts, strict=True):
            if len(ends) - 1 != count:
                raise ValueError(f"{path} has {len(ends) - 1} records, expected {count}")
        self._files = np.repeat(np.arange(len(self._paths)), counts)
        self._starts = np.concatenate([ends[:-1] for ends in offsets])
        self._sizes = np.concatenate([np.diff(ends) for ends in offsets])

    def read(self, rows: np.ndarray) -> list[bytes]:
        """Returns the contents of the records `rows`, in the order given. Opens each file once."""
        contents: list[bytes] = [b""] * len(rows)
        files, starts, sizes = self._files[rows], self._starts[rows].tolist(), self._sizes[rows].tolist()
        for file in np.unique(files):
            descriptor = os.open(self._paths[file], os.O_RDONLY)
            try:
                for place in np.flatnonzero(files == file).tolist():
                    record = os.pread(descriptor, sizes[place], starts[place])
                    whole = len(record) == sizes[place]
                    if not whole or _LENGTH.unpack_from(record)[0] != len(record) - _HEADER - _FOOTER:
                        raise ValueError(f"{self._paths[file]} has changed since it was opened")
                    contents[place] = record[_HEADER:-_FOOTER]
            finally:
                os.close(descriptor)
        return contents


@functools.lru_cache(maxsize=4096)
def _find_offsets(path: str, changed: int) -> np.ndarray:
    """Returns int64 [records + 1]: where each record of a file begins, and the end of the file.

    changed: the time of the last change, so that a changed file is read again.
    """
    offsets, size = [0], os.path.getsize(path)
    if size:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            while offsets[-1] + _HEADER + _FOOTER <= size:
                length = _LENGTH.unpack_from(content, offsets[-1])[0]
                offsets.append(offsets[-1] + _HEADER + length + _FOOTER)
    if offsets[-1] != size:
        raise ValueError(f"{path} ends within a record")
    return np.array(offsets, np.int64)


@functools.cache
def check_records(path: str, count: int, changed: int, remedy: str) -> None:
    """Raises UserError where a CRC of a file is wrong or a record is missing.

    Args:
        path: the file.
        count: the number of records that it should have.
        changed: the time of the last change, so that a changed file is read again.
        remedy: the end of the message.
    """
    import tensorflow as tf

    try:
        records = int(tf.data.TFRecordDataset(path).reduce(np.int64(0), lambda n, _: n + 1))
    except tf.errors.OpError as error:
        raise UserError(f"{path} is damaged ({error.message.splitlines()[0]}): {remedy}") from error
    if records != count:
        raise UserError(f"{path} has {records} records, expected {count}: {remedy}")
