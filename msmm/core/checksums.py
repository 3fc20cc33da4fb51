"""SHA256SUMS: what the files of a finished directory were when it was finished, so that damage is found.

A line a file, as `sha256sum` writes and checks it. Every file is checked once in a process, before anything
in it is parsed, at the speed of SHA-256 (1.7 GB a second on a core). A directory without SHA256SUMS is of
an earlier version, or of someone who changed a file on purpose: it is read as it is.
"""

import hashlib
import pathlib
from collections.abc import Iterable, Mapping

from msmm.core.errors import UserError
from msmm.core.files import write_bytes

SUMS = "SHA256SUMS"
_BLOCK = 1 << 20  # bytes
_checked: dict[str, tuple] = {}  # path -> what it was as it was found to be right


def write(directory, names: Iterable[str], known: Mapping[str, str] = {}) -> None:
    """Writes SHA256SUMS over the files `names` of a directory.

    known: name -> SHA-256 in hex of files that need not be read, or are yet to be written.
    """
    directory = pathlib.Path(directory)
    sums = {name: known.get(name) or sha256(directory / name) for name in sorted({*names, *known})}
    write_bytes(directory / SUMS, "".join(f"{digest}  {name}\n" for name, digest in sums.items()).encode())


def add(directory, name: str) -> None:
    """Adds a file to the SHA256SUMS of a directory, where that exists."""
    directory = pathlib.Path(directory)
    sums = listed(directory, "save it again")
    if sums is not None:
        write(directory, [name], {k: v for k, v in sums.items() if k != name})


def listed(directory, remedy: str) -> dict[str, str] | None:
    """File name -> SHA-256 in hex; None where there is no SHA256SUMS.

    remedy: what to do about a damaged one. Raises UserError where it is.
    """
    path = pathlib.Path(directory) / SUMS
    if not path.exists():
        return None
    sums = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        digest, parted, name = line.partition("  ")
        if not parted or len(digest) != 64 or not name or "/" in name or "\0" in name:
            raise UserError(f"{path} is damaged: {remedy}")
        sums[name] = digest
    return sums


def check(path, remedy: str) -> None:
    """Raises UserError unless a file is what the SHA256SUMS beside it says, if there is one.

    remedy: how the message ends.
    """
    path = pathlib.Path(path)
    sums = listed(path.parent, remedy)
    if sums is not None:
        _check(path, sums.get(path.name), remedy)


def check_directory(directory, remedy: str) -> None:
    """The same of every file that the SHA256SUMS of a directory names."""
    directory = pathlib.Path(directory)
    sums = listed(directory, remedy)
    if sums == {}:
        raise UserError(f"{directory / SUMS} is empty: {remedy}")
    for name, digest in (sums or {}).items():
        _check(directory / name, digest, remedy)


def _check(path: pathlib.Path, expected: str | None, remedy: str) -> None:
    if expected is None:
        raise UserError(f"{path.parent / SUMS} is damaged, it does not name {path.name}: {remedy}")
    try:
        status = path.stat()
        state = (expected, status.st_ino, status.st_size, status.st_mtime_ns)
        if _checked.get(str(path)) != state:
            if sha256(path) != expected:
                raise UserError(f"{path} is damaged, it is not what {SUMS} says: {remedy}")
            _checked[str(path)] = state
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror}), which {SUMS} names: {remedy}") from None


def sha256(path) -> str:
    """SHA-256 of a file, in hex."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
