"""Reads and writes XMP files beside a photograph: `photo.jpg.xmp` (digiKam, darktable) and `photo.xmp`
(Lightroom).

A camera raw file's is `photo.xmp`: Lightroom and Capture One know no other, darktable reads it at import. The
exception is DNG, whose keywords Lightroom keeps in the file itself.
"""

import codecs
import collections
import contextlib
import errno
import functools
import os
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

from msmm.core import photo_files
from msmm.core.files import add_path_to_errors, is_at, lock
from msmm.core.text import normalise_tag
from msmm.photos import xmp, xmp_merging, xmp_record
from msmm.photos.keywords import Keywords, join_keywords, read_packet, without_keywords
from msmm.photos.xmp_record import Record


class CannotWrite(Exception):
    """Raised for a sidecar that is left as it is; the message is the cause."""


def choose_sidecar(photo: str) -> str:
    """Returns the sidecar to write to: the one that exists, `photo.jpg.xmp` if both do.

    If none does, it is `photo.xmp` for a camera raw file, else `photo.jpg.xmp`. A `photo.xmp` that may as
    well belong to another photograph, such as `photo.cr2`, is not written to.
    """
    full, short = _find_own_sidecars(photo)
    if full or short:
        return full or short
    wants_short = _has_short_sidecar(photo) and not _shared(photo)
    return f"{os.path.splitext(photo)[0] if wants_short else photo}.xmp"


def _find_own_sidecars(photo: str) -> tuple[str, str]:
    """Returns the sidecars that belong to this photograph alone: `photo.jpg.xmp` and `photo.xmp`, or ""."""
    short = _find_sidecar(os.path.splitext(photo)[0])
    return _find_sidecar(photo), short if short and not _shared(photo) else ""


def read_sidecars(photo: str) -> tuple[Keywords, list[str]]:
    """Returns the keywords in all sidecars of a photograph, and which of them a model has added before.

    What a model added to a sidecar that may be another photograph's is in neither: it says nothing about a
    keyword that this one has.
    """
    packets, problems = _read_packets(photo)
    own = _find_own_sidecars(photo)
    parts, added = [], []
    for path, packet in packets.items():
        machine = xmp_record.machine_words(packet)
        if path in own:
            parts.append(read_packet(packet))
            added += machine
        else:
            parts.append(without_keywords(read_packet(packet), set(map(normalise_tag, machine))))
    return join_keywords([*parts, Keywords(problems=tuple(problems))]), added


def read_packets(photo: str) -> list[xmp.Packet]:
    """Returns the packets of all sidecars of a photograph that can be read."""
    return list(_read_packets(photo)[0].values())


def _read_packets(photo: str) -> tuple[dict[str, xmp.Packet], list[str]]:
    """Returns the packets of all sidecars by their paths, and causes why some were not read."""
    packets, problems = {}, []
    for path in filter(None, (_find_sidecar(photo), _find_sidecar(os.path.splitext(photo)[0]))):
        try:
            packets[path] = xmp.parse_any(_read(path))
        except xmp.BadPacket as error:
            problems.append(f"{error} in its sidecar")
        except OSError as error:
            problems.append(f"unreadable sidecar ({error.strerror})")
    return packets, problems


def find_annotator(photo: str) -> str | None:
    """Returns the model that annotated a photograph before, or None.

    Of two sidecars the other one counts as well: darktable makes its own of a `photo.xmp`.

    Raises:
      CannotWrite: the sidecar to write to cannot be added to.
    """
    full, short = _find_own_sidecars(photo)
    found = [_read_annotator(path) for path in (full or short,) if path]
    if full and short:
        with contextlib.suppress(CannotWrite):
            found.append(_read_annotator(short))
    return next(filter(None, found), None)


def _read_annotator(path: str) -> str | None:
    try:
        return " ".join(xmp.parse(_read(path)).texts(xmp.MODEL)) or None
    except xmp.BadPacket as error:
        raise CannotWrite(f"{error} in its sidecar") from None
    except OSError as error:
        raise CannotWrite(f"unreadable sidecar ({error.strerror})") from None


def has_keywords(photo: str) -> bool:
    """Returns whether the sidecar to write to has a list of keywords, be it empty."""
    with contextlib.suppress(OSError, xmp.BadPacket):
        packet = xmp.parse(_read(choose_sidecar(photo)))
        attributes = (name for description in packet.rdf.children for name in description.attributes)
        return xmp.SUBJECT in (*attributes, *(element.name for element in packet.properties))
    return False


# Errors that concern one file; a full disk would refuse the next one too.
_OF_THIS_FILE = (errno.EACCES, errno.EPERM, errno.ENOENT, errno.EISDIR, errno.ENAMETOOLONG)


def write_labels(
    photo: str,
    keywords: Sequence[str],
    labels: Sequence[str],
    model: str,
    key: Callable[[str], object],
    hierarchy: str = "",
) -> str:
    """Puts `labels` into the sidecar of a photograph, whole or not at all, and returns its path.

    The other arguments are the same as for `xmp_merging.merge_keywords`.

    Raises:
      CannotWrite: with the cause. A full disk is an OSError.
    """
    path = choose_sidecar(photo)
    _rewrite(path, lambda old: xmp_merging.merge_keywords(old, keywords, labels, model, key, hierarchy))
    return path


