"""Finds the files to annotate: paths, folders, globs and lists of paths, each photograph once."""

import collections
import contextlib
import filecmp
import fnmatch
import glob
import os
import stat
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from msmm.core import photo_files
from msmm.core.errors import UserError

STANDARD_INPUT = "-"

Found = tuple[str, str | None]  # a path, and the cause why it cannot be annotated


class Finder:
    """Finds photographs; iterating yields (path, None), or (path, the cause why it cannot be annotated).

    A folder that symbolic links reach twice, or a file, comes once.

    Attributes:
      left_out: what was left out, by reason, such as "folders of Synology". Counted while iterating.
    """

    def __init__(self, paths: Iterable[str], standard_input: Any = None, exclude: Sequence[str] = ()):
        """
        Args:
          paths: files, which are taken whatever their names are; folders, where every photograph
            below them is taken, by name or else by content; globs (`**` too); and "-" for a list on standard
            input, a path a line or ended by NUL. In folders, globs and lists, the folders of other programs
            and what they leave of a photograph (`a.jpg~`) are left out; in folders, hidden ones as well.
          standard_input: a binary stream that the list comes from; None where it is closed.
          exclude: globs of files and folders to leave out: of their names, or with "/" of their paths, or of
            the ends of their paths.

        Raises:
          UserError: a path does not exist, or a pattern is empty.
        """
        self.left_out: collections.Counter[str] = collections.Counter()
        self._standard_input = standard_input
        self._excluded = [_Pattern(text) for text in exclude]
        self._expanded = [
            (path, *_expand(path)) for path in paths
        ]  # all of them, before the first is annotated
        self._seen_files: set[int] = set()
        self._seen_folders: set[tuple[int, int]] = set()

    def describe_left_out(self, start: str = "", end: str = "") -> str:
        """Returns what was left out in one line, or "" where nothing was."""
        counts = ", ".join(f"{reason}: {n:,}" for reason, n in sorted(self.left_out.items()) if n)
        unused = ", ".join(
            f"--exclude={pattern.text} matches nothing" for pattern in self._excluded if not pattern.count
        )
        text = "; ".join(filter(None, [counts and f"left out: {counts}", unused]))
        return f"{start}{text}{end}" if text else ""

    def __iter__(self) -> Iterator[Found]:
        for path, names, is_literal in self._expanded:
            is_list = path == STANDARD_INPUT
            for name in _read_list(self._standard_input) if is_list else names:
                if "\0" in name:  # which no file's name has: a list that is neither of lines nor ended by NUL
                    yield name, "missing file"
                    continue
                if not is_literal and self._is_left_out(name, path):
                    continue
                if not self._exclude(name):
                    yield from self._new(self._walk(name))

    def _new(self, found: Iterator[Found]) -> Iterator[Found]:
        for path, cause in found:
            key = hash(os.path.realpath(path))  # of 100,000 paths the hashes are kept, not the names
            if key not in self._seen_files:
                self._seen_files.add(key)
                yield path, cause

    def _walk(self, path: str) -> Iterator[Found]:
        """Yields a file, or what is in a folder and those below it, in the order of their names."""
        try:
            status = os.stat(path)
        except FileNotFoundError:
            yield path, "missing file"
            return
        except OSError as error:  # a link to itself, a folder that may not be entered
            yield path, f"unreadable file ({error.strerror})"
            return
        if not stat.S_ISDIR(status.st_mode):
            yield path, _check_file(path, status.st_mode)
            return
        stack = [path]
        while stack:
            folder = stack.pop()
            try:
                status = os.stat(folder)
                if (status.st_dev, status.st_ino) in self._seen_folders:
                    continue
                self._seen_folders.add((status.st_dev, status.st_ino))
                with os.scandir(folder) as scanned:
                    entries = sorted(scanned, key=lambda entry: entry.name)
            except OSError as error:
                yield folder, f"unreadable folder ({error.strerror})"
                continue
            if folder != path and _is_cache(folder, entries):
                self.left_out["cache folders"] += 1
                continue
            folders = []
            for entry in entries:
                if _is_folder(entry):
                    folders += [entry.path] * self._wants_folder(entry, folder)
                elif self._wants_file(entry, folder):
                    yield from self._walk(entry.path)
            stack += reversed(folders)

    def _wants_folder(self, entry: os.DirEntry, folder: str) -> bool:
        parent = os.path.basename(os.path.abspath(folder))
        if owner := photo_files.owner_of_folder(entry.name, parent):
            self.left_out[f"folders of {owner}"] += 1
        elif entry.name.startswith("."):
            self.left_out["hidden folders"] += 1
        else:
            return not self._exclude(entry.path)
        return False

    def _wants_file(self, entry: os.DirEntry, folder: str) -> bool:
        name = entry.name
        if name.startswith("."):
            # `._a.jpg` is what macOS writes beside `a.jpg`: no photograph. `.a.jpg.icloud` stands for one.
            remote = name.endswith(".icloud") and photo_files.is_photograph(name.removesuffix(".icloud"), b"")
            self.left_out["photographs that iCloud has not downloaded"] += remote
            self.left_out["hidden files"] += photo_files.is_photo_name(name) and not name.startswith("._")
        else:
            head = _look_into(entry)
            if photo_files.is_photograph(name, head):
                if not self._is_leftover(folder, name):
                    return not self._exclude(entry.path)
                self.left_out["backup copies"] += 1
            elif photo_files.is_video(name, head) and entry.is_file() and not photo_files.is_leftover(name):
                self.left_out["videos"] += not self._exclude(entry.path)
        return False

    def _is_left_out(self, path: str, pattern: str) -> bool:
        """Returns whether a path of a glob or list is of another program, as it would be in a folder."""
        folders = os.path.dirname(path).split(os.sep)
        named = set(os.path.dirname(pattern).split(os.sep))  # by the glob itself
        for parent, name in zip(["", *folders], folders, strict=False):
            if name not in named and (owner := photo_files.owner_of_folder(name, parent)):
                self.left_out[f"files in folders of {owner}"] += 1
                return True
        name = os.path.basename(path)
        if not photo_files.is_photo_name(name) and os.path.isdir(path):
            if owner := photo_files.owner_of_folder(name, folders[-1]):
                self.left_out[f"folders of {owner}"] += 1
            return bool(owner)
        wants_leftovers = photo_files.is_leftover(os.path.basename(pattern))
        if not wants_leftovers and self._is_leftover(os.path.dirname(path), name):
            self.left_out["backup copies"] += 1
            return True
        if photo_files.needs_content(name) and _is_video_file(path):
            self.left_out["videos"] += 1
            return True
        return False

    def _is_leftover(self, folder: str, name: str) -> bool:
        if photo_files.is_leftover(name):
            return True
        original = photo_files.original_of_copy(name)
        if original is None:
            return False
        with contextlib.suppress(OSError):
            return filecmp.cmp(os.path.join(folder, name), os.path.join(folder, original), shallow=False)
        return False

    def _exclude(self, path: str) -> bool:
        excluded = False
        for pattern in self._excluded:
            if pattern.matches(path):
                excluded = True
        self.left_out["by --exclude"] += excluded
        return excluded


