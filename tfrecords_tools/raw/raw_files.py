"""The files of a raw data set, in folders or in zip files."""

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

LEVELS = 4  # of folders that are searched; the raw directory is the first
PHOTOGRAPHS = (".jpg", ".jpeg", ".png", ".gif")
# Errors of reading; zipfile raises RuntimeError for a password or an unknown compression.
UNREADABLE = (OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)


class RawFiles:
    """The contents of a raw directory: files by name wherever they are, and images by path.

    A file in a folder has precedence over one of the same name in a zip file, a shallower one over a deeper.
    """

    def __init__(self, directory: str | pathlib.Path, image_folders: tuple[str, ...]):
        """Lists the directory. Raises UserError where it does not exist or a zip file is broken.

        image_folders: the names (any case) of folders of images; no other file is searched for in them.
        """
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
        """The names of all files, in zip files too, without images."""
        return self._files.keys() | self._members.keys()

    def has_images(self, folder: str | None = None) -> bool:
        """Returns whether there are images, in a folder (any case) or a zip file, of a name if given."""
        folders = {path.name for path in self.image_folders}
        for places in self._photographs.values():
            folders |= {
                member.replace("\\", "/").rpartition("/")[0].rpartition("/")[2] for _, member in places
            }
        return bool(folders) if folder is None else folder.lower() in {name.lower() for name in folders}

    def where(self, name: str) -> str:
        """Returns the path of a file of `names` for messages."""
        if name in self._files:
            return str(self._files[name])
        archive, member = self._members[name]
        return f"{archive.filename}:{member}"

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[io.BufferedIOBase]:
        """Opens a file of `names` as a stream of bytes. Raises UserError where it cannot be read."""
        try:
            archive, member = self._members.get(name, (None, None))
            path = self._files.get(name)
            with open(path, "rb") if path else archive.open(member) as file:
                yield file
        except UNREADABLE as error:
            raise UserError(f"cannot read {self.where(name)} ({error}): download it again") from None

    def text(self, name: str) -> str:
        """Returns a file of `names` as UTF-8 text, with or without a byte order mark. Raises UserError."""
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
        """Returns the image `folder/name`: a file, or its bytes from a zip file.

        It may lie in any image folder as folder/name or as name. For a missing image, and for a `path` that
        leads out of the folder, the result is a path without a file. An image that cannot be read from its
        zip file any more, or is larger than `images.MAX_BYTES`, is returned as no bytes.
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
        """Yields all files outside of image folders, the shallowest first; collects the image folders."""
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
