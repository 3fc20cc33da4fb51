"""What becomes of an annotation: a line of text, JSON or CSV, or keywords in an XMP sidecar.

An output is a context. `done(path)` says which model annotated a photograph that is in it already, or
None, `write` takes an annotated one and returns a line for people, or None; leaving the context without an
exception makes a file appear under its name. Until then, and after a kill, it is `<name>.partial`, from
which the next run goes on. A model is called what `batches.name` calls it.
"""

import csv
import dataclasses
import io
import json
import os
import pathlib
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from msmm.core.errors import UserError
from msmm.core.files import atomic_write, lock, named
from msmm.core.text import normalise_tag
from msmm.photos import sidecars

CSV_COLUMNS = ("path", "labels", "probabilities", "quantity", "tags", "unknown", "model")
SEPARATOR = ";"
MAX_LINE = 1 << 20  # bytes; of a file that is no output of ours
csv.field_size_limit(MAX_LINE)  # many long keywords are one field


@dataclasses.dataclass(frozen=True)
class Annotated:
    """A photograph with what the model says of it.

    labels: the chosen names, surest first. probabilities: of every class, surest first.
    quantity: the predicted one, before rounding. tags: those that the model was given; unknown: the
    photograph's keywords that it does not know. embedded, thumbnail: see `photos.Photo`. near: the
    keywords that were read as their nearest tag, with it.
    """

    path: str
    labels: tuple[str, ...]
    probabilities: Mapping[str, float]
    quantity: float
    tags: Sequence[str]
    unknown: Sequence[str]
    embedded: Sequence[str] = ()
    thumbnail: bytes = b""
    near: Mapping[str, str] = dataclasses.field(default_factory=dict)


def shown(text: str) -> str:
    """A text in one line that a terminal can be given: what is not printable as \\x1b or \\u202e."""
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def text_line(photo: Annotated) -> str:
    """`photo.jpg: sky (0.98), sea (0.61)`"""
    labels = ", ".join(f"{shown(name)} ({photo.probabilities[name]:.2f})" for name in photo.labels)
    return f"{shown(photo.path)}: {labels or '(none)'}"


def json_line(photo: Annotated, model: str) -> str:
    """One JSON object, in ASCII if a name has bytes that are no UTF-8."""
    content = {
        "path": photo.path,
        "labels": list(photo.labels),
        "quantity": round(photo.quantity, 3),
        "probabilities": {name: round(p, 4) for name, p in photo.probabilities.items()},
        "tags": list(photo.tags),
        "unknown": list(photo.unknown),
        "model": model,
        **({"near": dict(photo.near)} if photo.near else {}),
    }
    line = json.dumps(content, ensure_ascii=False)
    return line if _is_unicode(line) else json.dumps(content)


def csv_line(photo: Annotated, model: str) -> str:
    """A row of CSV_COLUMNS; never more than one line, and no formula to a spreadsheet."""
    row = [
        shown(photo.path),
        SEPARATOR.join(photo.labels),
        SEPARATOR.join(f"{photo.probabilities[name]:.4f}" for name in photo.labels),
        f"{photo.quantity:.3f}",
        SEPARATOR.join(photo.tags),
        SEPARATOR.join(shown(word) for word in photo.unknown),
        shown(model),
    ]
    return _csv(cell if i == 3 else no_formula(cell) for i, cell in enumerate(row))


class Text:
    """Lines on standard output, which nothing remembers."""

    def __init__(self, line: Callable[[Annotated], str] = text_line, header: str = ""):
        self._line, self._header = line, header

    def __enter__(self) -> "Text":
        if self._header:
            print(self._header, flush=True)
        return self

    def __exit__(self, *failure) -> None:
        pass

    def done(self, path: str) -> None:
        return None

    def write(self, photo: Annotated) -> str | None:
        return self._line(photo)


