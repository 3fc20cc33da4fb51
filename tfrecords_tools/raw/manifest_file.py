"""Reading a manifest: a user's own list of photographs, as JSON lines or CSV.

Required fields: `image` (a path, absolute or from the manifest's folder) and `labels` (at least one).
Optional fields: `tags`, `groups` (further side information, like tags), `split` (train or test; in every
row or in none) and `id` (default: the image path). An image has one row. In CSV the first line names the
columns, commas separate cells, and `;` separates the labels, tags and groups of a cell. The case of a
field's name and of a split does not matter. Every mistake is a UserError that names file, line and field.
"""

import dataclasses
import os
import pathlib

from msmm.core.errors import UserError
from msmm.core.text import normalise_label, normalise_tag, read_text
from tfrecords_tools.raw import image_paths, tables
from tfrecords_tools.raw.tables import row_error

SPLITS = ("train", "test")
READERS = {
    ".csv": tables.read_csv_rows,
    ".jsonl": tables.read_json_rows,
    ".json": tables.read_json_rows,
    ".ndjson": tables.read_json_rows,
}


@dataclasses.dataclass(frozen=True)
class Entry:
    """One row of a manifest, checked: labels, tags and groups are normalised, the image is a file.

    notes: deviations of the row that were accepted, but may be wrong.
    """

    line: int
    id: str
    image: pathlib.Path
    labels: tuple[str, ...]
    tags: tuple[str, ...]
    split: str | None
    groups: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def read(path: pathlib.Path) -> list[Entry]:
    """Returns all rows of a manifest, in its order. Raises UserError."""
    if path.suffix.lower() not in READERS:
        raise UserError(f"expected a manifest that ends in .jsonl or .csv, got {path}")
    entries, lines, files = [], {}, {}
    for line, fields, notes in READERS[path.suffix.lower()](path, read_text(path)):
        entry = _check_row(path, line, fields, notes)
        if entry.id in lines:
            raise row_error(path, line, "id", f"{entry.id!r} is on line {lines[entry.id]} already")
        if entries and (entry.split is None) != (entries[0].split is None):
            raise row_error(path, line, "split", "expected a split in every row or in none, got some of each")
        file = _identify(entry.image)  # in two rows, it might be in train and in test
        if file in files:
            problem = f"{fields['image']!r} is on line {files[file]} already: "
            raise row_error(path, line, "image", problem + "put all labels of an image in one row")
        lines[entry.id] = files[file] = line
        entries.append(entry)
    if not entries:
        raise UserError(f"{path} has no rows: expected one image a line")
    return entries


def _identify(image: pathlib.Path) -> int:
    """Returns a number of a file that all its paths share, symbolic and hard links too."""
    status = os.stat(image)  # a number instead of a real path: a million rows need less memory
    return status.st_dev << 64 | status.st_ino


def _check_row(path: pathlib.Path, line: int, fields: dict, notes: tuple[str, ...]) -> Entry:
    """Returns a row with the file of its image and with normalised names. Raises UserError."""
    for field, value in fields.items():
        try:
            "".join(value).encode()
        except UnicodeEncodeError:
            raise row_error(path, line, field, f"expected valid Unicode, got {value!a}") from None
    image = image_paths.find_image(path.parent, fields["image"])
    if image is None:
        problem = "is a folder" if os.path.isdir(path.parent / fields["image"]) else "no such file"
        hint = image_paths.suggest_image(path.parent, fields["image"])
        raise row_error(path, line, "image", f"{problem}: {fields['image']!r} in {path.parent}{hint}")
    labels = tuple(normalise_label(label) for label in fields["labels"] or ())
    if not labels:
        raise row_error(path, line, "labels", "expected at least one label, got none")
    if not all(labels):
        raise row_error(path, line, "labels", "expected labels with a name, got an empty one")
    split = fields["split"].casefold() if "split" in fields else None
    if split not in (*SPLITS, None):
        raise row_error(path, line, "split", f"expected {' or '.join(SPLITS)}, got {fields['split']!r}")
    if not fields.get("id", "-").strip():
        raise row_error(path, line, "id", "expected a text, got an empty one")
    return Entry(
        line=line,
        id=fields.get("id", fields["image"]),
        image=image,
        labels=labels,
        tags=tuple(filter(None, map(normalise_tag, fields.get("tags", [])))),
        split=split,
        groups=tuple(filter(None, map(normalise_tag, fields.get("groups", [])))),
        notes=notes,
    )
