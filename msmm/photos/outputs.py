"""Writes annotations: lines of text, JSON or CSV, or keywords in XMP sidecars.

Models have the names that `batches.name_annotator` gives them.
"""

import contextlib
import os
import pathlib
import shutil
import sys
from collections.abc import Callable
from typing import Protocol

from msmm.core.errors import UserError
from msmm.core.files import add_path_to_errors, atomic_write, is_at, lock, make_folder, stamp
from msmm.core.text import normalise_keyword
from msmm.photos import sidecars
from msmm.photos.annotation_lines import MAX_LINE, Annotated, Format, escape_unprintable, text_line


class Output(Protocol):
    """A destination of annotations, as a context manager.

    Leaving it without an exception makes a file appear under its name. Until then, and after a kill, it is
    `<name>.partial`, from which the next run goes on.
    """

    def __enter__(self) -> "Output": ...

    def __exit__(self, *failure) -> None: ...

    def find_annotator(self, path: str) -> str | None:
        """Returns the model that annotated a photograph which is in the output already, or None."""

    def write(self, photo: Annotated) -> str | None:
        """Writes an annotation and returns a line for people, or None."""


class Text:
    """The output of lines on standard output, which nothing remembers."""

    def __init__(self, line: Callable[[Annotated], str] = text_line, header: str = ""):
        self._line, self._header = line, header

    def __enter__(self) -> "Text":
        if self._header:
            print(self._header, flush=True)
        return self

    def __exit__(self, *failure) -> None:
        pass

    def find_annotator(self, path: str) -> str | None:
        """Returns None: lines on standard output are not remembered."""
        return None

    def write(self, photo: Annotated) -> str | None:
        """Returns the line."""
        return self._line(photo)


class File:
    """The output of a file of lines, to which a second run adds what is new."""

    def __init__(self, path: str, format: "Format", model: str, overwrite: bool):
        self._path, self._format, self._model, self._overwrite = pathlib.Path(path), format, model, overwrite
        if not self._path.name:
            raise UserError(f"expected a file to write, {self._path} is a folder: name another --output")
        self._partial = self._path.with_name(self._path.name + ".partial")
        for existing in (self._path, self._partial):
            if os.path.lexists(existing) and not _is_ours(existing, format):
                raise UserError(
                    f"{existing} exists and is not {format.name} of this command: name another --output"
                )
        self._new = self._size = self._bytes = 0  # bytes of whole lines, and of all that is read
        self._stamp = stamp(self._path)
        self._done: dict[int, str] = {}  # a path's hash -> the model
        self._begun = self._partial.exists() and not overwrite
        if self._begun or (self._path.exists() and not overwrite):
            self._read(self._partial if self._begun else self._path)

    def _read(self, path: pathlib.Path) -> None:
        """Reads which photographs are done, by which model, and where the last whole line ends.

        Half a line at the end is of a run that was killed.

        Raises:
          UserError: another line is damaged, and what follows it would be lost.
        """
        with open(path, "rb") as file:
            self._bytes = os.fstat(file.fileno()).st_size
            for number, line in enumerate(file, 1):
                is_header = not self._size and self._format.header
                row = None if is_header else self._format.read(line)
                if not line.endswith(b"\n"):
                    break
                if row[1] is None if row else is_header and line.strip() != is_header.encode():
                    raise UserError(
                        f"{path} is of an earlier version, which did not record which model annotated: name "
                        "another --output, or write all again with --overwrite"
                    )
                if not row and not is_header:
                    raise UserError(
                        f"{path}:{number} is damaged: mend or delete the line, or write all again with "
                        "--overwrite"
                    )
                self._size += len(line)
                if row:
                    self._done[hash(row[0])] = sys.intern(str(row[1]))

    def __enter__(self) -> "File":
        make_folder(self._path.parent, "name another --output")
        if not self._begun and self._bytes:
            with atomic_write(self._partial) as copy:  # or a kill would leave only some of the lines
                shutil.copyfile(self._path, copy)
                if os.path.lexists(self._partial) or stamp(self._path) != self._stamp:
                    raise self._busy()
        with contextlib.ExitStack() as closing:
            self._file = closing.enter_context(open(self._partial, "ab"))
            locked = lock(self._file.fileno()) is not False
            if not locked or not self._is_unchanged():
                if locked and is_at(self._file, self._partial) and not self._file.tell():
                    os.remove(self._partial)  # opened here; the next run would take it for an unfinished file
                raise self._busy()
            closing.pop_all()
        self._file.truncate(self._size)
        if not self._size and self._format.header:
            self._file.write(self._format.header.encode() + b"\n")
        return self

    def _is_unchanged(self) -> bool:
        """Returns whether no other process has written meanwhile what `_read` did not see."""
        if not is_at(self._file, self._partial):
            return False
        size = os.fstat(self._file.fileno()).st_size
        return self._overwrite or (size == self._bytes and stamp(self._path) == self._stamp)

    def _busy(self) -> UserError:
        return UserError(f"another process writes {self._path}: wait for it, or name another --output")

    def __exit__(self, failed, *_) -> None:
        with add_path_to_errors(self._partial), self._file:
            self._file.flush()
            if failed:
                return
            if self._new or self._begun or not self._path.exists():
                os.replace(self._partial, self._path)  # while it is locked
            else:
                os.remove(self._partial)  # a copy of what is there

    def find_annotator(self, path: str) -> str | None:
        """Returns the model whose line is in the file, or None."""
        return self._done.get(hash(self._format.key(path)))

    def write(self, photo: Annotated) -> None:
        """Appends a line to the unfinished file."""
        with add_path_to_errors(self._partial):
            self._file.write(self._format.line(photo, self._model).encode() + b"\n")
            self._file.flush()
        self._new += 1


class Sidecars:
    """The output of XMP sidecars beside the photographs."""

    def __init__(self, model: str, hierarchy: str = ""):
        self._model, self._hierarchy = model, hierarchy

    def __enter__(self) -> "Sidecars":
        return self

    def __exit__(self, *failure) -> None:
        pass

    def find_annotator(self, path: str) -> None:
        """Returns None: `reading.prepare_photo` looks into the sidecar."""
        return None  # `reading.prepare_photo` looks into the sidecar

    def write(self, photo: Annotated) -> None:
        """Adds the labels to a photograph's sidecar."""
        sidecars.write_labels(
            photo.path, photo.embedded, photo.labels, self._model, normalise_keyword, self._hierarchy
        )


class DryRun(Text):
    """The output of --dry_run: shows what would be written to another output, and writes nothing."""

    def __init__(self, output: Output):
        super().__init__()
        self._output = output

    def find_annotator(self, path: str) -> str | None:
        """Returns the model that annotated the photograph in the other output, or None."""
        return self._output.find_annotator(path)

    def write(self, photo: Annotated) -> str:
        """Returns the line that shows what would be written."""
        beside = isinstance(self._output, Sidecars)
        return text_line(photo) + (
            f" -> {escape_unprintable(sidecars.choose_sidecar(photo.path))}" if beside else ""
        )


def _is_ours(path: pathlib.Path, format: Format) -> bool:
    """Returns whether a file is empty or begins as the format does; a partial one may have half a line."""
    if not path.is_file():
        return False
    with open(path, "rb") as file:
        line = file.readline(MAX_LINE)
    is_half = path.suffix == ".partial" and line[-1:] != b"\n"
    if not line:
        return True
    if format.header:
        headers = [header.encode() for header in (format.header, format.earlier) if header]
        return line.rstrip(b"\r\n") in headers or (is_half and headers[0].startswith(line))
    return format.read(line) is not None or is_half
