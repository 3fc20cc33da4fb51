"""Which files to annotate: paths, folders, globs and lists of paths, each photograph once."""

import glob
import os
import stat
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from msmm.core.errors import UserError

STANDARD_INPUT = "-"
PHOTOS = (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".gif", ".tif", ".tiff", ".bmp",
          ".ppm", ".pgm", ".pnm")  # fmt: skip
# Photographs to their owner, but of formats that are not read here: said, not passed over.
UNREADABLE = (".heic", ".heif", ".avif", ".jxl", ".jp2", ".svg", ".psd", ".cr2", ".cr3", ".nef", ".arw",
              ".dng", ".orf", ".raf", ".rw2", ".pef", ".srw")  # fmt: skip
# What a photograph under another name begins with. TIFF is not among them: camera raw files begin so.
BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a")

Found = tuple[str, str | None]  # a path, and the cause why it cannot be annotated


def find(paths: Iterable[str], standard_input: BinaryIO) -> Iterator[Found]:
    """Yields (path, None) of every photograph, or (path, the cause why it cannot be one).

    paths: files, which are taken whatever their names are; folders, of which every photograph
        below them is taken, by name or else by content, hidden ones left out; globs (`**` too);
        and "-" for a list on standard input, a path a line or ended by NUL.

    A folder that symbolic links reach twice, or a file, comes once. Raises UserError before
    anything else if a path is not there.
    """
    expanded = [(path, _expand(path)) for path in paths]  # all of them, before the first is done
    seen_files: set[int] = set()
    seen_folders: set[tuple[int, int]] = set()
    for path, names in expanded:
        for name in _listed(standard_input) if path == STANDARD_INPUT else names:
            if "\0" in name:  # which no file's name has: a list that is neither of lines nor ended by NUL
                yield name, "missing file"
                continue
            for found in _below(name, seen_folders):
                # Of 100,000 paths the hashes are kept, not the names.
                key = hash(os.path.realpath(found[0]))
                if key not in seen_files:
                    seen_files.add(key)
                    yield found


def _expand(path: str) -> list[str]:
    if path != STANDARD_INPUT and ".." not in path.split(os.sep):
        path = os.path.normpath(path)  # so that `photos/` is `photos` in a second run, too
    if path == STANDARD_INPUT or os.path.lexists(path):
        return [path]
    names = sorted(glob.glob(path, recursive=True))
    if not names:
        raise UserError(f"no such file or folder: {path!r}")
    return names


def _listed(stream: BinaryIO) -> Iterator[str]:
    """The paths of a list, as they come in."""
    ended_by, rest = None, b""
    while block := stream.read1(1 << 16):
        ended_by = ended_by or (b"\0" if b"\0" in block else b"\n")
        *names, rest = (rest + block).split(ended_by)
        yield from (os.fsdecode(name.removesuffix(b"\r")) for name in names if name.strip())
    if rest.strip():
        yield os.fsdecode(rest.removesuffix(b"\r"))


def _below(path: str, seen_folders: set[tuple[int, int]]) -> Iterator[Found]:
    """A file, or what is in a folder and those below it, in the order of their names."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        yield path, "missing file"
        return
    except OSError as error:  # a link to itself, a folder that may not be entered
        yield path, f"unreadable file ({error.strerror})"
        return
    if not stat.S_ISDIR(status.st_mode):
        yield path, _unfit(path, status.st_mode)
        return
    stack = [path]
    while stack:
        folder = stack.pop()
        try:
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in seen_folders:
                continue
            seen_folders.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as entries:
                entries = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            yield folder, f"unreadable folder ({error.strerror})"
            continue
        folders = []
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if _is_folder(entry):
                folders.append(entry.path)
            elif _looks_like_a_photo(entry):
                yield from _below(entry.path, seen_folders)
        stack += reversed(folders)


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _unfit(path: str, mode: int) -> str | None:
    extension = os.path.splitext(path)[1].lower()
    if not stat.S_ISREG(mode):
        return "not a file"  # a pipe would be waited for without end
    if extension in UNREADABLE:
        return f"{extension} is not read: export it as JPEG"
    return None


def _looks_like_a_photo(entry: os.DirEntry) -> bool:
    extension = os.path.splitext(entry.name)[1].lower()
    if extension in PHOTOS + UNREADABLE:
        return True
    try:
        if not entry.is_file():
            return False
        with open(entry.path, "rb") as file:
            beginning = file.read(16)
    except OSError:
        return False
    return beginning.startswith(BEGINNINGS) or (beginning[:4] == b"RIFF" and beginning[8:12] == b"WEBP")
