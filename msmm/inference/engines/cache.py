"""What a runtime reads, kept beside the network that it was made from: <model>/engines/<name>-<key>/.

The key is a hash of the network and of what converted it. A directory that is not what its SHA256SUMS says is
made again. Where nothing can be kept, on a read-only disk say, it is made for this process alone.
"""

import contextlib
import hashlib
import importlib.metadata
import pathlib
import tempfile
from collections.abc import Callable, Iterator, Sequence

import msmm
from msmm.core import checksums
from msmm.core.errors import UserError
from msmm.core.files import atomic_directory, locked, remove

FOLDER = "engines"


def path(directory: pathlib.Path, name: str, packages: Sequence[str]) -> pathlib.Path:
    """Where the conversion `name` by `packages` of the network in a checked model directory is kept."""
    versions = [f"{package} {_version(package)}" for package in packages]
    network = (checksums.listed(directory, "save it again") or {}).get("model.keras")
    network = network or checksums.sha256(directory / "model.keras")
    said = "\n".join([network, f"msmm {msmm.__version__}", *versions])
    return directory / FOLDER / f"{name}-{hashlib.sha256(said.encode()).hexdigest()[:16]}"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:  # onnxruntime also comes with onnxruntime-gpu and others
        owner = importlib.metadata.packages_distributions()[package][0]
        return f"{importlib.metadata.version(owner)} of {owner}"


def is_sound(kept: pathlib.Path) -> bool:
    """Whether a conversion is there as it was written."""
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
    """A directory that holds a conversion: `kept`, or one that is gone after the context.

    write: writes it into a directory, and is told why it cannot be kept, if so; not called where `kept` is
    sound. What else of the same name was kept, of another network or version, is deleted.
    """
    if not is_sound(kept):
        try:
            with locked(kept.parent), atomic_directory(kept) as partial:
                write(partial, None)
                checksums.write(partial, [file.name for file in partial.iterdir()])
                for old in set(kept.parent.glob(f"{kept.name.partition('-')[0]}-*")) - {kept, partial}:
                    remove(old)
        # Not ours to write, no space (OpenVINO has a RuntimeError for it), or another process is at it.
        except (OSError, RuntimeError, UserError) as error:
            said = getattr(error, "strerror", None) or " ".join(str(error).split())
            why = f"{said}, so that the next run converts again: copy the model to where it may be written"
            if isinstance(error, UserError):
                why = "another process is making it there"
            with tempfile.TemporaryDirectory(prefix="msmm-") as scratch:
                write(pathlib.Path(scratch), why)
                yield pathlib.Path(scratch)
            return
    yield kept
