"""Conversions of a network, kept beside it: <model>/engines/<name>-<key>/.

The key is a hash of the network and of the versions that converted it. A damaged directory, by its
SHA256SUMS, is made again. Where nothing can be kept, such as on a read-only disk, the conversion is made for
this process alone.
"""

import contextlib
import hashlib
import importlib.metadata
import pathlib
import tempfile
from collections.abc import Callable, Iterator, Sequence

import msmm
from msmm.core import checksums
from msmm.core.errors import DirectoryInUse, UserError
from msmm.core.files import atomic_directory, lock_directory, remove

FOLDER = "engines"


def path(directory: pathlib.Path, name: str, packages: Sequence[str]) -> pathlib.Path:
    """Returns where the conversion `name` by `packages` of a checked model directory is kept."""
    versions = [f"{package} {_version(package)}" for package in packages]
    network = (checksums.read_sums(directory, "save it again") or {}).get("model.keras")
    network = network or checksums.sha256(directory / "model.keras")
    key = "\n".join([network, f"msmm {msmm.__version__}", *versions])
    return directory / FOLDER / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:  # onnxruntime also comes with onnxruntime-gpu and others
        owner = importlib.metadata.packages_distributions()[package][0]
        return f"{importlib.metadata.version(owner)} of {owner}"


def is_sound(kept: pathlib.Path) -> bool:
    """Returns whether a conversion exists as it was written."""
    if not (kept / checksums.SUMS).is_file():
        return False
    try:
        checksums.check_directory(kept, "it is made again")
    except UserError:
        return False
    return True


@contextlib.contextmanager
def converted(
    kept: pathlib.Path, write: Callable[[pathlib.Path, str | None], None]
) -> Iterator[pathlib.Path]:
    """Yields a directory that holds a conversion: `kept`, or a temporary one.

    Args:
      kept: where the conversion is kept. Others of its name, of another network or version, are deleted.
      write: writes it into a directory; its second argument is the reason why it cannot be kept, or None. It
        is not called where `kept` is sound.
    """
    if not is_sound(kept):
        try:
            kept.parent.mkdir(parents=True, exist_ok=True)  # an OSError where a file is in the way
            with lock_directory(kept.parent), atomic_directory(kept) as partial:
                write(partial, None)
                checksums.write(partial, [file.name for file in partial.iterdir()])
                for old in set(kept.parent.glob(f"{kept.name.partition('-')[0]}-*")) - {kept, partial}:
                    remove(old)
        # Not ours to write, no space (OpenVINO has a RuntimeError for it), or another process is at it.
        except (OSError, RuntimeError, UserError) as error:
            cause = getattr(error, "strerror", None) or " ".join(str(error).split())
            reason = (
                f"{cause}, so that the next run converts again: copy the model to where it may be written"
            )
            if isinstance(error, DirectoryInUse):
                reason = "another process is making it there"
            with tempfile.TemporaryDirectory(prefix="msmm-") as scratch:
                write(pathlib.Path(scratch), reason)
                yield pathlib.Path(scratch)
            return
    yield kept
