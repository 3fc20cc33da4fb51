"""Atomic writes and locks: a file of a work directory is the old one or the whole new one, never half."""

import contextlib
import errno
import fcntl
import json
import os
import pathlib
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from typing import IO

from msmm.core.errors import DirectoryInUse, UserError


def read_json(path, remedy: str = "delete it, and what it describes is made again") -> dict:
    """Reads a JSON file that holds an object. Raises UserError with its name and the `remedy` otherwise."""
    try:
        content = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError(f"expected an object {{…}}, not {type(content).__name__}")
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged ({error}): {remedy}") from error
    return content


def write_json(path, content) -> None:
    """Writes a JSON file, and its directory if need be."""
    write_bytes(path, json_bytes(content))


def json_bytes(content) -> bytes:
    """Returns the content that `write_json` writes."""
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()


def write_bytes(path, content: bytes) -> None:
    """Writes a file, and its directory if need be."""
    with atomic_write(path) as partial:
        partial.write_bytes(content)


def make_folder(path, remedy: str = "choose another place") -> None:
    """Makes a folder, and those above it. Raises UserError with the `remedy` where one of them is a file."""
    check_folder(path, remedy)
    pathlib.Path(path).mkdir(parents=True, exist_ok=True)


def check_folder(path, remedy: str) -> None:
    """Raises UserError with the `remedy` where a file is in the place of a folder, or of one above it."""
    path = pathlib.Path(path)
    for place in (path, *path.parents):
        if os.path.lexists(place) and not place.is_dir():
            raise UserError(f"expected a folder, {place} is a file: {remedy}")


PARTIAL = "partial-"  # beginning of the name of an unfinished file


@contextlib.contextmanager
def atomic_write(path) -> Iterator[pathlib.Path]:
    """Yields a path to write to, which replaces `path` at the end; makes its directory.

    It keeps the ending of the name, by which some libraries choose the format. Processes that write the same
    file wait for each other.
    """
    path = pathlib.Path(path)
    if not path.name or path.is_dir():
        raise UserError(f"expected a file to write, {path} is a folder: name a file in it")
    make_folder(path.parent)
    partial = path.with_name(PARTIAL + path.name)
    with _alone(partial):
        try:
            with add_path_to_errors(path):
                yield partial
                os.replace(partial, path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def _alone(partial: pathlib.Path) -> Iterator[None]:
    """Locks a file, empty or left by a killed process, against other processes."""
    while True:  # until it still exists once it is locked
        with open(partial, "ab") as file:
            if lock(file.fileno()) is not False and is_at(file, partial):
                yield
                return
        time.sleep(0.01)


@contextlib.contextmanager
def add_path_to_errors(path) -> Iterator[None]:
    """Adds `path` to an OSError that names no file, such as the error of a write to a full disk."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


@contextlib.contextmanager
def lock_directory(directory) -> Iterator[None]:
    """Locks a directory against other processes; the lock ends with this process, however that ends.

    Raises DirectoryInUse where another process has locked it.
    """
    directory = pathlib.Path(directory)
    make_folder(directory)
    with open(directory / "lock", "a+", encoding="utf-8") as file:
        if lock(file.fileno()) is False:
            file.seek(0)
            raise DirectoryInUse(
                f"process {file.read().strip()} is at work in {directory}: wait for it, or choose another "
                "--workdir or --seed"
            )
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def is_at(file: IO, path) -> bool:
    """Returns whether an open file is the one at this path now."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


def stamp(path) -> tuple[int, int] | None:
    """Returns a file's size and time, which change when it is written or replaced; None if there is none."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        stat = os.stat(path)
        return stat.st_size, stat.st_mtime_ns
    return None


# Errors of file systems without locks; the last is NFS's, of a directory.
NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EBADF)


def lock(descriptor: int) -> bool | None:
    """Locks an open file or directory until it is closed or the process ends.

    Returns:
      True; False where another process has locked it; None on a file system without locks.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        return None


@contextlib.contextmanager
def atomic_directory(directory, replace: bool = True) -> Iterator[pathlib.Path]:
    """Yields an empty directory to write into, which replaces `directory` at the end.

    It is `<name>.partial-…` until then, and locked. One without a lock was left by a killed process. The next
    process that writes the same `directory` removes it. Without `replace`, a `directory` that another process
    has made meanwhile stays, and this one is removed.
    """
    directory = pathlib.Path(directory)
    make_folder(directory.parent)
    clean(directory.parent, directory.name)
    partial, descriptor = _partial(directory)
    try:
        with add_path_to_errors(directory):
            yield partial
            _put(partial, directory, replace)
    finally:
        remove(partial)
        os.close(descriptor)


def clean(parent: pathlib.Path, name: str | None = None) -> None:
    """Removes unfinished directories that killed processes left of `parent / name`, or of all in `parent`.

    A directory that was set aside for its successor is restored if the successor never came.
    """
    for left in parent.iterdir():
        match = _LEFT.fullmatch(left.name)
        if not match or name not in (None, match["name"]) or not left.is_dir():
            continue
        with contextlib.suppress(OSError), _opened(left) as descriptor:  # another process may do the same
            if not lock(descriptor):
                continue
            if match["what"] == "replaced" and not (parent / match["name"]).exists():
                os.rename(left, parent / match["name"])
            else:
                shutil.rmtree(left)


_LEFT = re.compile(r"(?P<name>.+)\.(?P<what>partial|replaced)-[0-9a-f]{8}", re.DOTALL)


def _partial(directory: pathlib.Path) -> tuple[pathlib.Path, int]:
    while True:  # another process may remove the new one before it is locked
        partial = directory.with_name(f"{directory.name}.partial-{uuid.uuid4().hex[:8]}")
        partial.mkdir()
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(partial, os.O_RDONLY)
            if lock(descriptor) is not False and partial.exists():
                return partial, descriptor
            os.close(descriptor)


@contextlib.contextmanager
def _opened(directory: pathlib.Path) -> Iterator[int]:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _put(partial: pathlib.Path, directory: pathlib.Path, replace: bool) -> None:
    """Renames `partial` to `directory`; an existing one is set aside first, never half removed."""
    aside = directory.with_name(f"{directory.name}.replaced-{uuid.uuid4().hex[:8]}")
    while True:
        try:
            os.rename(partial, directory)
            break
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        if not replace:
            return
        with contextlib.suppress(FileNotFoundError):
            os.rename(directory, aside)
    shutil.rmtree(aside, ignore_errors=True)  # another process may be cleaning it away


def write_lines(path, lines) -> None:
    """Writes a text file, one line per item."""
    pathlib.Path(path).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def remove(directory) -> None:
    """Deletes a directory with its content, if it exists."""
    if pathlib.Path(directory).exists():
        shutil.rmtree(directory)