class File:
    """A file of lines, to which a second run adds what is new."""

    def __init__(self, path: str, format: "Format", model: str, overwrite: bool):
        self._path, self._format, self._model = pathlib.Path(path), format, model
        self._partial = self._path.with_name(self._path.name + ".partial")
        for there in (self._path, self._partial):
            if os.path.lexists(there) and not _is_ours(there, format):
                raise UserError(
                    f"{there} is there and not {format.name} that this wrote: name another --output"
                )
        self._new, self._done, self._size = 0, {}, 0  # a path's hash -> the model
        self._begun = self._partial.exists() and not overwrite
        if self._begun or (self._path.exists() and not overwrite):
            self._read(self._partial if self._begun else self._path)

    def _read(self, path: pathlib.Path) -> None:
        """Which photographs are done, by which model, and where the last whole line ends.

        Half a line at the end is of a run that was killed. Raises UserError at any other that is damaged,
        because what follows it would be lost.
        """
        with open(path, "rb") as file:
            for number, line in enumerate(file, 1):
                is_header = not self._size and self._format.header
                said = None if is_header else self._format.read(line)
                if not line.endswith(b"\n"):
                    break
                if said[1] is None if said else is_header and line.strip() != is_header.encode():
                    raise UserError(
                        f"{path} is of an earlier version, which did not say which model annotated: name "
                        "another --output, or write all anew with --overwrite"
                    )
                if not said and not is_header:
                    raise UserError(
                        f"{path}:{number} is damaged: mend or delete the line, or write all anew with "
                        "--overwrite"
                    )
                self._size += len(line)
                if said:
                    self._done[hash(said[0])] = sys.intern(said[1])

    def __enter__(self) -> "File":
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if not self._begun and self._size:
            with atomic_write(self._partial) as copy:  # or a kill would leave only some of the lines
                shutil.copyfile(self._path, copy)
        self._file = open(self._partial, "ab")
        if lock(self._file.fileno()) is False or not self._as_it_was():
            self._file.close()
            raise UserError(f"another process writes {self._path}: wait for it, or name another --output")
        self._file.truncate(self._size)
        if not self._size and self._format.header:
            self._file.write(self._format.header.encode() + b"\n")
        return self

    def _as_it_was(self) -> bool:
        """Whether no other process has ended meanwhile, and taken the file with it."""
        try:
            mine = os.fstat(self._file.fileno())
            return os.path.samestat(mine, os.stat(self._partial)) and mine.st_size >= self._size
        except FileNotFoundError:
            return False

    def __exit__(self, failed, *_) -> None:
        with named(self._partial), self._file:
            self._file.flush()
            if failed:
                return
            if self._new or self._begun or not self._path.exists():
                os.replace(self._partial, self._path)  # while it is locked
            else:
                os.remove(self._partial)  # a copy of what is there

    def done(self, path: str) -> str | None:
        return self._done.get(hash(self._format.key(path)))

    def write(self, photo: Annotated) -> None:
        with named(self._partial):
            self._file.write(self._format.line(photo, self._model).encode() + b"\n")
            self._file.flush()
        self._new += 1


@dataclasses.dataclass(frozen=True)
class Format:
    """Lines of a file. read: a line's path and model, or None where it is none of ours; the model is None in
    those of an earlier version. key: what `read` makes of a path."""

    name: str
    line: Callable[[Annotated, str], str]
    key: Callable[[str], str]
    read: Callable[[bytes], tuple[str, str | None] | None]
    header: str = ""


class Sidecars:
    """XMP sidecars beside the photographs."""

    def __init__(self, model: str):
        self._model = model

    def __enter__(self) -> "Sidecars":
        return self

    def __exit__(self, *failure) -> None:
        pass

    def done(self, path: str) -> None:
        return None  # `photos.prepare` looks into the sidecar

    def write(self, photo: Annotated) -> None:
        sidecars.write(photo.path, photo.embedded, photo.labels, self._model, normalise_tag)


class DryRun(Text):
    """Says what would be written, and writes nothing. output: that which is asked what is done."""

    def __init__(self, output: Any):
        super().__init__()
        self._output = output

    def done(self, path: str) -> str | None:
        return self._output.done(path)

    def write(self, photo: Annotated) -> str:
        beside = isinstance(self._output, Sidecars)
        return text_line(photo) + (f" -> {shown(sidecars.to_write(photo.path))}" if beside else "")


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
    """A cell that a spreadsheet takes for text, also one that parts cells at semicolons, as many do."""
    return re.sub(r"(^[=+\-@]|(?<=;)[=+@])", r"'\1", cell)


def _csv(cells: Iterable[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(cells)
    return text.getvalue()


def _is_ours(path: pathlib.Path, format: Format) -> bool:
    """Whether a file is empty or begins as the format does; a partial one may have half a line."""
    if not path.is_file():
        return False
    with open(path, "rb") as file:
        line = file.readline(MAX_LINE)
    if format.header:
        return format.header.encode().startswith(line.rstrip(b"\r\n"))
    return not line or format.read(line) is not None or (path.suffix == ".partial" and line[-1:] != b"\n")


def _escaped(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # a byte of a file name that is no UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()


def _is_unicode(text: str) -> bool:
    return not re.search("[\ud800-\udfff]", text)


JSON = Format("a file of JSON lines", json_line, lambda path: path, _read_json)
CSV = Format("a CSV file", csv_line, lambda path: no_formula(shown(path)), _read_csv, ",".join(CSV_COLUMNS))
