"""Formats annotations as lines of text, JSON or CSV, and reads the photograph and the model of a line."""

import csv
import dataclasses
import io
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

CSV_COLUMNS = ("path", "labels", "probabilities", "quantity", "tags", "unknown", "model")
SEPARATOR = ";"
MAX_LINE = 1 << 20  # bytes; of a file in another format
csv.field_size_limit(MAX_LINE)  # many long keywords are one field


@dataclasses.dataclass(frozen=True)
class Annotated:
    """A photograph with the model's annotation.

    labels: the chosen names, surest first. probabilities: of every class, surest first.
    quantity: the predicted one, before rounding. tags: those that the model was given; unknown: the
    photograph's keywords that it does not know. embedded, thumbnail: see `reading.Photo`. problems:
    causes why keywords were not read.
    """

    path: str
    labels: tuple[str, ...]
    probabilities: Mapping[str, float]
    quantity: float
    tags: Sequence[str]
    unknown: Sequence[str]
    embedded: Sequence[str] = ()
    thumbnail: bytes = b""
    problems: Sequence[str] = ()


def escape_unprintable(text: str) -> str:
    """Returns one line that is safe on a terminal: what is not printable as \\x1b or \\u202e."""
    return "".join(c if c.isprintable() else _escape_character(c) for c in text)


def text_line(photo: Annotated) -> str:
    """Returns `photo.jpg: sky (0.98), sea (0.61)`."""
    labels = ", ".join(
        f"{escape_unprintable(name)} ({photo.probabilities[name]:.2f})" for name in photo.labels
    )
    return f"{escape_unprintable(photo.path)}: {labels or '(none)'}"


def json_line(photo: Annotated, model: str) -> str:
    """Returns one JSON object, in ASCII if a name has bytes that are no UTF-8.

    Probabilities that are equal as written are in the order of their names: their further digits depend on
    the batch, and a run that goes on has other batches.
    """
    written = {name: round(p, 4) for name, p in photo.probabilities.items()}
    content = {
        "path": photo.path,
        "labels": list(photo.labels),
        "quantity": round(photo.quantity, 3),
        "probabilities": dict(sorted(written.items(), key=lambda item: (-item[1], item[0]))),
        "tags": list(photo.tags),
        "unknown": list(photo.unknown),
        "model": model,
    }
    line = json.dumps(content, ensure_ascii=False)
    return line if _is_unicode(line) else json.dumps(content)


def csv_line(photo: Annotated, model: str) -> str:
    """Returns a row of CSV_COLUMNS; never more than one line, and no formula to a spreadsheet."""
    row = [
        escape_unprintable(photo.path),
        SEPARATOR.join(photo.labels),
        SEPARATOR.join(f"{photo.probabilities[name]:.4f}" for name in photo.labels),
        f"{photo.quantity:.3f}",
        SEPARATOR.join(photo.tags),
        SEPARATOR.join(escape_unprintable(word) for word in photo.unknown),
        escape_unprintable(model),
    ]
    return _csv(cell if i == 3 else no_formula(cell) for i, cell in enumerate(row))


@dataclasses.dataclass(frozen=True)
class Format:
    """A format of lines.

    line: formats an annotation and a model. read: returns a line's path and model, or None where the line has
    another format; the model is None in lines of an earlier version. key: a path as `read` returns it.
    header: the first line of a file, or "". earlier: the header of an earlier version.
    """

    name: str
    line: Callable[[Annotated, str], str]
    key: Callable[[str], str]
    read: Callable[[bytes], tuple[str, str | None] | None]
    header: str = ""
    earlier: str = ""


def _read_json(line: bytes) -> tuple[str, str | None] | None:
    try:
        content = json.loads(line)
        whole = isinstance(content["labels"], list) and isinstance(content["path"], str)
        model = content.get("model")
        return (content["path"], model) if whole and isinstance(model, str | None) else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _read_csv(line: bytes) -> tuple[str, str] | None:
    try:
        (row,) = csv.reader([line.decode()], strict=True)
        return (row[0], row[-1]) if len(row) == len(CSV_COLUMNS) else None
    except (ValueError, csv.Error):
        return None


def no_formula(cell: str) -> str:
    """Returns a cell that a spreadsheet takes for text, also one that parts cells at semicolons."""
    return re.sub(r"(^[=+\-@]|(?<=;)[=+@])", r"'\1", cell)


def _csv(cells: Iterable[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(cells)
    return text.getvalue()


def _escape_character(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # a byte of a file name that is no UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()


def _is_unicode(text: str) -> bool:
    return not re.search("[\ud800-\udfff]", text)


JSON = Format("a file of JSON lines", json_line, lambda path: path, _read_json)
CSV = Format(
    "a CSV file",
    csv_line,
    lambda path: no_formula(escape_unprintable(path)),
    _read_csv,
    ",".join(CSV_COLUMNS),
    ",".join(CSV_COLUMNS[:-1]),
)