class _Pattern:
    """A glob of --exclude, in composed Unicode: macOS writes names decomposed."""

    def __init__(self, text: str):
        self.text, self.count = text, 0
        pattern = unicodedata.normalize("NFC", text.rstrip("/"))
        if not pattern:
            raise UserError(
                f"expected a glob in --exclude, such as '*_small.jpg' or cache. Received: {text!r}"
            )
        self._only_folders = text.endswith("/")
        self._is_name = "/" not in pattern
        pattern = os.path.normpath(pattern)
        self._patterns = [pattern] if self._is_name or os.path.isabs(pattern) else [pattern, f"*/{pattern}"]

    def matches(self, path: str) -> bool:
        text = unicodedata.normalize("NFC", os.path.normpath(path))
        text = os.path.basename(text) if self._is_name else text
        matched = any(fnmatch.fnmatchcase(text, pattern) for pattern in self._patterns)
        matched = matched and (not self._only_folders or os.path.isdir(path))
        self.count += matched
        return matched


def _expand(path: str) -> tuple[list[str], bool]:
    """Returns the paths that an argument stands for, and whether it is one itself."""
    if path != STANDARD_INPUT and ".." not in path.split(os.sep):
        path = os.path.normpath(path)  # so that `photos/` is `photos` in a second run, too
    if path == STANDARD_INPUT:
        return [], False
    if os.path.lexists(path):
        return [path], True
    names = sorted(glob.glob(path, recursive=True))
    if not names:
        raise UserError(f"no such file or folder: {path!r}")
    return names, False


def _read_list(stream: Any) -> Iterator[str]:
    """Yields the paths of a list as they come in."""
    ended_by, rest = b"", b""
    while block := (stream.read1(1 << 16) if stream else b""):
        ended_by = ended_by or (b"\0" if b"\0" in block else b"\n")
        *names, rest = (rest + block).split(ended_by)
        yield from (os.fsdecode(name.removesuffix(b"\r")) for name in names if name.strip())
    if rest.strip():
        yield os.fsdecode(rest.removesuffix(b"\r"))


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_cache(folder: str, entries: Sequence[os.DirEntry]) -> bool:
    """Returns whether a folder is marked as a cache (https://bford.info/cachedir)."""
    if not any(entry.name == photo_files.CACHE_TAG for entry in entries):
        return False
    return _read_head(os.path.join(folder, photo_files.CACHE_TAG)).startswith(photo_files.CACHE_SIGNATURE)


def _check_file(path: str, mode: int) -> str | None:
    if not stat.S_ISREG(mode):
        return "not a file"  # a pipe would be waited for without end
    if not photo_files.needs_content(path):
        return None  # read later, by many processes
    return photo_files.explain_unreadable(path, _read_head(path))


def _look_into(entry: os.DirEntry) -> bytes:
    """Returns the first bytes of a file in a folder, or b"" where its name alone decides or it is none."""
    with contextlib.suppress(OSError):
        if photo_files.needs_content(entry.name) and entry.is_file():
            return _read_head(entry.path)
    return b""


def _is_video_file(path: str) -> bool:
    return os.path.isfile(path) and photo_files.is_video(path, _read_head(path))


def _read_head(path: str) -> bytes:
    with contextlib.suppress(OSError), open(path, "rb") as file:
        return file.read(photo_files.HEAD_BYTES)
    return b""
