"""Reading a manifest: a user's own list of photographs, as JSON lines or CSV.

Fields: `image` (a path, absolute or from the manifest's folder), `labels` (at least one),
and as you like `tags`, `groups` (further side information, like tags), `split` (train or test;
in every row or in none) and `id` (default: the image path). In CSV the first line names the
columns, commas separate cells, and `;` separates the labels, tags and groups of a cell. The case of a
field's name and of a split does not matter. Every mistake is a UserError that names file, line and field.
"""

import csv
import dataclasses
import io
import json
import os
import pathlib
from collections.abc import Iterator

from msmm.core.errors import UserError
from msmm.core.text import SPREADSHEET, normalise_label, normalise_tag, read_text

FIELDS = ("image", "labels", "tags", "split", "id", "groups")
SPLITS = ("train", "test")
SEPARATOR = ";"


@dataclasses.dataclass(frozen=True)
class Entry:
    """One row of a manifest, checked: labels, tags and groups are normalised, the image is a file."""

    line: int
    id: str
    image: pathlib.Path
    labels: tuple[str, ...]
    tags: tuple[str, ...]
    split: str | None
    groups: tuple[str, ...] = ()


def read(path: pathlib.Path) -> list[Entry]:
    """All rows of a manifest, in its order. Raises UserError."""
    readers = {".csv": _csv_rows, ".jsonl": _json_rows, ".json": _json_rows, ".ndjson": _json_rows}
    if path.suffix.lower() not in readers:
        raise UserError(f"expected a manifest that ends in .jsonl or .csv, got {path}")
    entries, lines = [], {}
    for line, fields in readers[path.suffix.lower()](path, read_text(path)):
        entry = _entry(path, line, fields)
        if entry.id in lines:
            raise _error(path, line, "id", f"{entry.id!r} is on line {lines[entry.id]} already")
        if entries and (entry.split is None) != (entries[0].split is None):
            raise _error(path, line, "split", "expected a split in every row or in none, got some of each")
        lines[entry.id] = line
        entries.append(entry)
    if not entries:
        raise UserError(f"{path} has no rows: expected one image a line")
    return entries


def _error(path: pathlib.Path, line: int, field: str, message: str) -> UserError:
    return UserError(f"{path}:{line}: {field}: {message}")


def _json_rows(path: pathlib.Path, text: str) -> Iterator[tuple[int, dict]]:
    for line, row in enumerate(text.split("\n"), 1):
        if not row.strip():
            continue
        try:
            pairs = json.loads(row, object_pairs_hook=list)
        except (json.JSONDecodeError, RecursionError) as error:
            cause = (
                f"{error.msg} (column {error.colno})" if isinstance(error, json.JSONDecodeError) else error
            )
            raise UserError(f"{path}:{line}: broken JSON: {cause}") from None
        if not isinstance(pairs, list) or not row.lstrip().startswith("{"):
            raise UserError(
                f"{path}:{line}: expected a JSON object {{…}}, one a line, got {row.strip()[:40]}"
            )
        names = _fields(path, line, [key for key, _ in pairs], "field")
        fields = dict(zip(names, (value for _, value in pairs), strict=True))
        for field in ("labels", "tags", "groups"):
            names = fields.get(field, [])
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise _error(path, line, field, f"expected a list of texts, got {_shown(names)}")
        for field in ("image", "split", "id"):
            if not isinstance(fields.get(field, ""), str):
                raise _error(path, line, field, f"expected a text, got {_shown(fields[field])}")
        yield line, fields


def _csv_rows(path: pathlib.Path, text: str) -> Iterator[tuple[int, dict]]:
    _check_separator(path, text)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    columns, line = None, 1
    try:
        for cells in reader:
            if cells and columns is None:
                columns = _fields(path, line, [cell.strip() for cell in cells], "column")
            elif cells and len(cells) != len(columns):
                hint = f": {SEPARATOR} separates names within a cell" if len(cells) > len(columns) else ""
                raise UserError(
                    f"{path}:{line}: expected {len(columns)} cells as in the header, got {len(cells)}{hint}"
                )
            elif cells:
                # An empty cell is a field that is not given, but a row without an image has a hole.
                fields = dict(zip(columns, map(str.strip, cells), strict=True))
                fields = {field: cell for field, cell in fields.items() if cell or field == "image"}
                for field in ("labels", "tags", "groups"):
                    names = fields.get(field, "").split(SEPARATOR)
                    fields[field] = [name for name in names if name.strip()]
                yield line, fields
            line = reader.line_num + 1
    except csv.Error as error:
        raise UserError(f"{path}:{line}: broken CSV: {error}") from None


def _check_separator(path: pathlib.Path, text: str) -> None:
    """Raises UserError where the header is parted by something else than commas."""
    header = io.StringIO(text.lstrip(), newline=None).readline()
    if _known_cells(header, ","):
        return
    for separator, name in ((";", "semicolons"), ("\t", "tabs")):
        if separator in header and _known_cells(header, separator):
            raise UserError(
                f"{path}: expected commas between cells, got {name}: {SPREADSHEET}, with commas "
                "even if the region's settings say another separator "
                f"({SEPARATOR} separates only the labels, tags and groups within a cell)"
            )


def _known_cells(header: str, separator: str) -> set[str]:
    return {cell.strip(' "\t\n').casefold() for cell in header.split(separator)} & set(FIELDS)


def _fields(path: pathlib.Path, line: int, given: list[str], kind: str) -> list[str]:
    """The fields that a row or a header names. kind: what these are called in messages."""
    fields = [name.casefold() for name in given]
    for number, (name, field) in enumerate(zip(given, fields, strict=True), 1):
        if field not in FIELDS:
            message = f"unknown {kind}, expected {', '.join(FIELDS)}: delete or rename it"
            raise _error(path, line, name or f"{kind} {number}, without a name", message)
        if fields.count(field) > 1:
            raise _error(path, line, name, "is there twice")
    for field in ("image", "labels"):
        if field not in fields:
            raise _error(path, line, field, "is missing")
    return fields


def _entry(path: pathlib.Path, line: int, fields: dict) -> Entry:
    for field, value in fields.items():
        try:
            "".join(value).encode()
        except UnicodeEncodeError:
            raise _error(path, line, field, f"expected valid Unicode, got {value!a}") from None
    image = path.parent / fields["image"]
    if not fields["image"].strip() or not os.path.isfile(image):
        problem = "is a folder" if os.path.isdir(image) else "no such file"
        raise _error(path, line, "image", f"{problem}: {fields['image']!r} in {path.parent}")
    labels = tuple(normalise_label(label) for label in fields["labels"])
    if not labels:
        raise _error(path, line, "labels", "expected at least one label, got none")
    if not all(labels):
        raise _error(path, line, "labels", "expected labels with a name, got an empty one")
    split = fields["split"].casefold() if "split" in fields else None
    if split not in (*SPLITS, None):
        raise _error(path, line, "split", f"expected {' or '.join(SPLITS)}, got {fields['split']!r}")
    if not fields.get("id", "-").strip():
        raise _error(path, line, "id", "expected a text, got an empty one")
    return Entry(
        line=line,
        id=fields.get("id", fields["image"]),
        image=image,
        labels=labels,
        tags=tuple(filter(None, map(normalise_tag, fields.get("tags", [])))),
        split=split,
        groups=tuple(filter(None, map(normalise_tag, fields.get("groups", [])))),
    )


def _shown(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)[:60]