def change_record(
    photo: str, keywords: Sequence[str], change: Callable[[Record], Record], key: Callable[[str], object]
) -> str:
    """Changes what msmm has written into the sidecar of a photograph, and returns the sidecar's path.

    If only msmm's empty template remains, the sidecar is deleted. The arguments are the same as for
    `xmp_merging.apply_change`.

    Raises:
      CannotWrite: with the cause. A full disk is an OSError.
    """
    path = choose_sidecar(photo)
    _rewrite(path, lambda old: xmp_merging.apply_change(old, keywords, change, key))
    return path


def read_record(photo: str) -> Record:
    """Returns the record in the sidecar to write to, blank where there is none or it cannot be read."""
    with contextlib.suppress(OSError, xmp.BadPacket):
        return xmp_record.read_record(xmp.parse(_read(choose_sidecar(photo))))
    return Record()


def remove_labels(photo: str, key: Callable[[str], object], dry_run: bool = False) -> list[str] | None:
    """Takes out of the sidecars of a photograph what a model has added; a person's keywords stay.

    Args:
      photo: the path of the photograph.
      key: see `xmp_merging.apply_change`.
      dry_run: whether nothing is written.

    Returns:
      The removed keywords; None where no model has annotated the photograph.

    Raises:
      CannotWrite: with the cause.
    """
    removed: dict[str, None] | None = None
    for path in filter(None, _find_own_sidecars(photo)):
        try:
            record = xmp_record.read_record(xmp.parse(_read(path)))
        except (xmp.BadPacket, OSError):
            continue  # nothing there is ours
        if record == record.without_machine():
            continue
        removed = (removed or {}) | dict.fromkeys(record.added)
        if not dry_run:
            _rewrite(path, lambda old: xmp_merging.apply_change(old, (), Record.without_machine, key))
    return None if removed is None else list(removed)


def _rewrite(path: str, edit: Callable[[bytes | None], bytes]) -> None:
    """Replaces a sidecar by its edited content, or makes one, whole or not at all."""
    real = os.path.realpath(path)  # a link stays one
    try:
        with add_path_to_errors(real), _partial(f"{real}.partial") as partial:
            old = None
            exists = os.path.lexists(path)
            if exists:
                old = pathlib.Path(path).read_bytes()
                old = old if _has_content(old) else None
                os.fchmod(partial.fileno(), os.stat(path).st_mode)
            new = edit(old)
            if new == xmp_merging.EMPTY:
                if exists and not os.path.islink(path):
                    os.remove(path)
                    return
                if not exists:
                    return
            partial.write(new)
            partial.flush()
            os.replace(partial.name, real)
    except xmp.BadPacket as error:
        raise CannotWrite(f"{error} in its sidecar") from None
    except OSError as error:
        if error.errno not in _OF_THIS_FILE:
            raise
        raise CannotWrite(f"cannot write its sidecar ({error.strerror})") from None


@contextlib.contextmanager
def _partial(path: str) -> Iterator[BinaryIO]:
    """Opens a file to write to, locked and empty, and removes it afterwards if it was not renamed.

    One that a killed process has left is taken over.

    Raises:
      CannotWrite: another process has it.
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


def _read(path: str) -> bytes:
    """Returns the bytes of a sidecar; an empty packet for one that a crash or a full disk has left blank."""
    with open(path, "rb") as file:
        data = file.read(xmp.MAX_BYTES + 1)
    return data if _has_content(data) else xmp_merging.EMPTY


def _has_content(data: bytes) -> bool:
    return bool(data.removeprefix(codecs.BOM_UTF8).strip(b"\0 \t\r\n"))


def _find_sidecar(stem: str) -> str:
    return next((path for path in (f"{stem}.xmp", f"{stem}.XMP") if os.path.lexists(path)), "")


def _has_short_sidecar(photo: str) -> bool:
    """Returns whether programs expect `photo.xmp` beside a photograph."""
    return photo_files.is_camera_raw_name(photo) and not photo.lower().endswith(".dng")


def _shared(photo: str) -> bool:
    """Returns whether `photo.xmp` may be of another photograph.

    Of a camera raw file and the JPEG beside it, it is the raw file's.
    """
    folder, name = os.path.split(photo)
    stem = os.path.splitext(name)[0]
    names = _photos_by_stem(folder or ".").get(stem, [])
    if _has_short_sidecar(name):
        names = [other for other in names if _has_short_sidecar(other)]
    return any(other != name for other in names)


@functools.lru_cache(maxsize=2)
def _photos_by_stem(folder: str) -> dict[str, list[str]]:
    """Returns the names of the photographs of a folder by what is before their extension."""
    found = collections.defaultdict(list)
    with contextlib.suppress(OSError):  # a folder that may be entered but not listed
        for name in os.listdir(folder):
            if photo_files.is_photograph(name, b""):
                found[os.path.splitext(name)[0]].append(name)
    return dict(found)
