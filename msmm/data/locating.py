"""Finds packed data sets on disk, without TensorFlow, and names the command that packs one."""

import pathlib

from msmm.core.errors import UserError

# Flags with which the packer packs data sets of official files.
_OFFICIAL = {name: f" --dataset={name} --raw_dir=DIR" for name in ("nus_wide", "mscoco", "openclipart")}


def find_dataset(data_dir: str | pathlib.Path, name: str) -> pathlib.Path:
    """Returns the directory of the newest version of the data set `name` in `data_dir`.

    Raises UserError where there is none, without importing TensorFlow.
    """
    data_dir = pathlib.Path(data_dir)
    if not data_dir.is_dir():
        raise UserError(
            f"no folder {data_dir} of packed data sets: choose another --data_dir, or pack {name!r} "
            f"with {name_packer(name)}"
        )
    versions = _versions(data_dir / name) if name else []
    if not versions:
        others = sorted(path.name for path in data_dir.glob("*") if _versions(path))
        choice = f", or choose one of: {', '.join(others)}" if others else ""
        raise UserError(f"no data set {name!r} in {data_dir}: pack it with {name_packer(name)}{choice}")
    return versions[-1]


def _versions(directory: pathlib.Path) -> list[pathlib.Path]:
    """Returns the finished versions (1.2.3) of a data set, oldest first."""
    finished = [path.parent for path in directory.glob("*.*.*/dataset_info.json")]
    numbered = [path for path in finished if all(part.isdigit() for part in path.name.split("."))]
    return sorted(numbered, key=lambda path: [int(part) for part in path.name.split(".")])


def name_packer(name: str) -> str:
    """Returns the command that packs a data set."""
    return "python -m tfrecords_tools.pack" + _OFFICIAL.get(name, "")


def describe_remedy(name: str) -> str:
    """Returns the end of a message about a damaged data set: how to pack it again."""
    command = f"{name_packer(name)} " if name in _OFFICIAL else ""
    return f"pack {name!r} again with {command}--overwrite, or copy it whole"
