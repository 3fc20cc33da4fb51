"""The rows of a manifest as spreadsheets, pandas and other programs write them: CSV and JSON.

Deviations of certain meaning are accepted:

- blank rows, columns without name and content, the index column of pandas, a `sep=` line,
- lists in one cell, as Python or JSON write them, and several names on the lines of one cell,
- JSON objects over several lines or in one array.

Any other deviation from a table of known fields is a UserError.
"""

import ast
import csv
import io
import json
import pathlib
import re
from collections.abc import Iterator, Sequence

from msmm.core.errors import UserError
from msmm.core.text import SPREADSHEET, split_separator_line, strip_invisible

FIELDS = ("image", "labels", "tags", "split", "id", "groups")
NAMES = ("labels", "tags", "groups")  # the fields that contain several names
SEPARATOR = ";"  # of names within a cell
LINE_BREAK = "a line break in a cell"  # a note on an accepted deviation that may be wrong
_INDEX = "Unnamed: 0"  # the name that pandas gives to an index column when it reads it back


def row_error(path: pathlib.Path, line: int, field: str, message: str) -> UserError:
    """Returns the error on a field of a row."""
    return UserError(f"{path}:{line}: {field}: {message}")


def read_json_rows(path: pathlib.Path, text: str) -> Iterator[tuple[int, dict, tuple[str, ...]]]:
    """Yields (line, fields, notes) of every JSON object, one per line, over several lines or in an array."""
    for line, pairs in _json_objects(path, text):
        # null is how pandas writes a field that is not given.
        pairs = [
            (key, value) for key, value in pairs if value is not None or key.casefold() in ("image", "labels")
        ]
        names = check_fields(path, line, [key for key, _ in pairs], "field")
        fields = dict(zip(names, (value for _, value in pairs), strict=True))
        for field, value in fields.items():
            if field not in NAMES:
                expected, right = "a text", isinstance(value, str)
            else:
                expected = "a list of texts"
                right = isinstance(value, list) and all(isinstance(name, str) for name in value)
            if not right:
                hint = _COLUMNS if isinstance(value, _Pairs) else ""
                raise row_error(path, line, field, f"expected {expected}, got {_show(value)}{hint}")
        yield line, fields, ()


_COLUMNS = ": write the rows, in pandas with to_json(orient='records', lines=True)"


def _json_objects(path: pathlib.Path, text: str) -> Iterator[tuple[int, list]]:
    """Yields the line and the pairs of every JSON object."""
    decoder = json.JSONDecoder(object_pairs_hook=_Pairs)
    position, line, array = 0, 1, False
    while True:
        end = re.compile(r"[\s\ufeff]*,?[\s\ufeff]*").match(text, position).end()
        if not array and text[end : end + 1] == "[" and not text[:end].strip(" \t\r\n\ufeff"):
            array, end = True, re.compile(r"\s*").match(text, end + 1).end()
        line, position = line + text.count("\n", position, end), end
        if array and text[position : position + 1] == "]" and not text[position + 1 :].strip():
            return
        if position == len(text) and not array:
            return
        try:
            value, end = decoder.raw_decode(text, position)
        except (json.JSONDecodeError, RecursionError) as error:
            cause = str(error)
            if isinstance(error, json.JSONDecodeError):
                cause = f"{error.msg} (column {error.colno})"
            raise UserError(f"{path}:{line}: broken JSON: {cause}") from None
        if not isinstance(value, _Pairs):
            shown = text[position:end].split("\n")[0].strip()[:40]
            raise UserError(f"{path}:{line}: expected a JSON object {{…}}, one a line, got {shown}")
        yield line, value
        line, position = line + text.count("\n", position, end), end


class _Pairs(list):
    """The pairs of a JSON object, which unlike a dict may have a key twice."""


def read_csv_rows(path: pathlib.Path, text: str) -> Iterator[tuple[int, dict, tuple[str, ...]]]:
    """Yields (line, fields, notes) of every row with content."""
    text, separator = split_separator_line(text)
    if separator is None:
        _check_separator(path, text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator or ",", strict=True)
    columns, line = None, 1
    try:
        for cells in reader:
            cells = [_clean_cell(cell) for cell in cells]
            if not any(cells):
                pass  # a blank row, also one of separators only
            elif columns is None:
                columns = _read_header(path, line, cells)
            else:
                fields = _match_columns(path, line, columns, cells)
                notes = []
                for field in NAMES:
                    if "\n" in fields.get(field, ""):
                        notes.append(LINE_BREAK)
                    fields[field] = _split_names(fields.get(field, ""))
                yield line, fields, tuple(notes)
            line = reader.line_num + 1
    except csv.Error as error:
        raise UserError(f"{path}:{line}: broken CSV: {error}") from None


