"""Folders for data sets that are not finished yet, so that a part of one is never read.

A packer writes to `<data_dir>/incomplete.*` and locks the file `lock` in it for its lifetime. A folder that
no process has locked was left by a killed packer: `clean` removes it.
"""

import contextlib
import fcntl
import io
import pathlib
import shutil
import tempfile
from collections.abc import Iterator

from msmm.core.files import NO_LOCKS, make_folder

PREFIX = "incomplete."
LOCK = "lock"
REPLACED = "replaced"  # contains the old data set while the new one takes its place


@contextlib.contextmanager
def folder(data_dir: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a folder in `data_dir` for an unfinished data set, and removes it in any case."""
    fresh = [path for path in (data_dir, *data_dir.parents) if not path.exists()]
    make_folder(data_dir, "choose another --data_dir")
    staging, lock = _make(data_dir)
    try:
        yield staging
    finally:
        shutil.rmtree(staging)
        if lock:
            lock.close()
        for path in fresh:
            if not any(path.iterdir()):
                path.rmdir()


def finish(staging: pathlib.Path, directory: pathlib.Path, final: pathlib.Path) -> None:
    """Moves `directory`, which is in `staging`, to `final`, which is in the folder of `staging`.

    An old `final` is set aside in `staging`, where `clean` finds it if the packer is killed half way.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    if not final.exists():
        directory.rename(final)
        return
    aside = staging / REPLACED / final.relative_to(staging.parent)
    aside.parent.mkdir(parents=True)
    final.rename(aside)
    try:
        directory.rename(final)
    except BaseException:
        aside.rename(final)
        raise


def clean(data_dir: pathlib.Path) -> None:
    """Removes what killed packers left in `data_dir`, and restores an old data set that one had set aside."""
    for left in data_dir.glob(PREFIX + "*"):
        with contextlib.suppress(OSError):  # a folder of another user stays
            lock = _lock(left)
            if lock is None:
                continue
            with lock:
                for old in (left / REPLACED).glob("*/*"):
                    final = data_dir / old.relative_to(left / REPLACED)
                    if not final.exists():
                        old.rename(final)
                shutil.rmtree(left)
                print(f"removed {left}, which a killed packer had left")


def _make(data_dir: pathlib.Path) -> tuple[pathlib.Path, io.BufferedIOBase | None]:
    while True:
        staging = pathlib.Path(tempfile.mkdtemp(prefix=PREFIX, dir=data_dir))
        try:
            lock = _lock(staging)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            return staging, None
        if lock is not None:  # else another packer has taken it for a killed one's and removes it
            return staging, lock


def _lock(staging: pathlib.Path) -> io.BufferedIOBase | None:
    """Returns the folder's lock, to be closed, or None where a running packer holds it."""
    with contextlib.ExitStack() as closing:
        try:
            lock = closing.enter_context(open(staging / LOCK, "ab"))
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            (staging / LOCK).stat()  # a packer that had it locked before may have removed it
        except (FileNotFoundError, NotADirectoryError, BlockingIOError):
            return None
        closing.pop_all()
    return lock
