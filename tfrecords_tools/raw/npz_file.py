"""Reads the arrays of a .npz file some rows at a time, compressed or not, so that memory stays bounded."""

import dataclasses
import math
import pathlib
import zipfile
import zlib
from typing import IO

import numpy as np

from msmm.core.errors import UserError

_DAMAGES = (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError)


@dataclasses.dataclass(frozen=True)
class Array:
    """An array of a file, not yet read.

    Attributes:
        file: the file.
        name: its key.
        shape, dtype: of the array.
    """

    file: "NpzFile"
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype

    def open(self) -> "Rows":
        """Returns a reader that begins at the first row."""
        return Rows(self)

    def read(self) -> np.ndarray:
        """Returns the whole array."""
        return self.open().take(self.shape[0])


class NpzFile:
    """A .npz file, as numpy.savez and numpy.savez_compressed write it.

    Attributes:
        path: the file.
        arrays: key -> array.

    Raises:
        UserError: it cannot be read, or an array is of a kind that cannot be read a row at a time.
    """

    def __init__(self, path: pathlib.Path):
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except FileNotFoundError:
            raise UserError(f"no file {path}: expected the .npz file of the arrays") from None
        except _DAMAGES as error:
            raise UserError(
                f"cannot read {path} ({error}): expected a .npz file, as numpy.savez writes it"
            ) from error
        self.arrays = {name: self._describe(name) for name in self._names()}

    def open_stream(self, name: str) -> tuple[IO[bytes], tuple, bool, np.dtype]:
        """Opens an array at its first value and returns (stream, shape, Fortran order, type)."""
        stream = self._zip.open(name + ".npy")
        version = np.lib.format.read_magic(stream)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"version {version} of the .npy format")
        read_header = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}
        return stream, *read_header[version[0]](stream)

    def error(self, name: str, problem: str) -> UserError:
        """Returns the error of an array: what is wrong, and what was expected."""
        return UserError(f"{self.path}: {name}: {problem}")

    def _names(self) -> list[str]:
        return [name.removesuffix(".npy") for name in self._zip.namelist() if name.endswith(".npy")]

    def _describe(self, name: str) -> Array:
        try:
            stream, shape, fortran_order, dtype = self.open_stream(name)
            stream.close()
        except _DAMAGES as error:
            raise self.error(name, f"cannot be read ({error}); write the file again") from error
        if dtype.hasobject:
            raise self.error(
                name, "expected numbers or texts, got Python objects; for texts, use np.array(…, dtype=str)"
            )
        if fortran_order and len(shape) > 1:
            raise self.error(name, "expected rows one after the other; save np.ascontiguousarray of it")
        if not shape:
            raise self.error(name, "expected an array with rows, got a single value")
        return Array(self, name, shape, dtype)


class Rows:
    """Reads the rows of an array in their order."""

    def __init__(self, array: Array):
        self._array = array
        self._stream = array.file.open_stream(array.name)[0]

    def take(self, count: int) -> np.ndarray:
        """Returns the next `count` rows, [count, …]. Raises UserError where the file is damaged."""
        array, shape = self._array, (count, *self._array.shape[1:])
        size = math.prod(shape) * array.dtype.itemsize
        try:
            content = self._stream.read(size)  # at the end of the array, its checksum is checked
            if len(content) != size:
                raise EOFError(f"{size - len(content)} bytes are missing")
        except _DAMAGES as error:
            raise array.file.error(array.name, f"cannot be read ({error}); write the file again") from error
        return np.frombuffer(content, array.dtype).reshape(shape)