def _clean_cell(cell: str) -> str:
    """Returns a cell without what spreadsheets add: `="0001"`, the escape of a carriage return, margins."""
    cell = re.sub(r"_x000D_\n?|\r\n?", "\n", cell)
    formula = re.fullmatch(r'\s*="((?:[^"]|"")*)"\s*', cell)
    cell = formula[1].replace('""', '"') if formula else cell
    return cell.strip().strip("\u200b\ufeff\u2060").strip()


def _read_header(path: pathlib.Path, line: int, cells: list[str]) -> list[str]:
    """Returns the field of every column, "" where it has no name."""
    cells = ["", *cells[1:]] if cells[0] == _INDEX else cells
    fields = iter(check_fields(path, line, [cell for cell in cells if cell], "column"))
    return [next(fields) if cell else "" for cell in cells]


def _match_columns(path: pathlib.Path, line: int, columns: list[str], cells: list[str]) -> dict[str, str]:
    """Returns the cells by field. An empty one is not given, but a row without an image has a hole."""
    while len(cells) > len(columns) and not cells[-1]:
        cells = cells[:-1]
    # Excel leaves out the separators of empty cells at the end of a row.
    missing = set(columns[len(cells) :])
    if len(cells) > len(columns) or missing & {"image", "labels"}:
        hint = f": {SEPARATOR} separates names within a cell" if len(cells) > len(columns) else ""
        raise UserError(
            f"{path}:{line}: expected {len(columns)} cells as in the header, got {len(cells)}{hint}"
        )
    fields = {}
    for number, (field, cell) in enumerate(zip(columns, cells, strict=False), 1):
        if field:
            if cell or field == "image":
                fields[field] = cell
        elif cell and not (number == 1 and cell.isdecimal()):  # the index of pandas
            raise UserError(
                f"{path}:{line}: column {number} has no name, but contains {cell[:40]!r}: name or delete it; "
                f"names of one field go in one cell, with {SEPARATOR} between"
            )
    return fields


def _split_names(cell: str) -> list[str]:
    """Returns the names of a cell: separated by ; or lines, or as a list of texts of Python or JSON."""
    if cell.startswith("[") and cell.endswith("]"):
        try:
            names = ast.literal_eval(cell)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            names = None
        if isinstance(names, list) and all(isinstance(name, str) for name in names):
            return [name for name in names if strip_invisible(name).strip()]
    return [name for name in re.split(f"[{SEPARATOR}\n]", cell) if strip_invisible(name).strip()]


def _check_separator(path: pathlib.Path, text: str) -> None:
    """Raises UserError where the header is separated by something else than commas."""
    header = io.StringIO(text.lstrip(), newline=None).readline()
    if _known_cells(header, ","):
        return
    for separator, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "vertical bars")):
        if separator in header and _known_cells(header, separator):
            raise UserError(
                f"{path}: expected commas between cells, got {name}: {SPREADSHEET}, with commas "
                f"even if the region's settings have another separator, or write sep={separator} in a line "
                f"before the header ({SEPARATOR} separates only the labels, tags and groups within a cell)"
            )


def _known_cells(header: str, separator: str) -> set[str]:
    return {cell.strip(' "\t\n').casefold() for cell in header.split(separator)} & set(FIELDS)


def check_fields(path: pathlib.Path, line: int, given: Sequence[str], kind: str) -> list[str]:
    """Returns the fields that a row or a header names. Raises UserError where one is unknown or missing.

    kind: what the fields are called in messages.
    """
    fields = [strip_invisible(name).strip().casefold() for name in given]
    for name, field in zip(given, fields, strict=True):
        if field not in FIELDS:
            message = f"unknown {kind}, expected {', '.join(FIELDS)}: delete or rename it"
            raise row_error(path, line, name, message)
        if fields.count(field) > 1:
            raise row_error(path, line, name, "is there twice")
    for field in ("image", "labels"):
        if field not in fields:
            raise row_error(path, line, field, "is missing")
    return fields


def _show(value: object) -> str:
    if isinstance(value, _Pairs):
        value = dict(value)
    return json.dumps(value, ensure_ascii=False)[:60]
