"""SHA256SUMS: checksums of the files of a finished directory, so that damage is detected.

One line per file, as `sha256sum` writes and checks it. Every file is checked once per process, before it is
parsed, at the speed of SHA-256 (1.7 GB a second on one core). A directory without SHA256SUMS comes from an
earlier version, or from a person who changed a file on purpose: it is read as it is.
"""

import functools
import hashlib
import pathlib
from collections.abc import Iterable, Mapping

from msmm.core.errors import UserError
from msmm.core.files import write_bytes

SUMS = "SHA256SUMS"
_BLOCK = 1 << 20  # bytes
_checked: dict[str, tuple] = {}  # path -> its checksum, number, size and time when it was found correct


def write(directory, names: Iterable[str], known: Mapping[str, str] = {}) -> None:
    """Writes SHA256SUMS over the files `names` of a directory.

    Args:
      directory: the directory.
      names: file names in it.
      known: name -> SHA-256 in hex of files that need not be read, or are yet to be written.
    """
    directory = pathlib.Path(directory)
    sums = {name: known.get(name) or sha256(directory / name) for name in sorted({*names, *known})}
    write_bytes(directory / SUMS, "".join(f"{digest}  {name}\n" for name, digest in sums.items()).encode())


def add(directory, name: str) -> None:
    """Adds a file to the SHA256SUMS of a directory, where that exists."""
    directory = pathlib.Path(directory)
    sums = read_sums(directory, "save it again")
    if sums is not None:
        write(directory, [name], {k: v for k, v in sums.items() if k != name})


def read_sums(directory, remedy: str) -> dict[str, str] | None:
    """Reads SHA256SUMS: file name -> SHA-256 in hex; None where there is none.

    Args:
      directory: the directory.
      remedy: what to do about a damaged SHA256SUMS; part of the UserError that it raises.
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


def check_file(path, remedy: str) -> None:
    """Raises UserError where a file differs from its checksum in the SHA256SUMS beside it, if there is one.

    Args:
      path: the file.
      remedy: what to do; the message ends with it.
    """
    path = pathlib.Path(path)
    sums = read_sums(path.parent, remedy)
    if sums is not None:
        _check(path, sums.get(path.name), remedy)


def check_directory(directory, remedy: str) -> None:
    """Checks every file in the SHA256SUMS of a directory, as `check_file` does."""
    directory = pathlib.Path(directory)
    sums = read_sums(directory, remedy)
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
                raise UserError(f"{path} is damaged, it differs from its checksum in {SUMS}: {remedy}")
            _checked[str(path)] = state
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror}), which {SUMS} names: {remedy}") from None


def sha256(path) -> str:
    """Returns the SHA-256 of a file, in hex."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def sha256_of_content(path) -> str:
    """Returns the SHA-256 of a file, or of all files in a folder, in hex; an unchanged file is read once."""
    path = pathlib.Path(path)
    if path.is_file():
        return _sha256_once(path)
    names = sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())
    lines = (f"{_sha256_once(path / name)}  {name}\n" for name in names)
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def _sha256_once(path: pathlib.Path) -> str:
    status = path.stat()
    return _sha256_of_state(str(path.absolute()), status.st_ino, status.st_size, status.st_mtime_ns)


@functools.cache
def _sha256_of_state(path: str, *state: int) -> str:
    return sha256(path)
