"""Finds packed data sets on disk, without TensorFlow, and names the command that packs one."""

import pathlib

from msmm.core.errors import UserError

PACK = "python -m tfrecords_tools.pack"


def find_dataset(data_dir: str | pathlib.Path, name: str, pack: str = PACK) -> pathlib.Path:
    """Returns the directory of the newest version of a data set.

    Args:
        data_dir: the folder of packed data sets.
        name: the name of the data set.
        pack: the command that packs it, for the error message.

    Raises:
        UserError: there is none. TensorFlow is not imported before.
    """
    data_dir = pathlib.Path(data_dir)
    if not data_dir.is_dir():
        raise UserError(
            f"no folder {data_dir} of packed data sets: choose another --data_dir, or pack {name!r} "
            f"with {pack}"
        )
    versions = _versions(data_dir / name) if name else []
    if not versions:
        others = sorted(path.name for path in data_dir.glob("*") if _versions(path))
        choice = f", or choose one of: {', '.join(others)}" if others else ""
        raise UserError(f"no data set {name!r} in {data_dir}: pack it with {pack}{choice}")
    return versions[-1]


def _versions(directory: pathlib.Path) -> list[pathlib.Path]:
    """Returns the finished versions (1.2.3) of a data set, oldest first."""
    finished = [path.parent for path in directory.glob("*.*.*/dataset_info.json")]
    numbered = [path for path in finished if all(part.isdigit() for part in path.name.split("."))]
    return sorted(numbered, key=lambda path: [int(part) for part in path.name.split(".")])


def describe_remedy(name: str) -> str:
    """Returns the end of a message about a damaged data set: how to pack it again."""
    return f"pack {name!r} again with the same command and --overwrite, or copy it whole"
