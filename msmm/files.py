"""Files of a work directory: each is the old one or the whole new one, never half."""

import json
import os
import pathlib
import shutil

from msmm.errors import UserError


def read_json(path) -> dict:
    """A JSON file. Raises UserError naming it where it does not parse."""
    try:
        return json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(
            f"{path} is damaged ({error}): delete it, and what it describes is made again"
        ) from error


def write_json(path, content) -> None:
    """Writes a JSON file, and its directory if need be."""
    write_bytes(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())


def write_bytes(path, content: bytes) -> None:
    """Writes a file, and its directory if need be."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(content)
    os.replace(partial, path)


def remove(directory) -> None:
    """Deletes a directory with all in it, if it is there."""
    if pathlib.Path(directory).exists():
        shutil.rmtree(directory)
