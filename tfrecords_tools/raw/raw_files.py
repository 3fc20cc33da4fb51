"""The files of a raw data set as people have them: in folders, or in the zip files they came in."""

import collections
import contextlib
import io
import os
import pathlib
import zipfile
import zlib
from collections.abc import Iterator

from msmm.core import images
from msmm.core.errors import UserError

LEVELS = 4  # of folders in which files are looked for; the raw directory is the first
PHOTOGRAPHS = (".jpg", ".jpeg", ".png", ".gif")
# What reading can end in; RuntimeError is zipfile's word for a password or an unknown compression.
UNREADABLE = (OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)


class RawFiles:
    """What lies in a raw directory: files by name wherever they are, and images by path.

    A file in a folder goes before one of the same name in a zip file, a shallower before a deeper.
    """

    def __init__(self, directory: str | pathlib.Path, image_folders: tuple[str, ...]):
        """image_folders: names (any case) of the folders that images are in; nothing else is looked for
        there. Raises UserError where there is no such directory or a zip file is broken."""
        self.directory = pathlib.Path(directory)
        if not self.directory.is_dir():
            raise UserError(f"no folder {self.directory}: expected --raw_dir=DIR, where the raw data set is")
        self.image_folders: list[pathlib.Path] = []
        self._image_names = {name.lower() for name in image_folders}
        self._files: dict[str, pathlib.Path] = {}
        self._members: dict[str, tuple[zipfile.ZipFile, str]] = {}
        self._photographs: dict[str, list[tuple[zipfile.ZipFile, str]]] = collections.defaultdict(list)
        archives = []
        for path in self._walk():
            archives += [path] if path.suffix.lower() == ".zip" else []
            self._files.setdefault(path.name, path)
        for path in archives:
            self._read_archive(path)

    @property
    def names(self) -> set[str]:
        """The names of all files, those in zip files too, images left out."""
        return self._files.keys() | self._members.keys()

    def has_images(self, folder: str | None = None) -> bool:
        """Whether there is an image folder, of this name if one is given, or a zip file with such images."""
        folders = {path.name for path in self.image_folders}
        for places in self._photographs.values():
            folders |= {
                member.replace("\\", "/").rpartition("/")[0].rpartition("/")[2] for _, member in places
            }
        return bool(folders if folder is None else folder in folders)

    def where(self, name: str) -> str:
        """The path of a file of `names`, for people."""
        if name in self._files:
            return str(self._files[name])
        archive, member = self._members[name]
        return f"{archive.filename}:{member}"

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[io.BufferedIOBase]:
        """A file of `names` as a stream of bytes. Raises UserError where it cannot be read."""
        try:
            archive, member = self._members.get(name, (None, None))
            path = self._files.get(name)
            with open(path, "rb") if path else archive.open(member) as file:
                yield file
        except UNREADABLE as error:
            raise UserError(f"cannot read {self.where(name)} ({error}): download it again") from None

    def text(self, name: str) -> str:
        """A file of `names` as UTF-8 text, with or without a byte order mark. Raises UserError."""
        with self.open(name) as file:
            data = file.read()
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise UserError(
                f"{self.where(name)}:{line}: expected UTF-8 text, got byte 0x{data[error.start]:02x}"
            ) from None

    def image(self, path: str) -> pathlib.Path | bytes:
        """The image `folder/name`: a file, or its bytes from a zip file.

        It may lie in any image folder as folder/name or as name. What is nowhere is the path
        where it is missed; what a zip file cannot give any more, or says to be of more than
        `images.MAX_BYTES`, is no bytes. A path that leads out of the folder is one of nothing.
        """
        name = path.rpartition("/")[2]
        inside = name and ".." not in path.split("/") and "\0" not in path
        for folder in self.image_folders if inside else ():
            for candidate in (f"{folder}/{path}", f"{folder}/{name}"):
                if os.path.isfile(candidate):
                    return pathlib.Path(candidate)
        places = self._photographs.get(name, ())
        for archive, member in sorted(places, key=lambda place: not place[1].endswith(path)):
            try:
                small = archive.getinfo(member).file_size <= images.MAX_BYTES
                return archive.read(member) if small else b""
            except UNREADABLE:
                return b""
        missed = self.image_folders[0] if self.image_folders else self.directory
        return missed / (path if inside else "a path that leads elsewhere")

    def _walk(self) -> Iterator[pathlib.Path]:
        """All files outside of image folders, the shallowest first; notes the image folders."""
        folders, flat = [self.directory], False
        for _ in range(LEVELS):
            below = []
            for folder in folders:
                try:
                    entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
                except OSError as error:
                    raise UserError(f"cannot read the folder {folder}: {error.strerror}") from None
                for entry in entries:
                    if entry.name.lower().endswith(PHOTOGRAPHS):
                        flat |= folder == self.directory
                    elif not entry.is_dir():
                        yield pathlib.Path(entry.path)
                    elif entry.name.lower() in self._image_names:
                        self.image_folders.append(pathlib.Path(entry.path))
                    elif not entry.name.startswith((".", "__MACOSX")):
                        below.append(pathlib.Path(entry.path))
            folders = below
        if flat:
            self.image_folders.append(self.directory)

    def _read_archive(self, path: pathlib.Path) -> None:
        try:
            archive = zipfile.ZipFile(path)
        except UNREADABLE as error:
            raise UserError(f"{path} is no whole zip file ({error}): download it again") from None
        for member in archive.namelist():
            folder, _, name = member.replace("\\", "/").rpartition("/")
            if not name or folder.startswith("__MACOSX"):
                continue
            if name.lower().endswith(PHOTOGRAPHS):
                self._photographs[name].append((archive, member))
            else:
                self._members.setdefault(name, (archive, member))
