"""The XMP files beside a photograph: `photo.jpg.xmp` (digiKam, darktable) and `photo.xmp` (Lightroom)."""

import collections
import contextlib
import errno
import functools
import os
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

from msmm.core.files import is_at, lock, named
from msmm.photos import xmp
from msmm.photos.finding import PHOTOS, UNREADABLE


class CannotWrite(Exception):
    """A sidecar that is left as it is; the message is the cause."""


def to_write(photo: str) -> str:
    """The sidecar to write to: the one that is there, `photo.jpg.xmp` if both are or none is.

    A `photo.xmp` that may as well be of another photograph, `photo.cr2` say, is not written to.
    """
    full, short = _there(photo), _there(os.path.splitext(photo)[0])
    if short and not full and not _shared(photo):
        return short
    return full or f"{photo}.xmp"


def read(photo: str) -> tuple[list[str], list[str]]:
    """The keywords in all sidecars of a photograph, and which of them we have added before.

    A sidecar that cannot be read has none.
    """
    keywords, added = [], []
    for path in filter(None, (_there(photo), _there(os.path.splitext(photo)[0]))):
        with contextlib.suppress(xmp.BadPacket, OSError):
            packet = _parse(path)
            keywords += packet.subjects
            added += packet.texts(xmp.ADDED)
    return keywords, added


def done_by(photo: str) -> str | None:
    """The model that annotated a photograph before, or None.

    Raises CannotWrite where there is a sidecar that cannot be added to.
    """
    path = to_write(photo)
    if not os.path.lexists(path):
        return None
    try:
        return " ".join(_parse(path).texts(xmp.MODEL)) or None
    except xmp.BadPacket as error:
        raise CannotWrite(f"{error} in its sidecar") from None
    except OSError as error:
        raise CannotWrite(f"unreadable sidecar ({error.strerror})") from None


# What the system says of one file; a full disk would refuse the next one too.
_OF_THIS_FILE = (errno.EACCES, errno.EPERM, errno.ENOENT, errno.EISDIR, errno.ENAMETOOLONG)


def write(
    photo: str, keywords: Sequence[str], labels: Sequence[str], model: str, same: Callable[[str], object]
) -> str:
    """Puts `labels` into the sidecar of a photograph, whole or not at all, and returns its path.

    The arguments are those of `xmp.merged`. Raises CannotWrite; a full disk is an OSError.
    """
    path = to_write(photo)
    real = os.path.realpath(path)  # a link stays one
    try:
        with named(real), _partial(f"{real}.partial") as partial:
            if os.path.lexists(path):
                old = pathlib.Path(path).read_bytes()
                os.fchmod(partial.fileno(), os.stat(path).st_mode)
            else:
                old = None
            partial.write(xmp.merged(old, keywords, labels, model, same))
            partial.flush()
            os.replace(partial.name, real)
    except xmp.BadPacket as error:
        raise CannotWrite(f"{error} in its sidecar") from None
    except OSError as error:
        if error.errno not in _OF_THIS_FILE:
            raise
        raise CannotWrite(f"cannot write its sidecar ({error.strerror})") from None
    return path


@contextlib.contextmanager
def _partial(path: str) -> Iterator[BinaryIO]:
    """A file to write to, locked and empty, which is gone afterwards if it was not renamed.

    Raises CannotWrite where another process has it. One that a killed process has left is taken over.
    """
    with open(path, "ab") as file:
        if lock(file.fileno()) is False or not is_at(file, path):
            raise CannotWrite("another process writes its sidecar")
        file.truncate(0)
        try:
            yield file
        finally:
            if is_at(file, path):
                os.remove(path)


def _parse(path: str) -> xmp.Packet:
    with open(path, "rb") as file:
        return xmp.parse(file.read(xmp.MAX_BYTES + 1))


def _there(stem: str) -> str | None:
    return next((path for path in (f"{stem}.xmp", f"{stem}.XMP") if os.path.lexists(path)), None)


def _shared(photo: str) -> bool:
    folder, name = os.path.split(photo)
    stem, extension = os.path.splitext(name)
    itself = extension.lower() in PHOTOS
    return _photos_by_stem(folder or ".")[stem] > itself


@functools.lru_cache(maxsize=2)
def _photos_by_stem(folder: str) -> collections.Counter:
    """How many photographs of a folder have a name that is the same but for the extension."""
    try:
        parts = [os.path.splitext(name) for name in os.listdir(folder)]
    except OSError:  # a folder that may be entered but not listed
        parts = []
    return collections.Counter(stem for stem, extension in parts if extension.lower() in PHOTOS + UNREADABLE)
