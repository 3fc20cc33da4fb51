"""Files of a work directory: each is the old one or the whole new one, never half."""

import contextlib
import errno
import fcntl
import json
import os
import pathlib
import shutil
import uuid
from collections.abc import Iterator

from msmm.errors import UserError


def read_json(path, remedy: str = "delete it, and what it describes is made again") -> dict:
    """A JSON file that holds an object. Raises UserError naming it, and the `remedy`, where it does not."""
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
    """What `write_json` writes."""
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()


def write_bytes(path, content: bytes) -> None:
    """Writes a file, and its directory if need be."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(content)
    os.replace(partial, path)


@contextlib.contextmanager
def locked(directory) -> Iterator[None]:
    """Keeps other processes out of a directory; the lock ends with this process, however that ends.

    Raises UserError where another process has it.
    """
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    with open(directory / "lock", "a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise UserError(
                f"process {lock.read().strip()} is at work in {directory}: wait for it, or choose another "
                "--workdir or --seed"
            ) from None
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)  # what file systems without locks say


@contextlib.contextmanager
def whole_directory(directory, replace: bool = True) -> Iterator[pathlib.Path]:
    """An empty directory to write into, which takes the place of `directory` once all is written.

    Without `replace` a `directory` that another process has made meanwhile stays, and ours goes.
    """
    directory = pathlib.Path(directory)
    partial = directory.with_name(f"{directory.name}.partial-{uuid.uuid4().hex[:8]}")
    partial.mkdir(parents=True)
    try:
        yield partial
        if replace:
            remove(directory)
        try:
            os.rename(partial, directory)
        except OSError:
            if replace or not directory.exists():
                raise
    finally:
        remove(partial)


def write_lines(path, lines) -> None:
    """Writes text, a line each."""
    pathlib.Path(path).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def remove(directory) -> None:
    """Deletes a directory with all in it, if it is there."""
    if pathlib.Path(directory).exists():
        shutil.rmtree(directory)
