"""Decides by name and content whether a file is a photograph, and which folders belong to other programs.

`photos.finding`, the packer and the page use these functions, so their decisions agree.
"""

import contextlib
import functools
import importlib.util
import re
import struct
import unicodedata
from typing import NamedTuple

HEAD_BYTES = 4096  # the beginning of a file, which shows its format
PHOTO_EXTENSIONS = (".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".mpo", ".png", ".apng", ".webp", ".gif",
                    ".tif", ".tiff", ".bmp", ".dib", ".ppm", ".pgm", ".pbm", ".pnm")  # fmt: skip
RAW_EXTENSIONS = (".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".fff", ".gpr", ".iiq",
                  ".kdc", ".mef", ".mos", ".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf", ".rw2", ".rwl",
                  ".sr2", ".srf", ".srw", ".x3f")  # fmt: skip
_CONTAINERS = {".heic": "HEIC", ".heif": "HEIC", ".hif": "HEIC", ".avif": "AVIF"}
CONTAINER_FORMATS = frozenset(_CONTAINERS.values())  # read from ISO base media files
# Photographs to their owner, but of formats that are not read: reported, not passed over.
UNREADABLE_EXTENSIONS = (".jxl", ".jp2", ".jpf", ".j2k", ".svg", ".psd")
ALL_EXTENSIONS = (*PHOTO_EXTENSIONS, *_CONTAINERS, *RAW_EXTENSIONS, *UNREADABLE_EXTENSIONS)
VIDEO_EXTENSIONS = (".3g2", ".3gp", ".asf", ".avi", ".flv", ".insv", ".lrv", ".m2t", ".m2ts", ".m4v", ".mkv",
                    ".mov", ".mp4", ".mpe", ".mpeg", ".mpg", ".mts", ".mxf", ".ogv", ".vob", ".webm",
                    ".wmv")  # fmt: skip
CAMERA_RAW = "camera raw"


class OptionalFormat(NamedTuple):
    """A format that is read where a package is installed.

    Attributes:
      module: what is imported.
      needed: what to install, in words.
      package: the name of the package.
    """

    module: str
    needed: str
    package: str


OPTIONAL_FORMATS = {
    "HEIC": OptionalFormat("pillow_heif", "the package pillow-heif", "pillow-heif"),
    "AVIF": OptionalFormat("PIL._avif", "Pillow 11.3 or later", "pillow"),
    CAMERA_RAW: OptionalFormat("rawpy", "the package rawpy", "rawpy"),
}
INSTALL = "pip install 'msmm[photos]'"

_READABLE_BEGINNINGS = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
}
READABLE_FORMATS = frozenset((*_READABLE_BEGINNINGS.values(), "WEBP", "TIFF"))  # without optional packages
_TIFF_BEGINNINGS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_OTHER_BEGINNINGS = {  # of formats that are not read, or only where a package is installed
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL \r\n\x87\n": "JPEG XL",
    b"\0\0\0\x0cjP  \r\n\x87\n": "JPEG 2000",
    b"8BPS\0": "PSD",
    b"FUJIFILMCCD-RAW": CAMERA_RAW,
    b"IIRO": CAMERA_RAW,  # Olympus
    b"IIRS": CAMERA_RAW,
    b"MMOR": CAMERA_RAW,
    b"IIU\0": CAMERA_RAW,  # Panasonic
    b"\0MRM": CAMERA_RAW,  # Minolta
    b"FOVb": CAMERA_RAW,  # Sigma
}
# Brands of ISO base media files that hold still images; others are films.
_BRANDS = {
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), "HEIC"),
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
    b"crx ": CAMERA_RAW,
}
# A film may name the brand of an image among others, but is not one.
_FILMS = (b"qt  ", b"isom", b"iso2", b"iso4", b"iso5", b"iso6", b"mp41", b"mp42", b"avc1", b"M4V ", b"M4VH",
          b"M4VP", b"MSNV", b"XAVC", b"dash", b"3gp4", b"3gp5", b"3gp6", b"3gr6", b"3gs6", b"3g2a",
          b"3g2b", b"3g2c")  # fmt: skip

# What editors, downloads and tools leave of a photograph: `a.jpg_original`, `a.jpg~`, `a.jpg (copy)` …
_ENDINGS = "|".join(extension[1:] for extension in ALL_EXTENSIONS)
_LEFTOVER = re.compile(
    r".*~"
    r"|.*\.(bak|backup|bkp|old|orig|original|sav|tmp|temp|part|partial|filepart|download|crdownload|opdownload|swp)"
    rf"|.*\.({_ENDINGS})(_original|_exiftool_tmp|_backup|_bak|_old)"
    rf"|.*\.({_ENDINGS})[ ._-]*\(?(another |\d+(st|nd|rd|th) )?copy( ?\d+)?\)?"
    r"|(synophoto|synofile|synoindex)_(thumb|film|media).*"
    r"|albumart(_\{.*\}_(large|small)|small)\.jpg"
)
# `a (copy).jpg`, `a - Kopie (2).jpg`, `a(1).jpg`: left out only where `a.jpg` has the same bytes.
_WORDS = "(?:copy|kopie|copie|copia|kopia|cópia)"
_COPY = re.compile(
    rf"(?P<name>.+?)(?:[ _-]*\((?:\d+|(?:another |\d+(?:st|nd|rd|th) )?{_WORDS}(?: \d+)?)\)"
    rf"|[ _-]+{_WORDS}(?: ?\(?\d+\)?)?)",
    re.IGNORECASE,
)

_FOLDERS = {
    "Synology": ("@eadir", "#recycle", "#snapshot", "@tmp", ".synologyworkingdirectory"),
    "QNAP": ("@recycle", "@recently-snapshot", ".@__thumb", "@__thumb", ".@upload_cache"),
    "a network store's snapshots": ("~snapshot", ".snapshot", ".snapshots", ".zfs"),
    "thumbnails": ("thumbs", ".thumbs", "thumbnails", ".thumbnail", ".thumbnails", ".zpsthumbs",
                   "thumbnails_big", "square_thumbnails", "square_thumbnails_small"),
    "Syncthing": (".stversions", ".stfolder"),
    "Resilio Sync": (".sync",),
    "Nextcloud": ("files_trashbin", "files_versions", ".nextcloudsync"),
    "Dropbox": (".dropbox.cache",),
    "Google Drive": (".tmp.driveupload", ".tmp.drivedownload"),
    "digiKam": (".dtrash",),
    "Picasa": (".picasaoriginals", "picasa2", "picasa2albums", "picasa3"),
    "Adobe Bridge": (".bridgecache", ".bridgecachet"),
    "Immich": ("encoded-video",),
    "Plex": ("plex versions", "phototranscoder"),
    "a recycle bin": ("$recycle.bin", "recycler", "recycled", ".trash", ".trashes", "lost+found"),
    "Windows": ("system volume information",),
    "macOS": ("__macosx", ".fseventsd", ".spotlight-v100", ".temporaryitems", ".documentrevisions-v100"),
}  # fmt: skip
_PROGRAMS = {name: program for program, names in _FOLDERS.items() for name in names}
_FOLDER_PATTERNS = {
    "Lightroom": r".*\.(lrdata|lrcat-data|lrlibrary)",
    "Apple Photos": r".*\.(photoslibrary|photolibrary|migratedphotolibrary|aplibrary|migratedaplibrary)",
    "darktable": r"mipmaps-[0-9a-f]+\.d",
    "Nextcloud": r"appdata_[0-9a-z]+",
    "Capture One": r".*\.(cocatalog|coproofs|cot)",
    "Time Machine": r".*\.backupdb",
    "a recycle bin": r"\.trash-\d+",
    "a network store's snapshots": r"@gmt-.*",
}
# Where the originals lie in a library that is named itself; all else in it is the program's own.
_ORIGINALS = {"Apple Photos": ("originals", "masters")}
_CAPTURE_ONE = "captureone"
CACHE_TAG = "CACHEDIR.TAG"
CACHE_SIGNATURE = b"Signature: 8a477f597d28d172789f06886806bc55"


def detect_format(head: bytes) -> str | None:
    """Returns the format of an image file from its first bytes, or None where they show none.

    `READABLE_FORMATS` are read, and `OPTIONAL_FORMATS` where their package is installed. Other names are of
    formats that are not read.
    """
    for beginning, name in (_READABLE_BEGINNINGS | _OTHER_BEGINNINGS).items():
        if head.startswith(beginning):
            return name
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[4:8] == b"ftyp" and not _is_film(head):
        brands = [head[at : at + 4] for at in (8, *range(16, min(int.from_bytes(head[:4], "big"), 256), 4))]
        return next((_BRANDS[brand] for brand in brands if brand in _BRANDS), None)
    if head.startswith(_TIFF_BEGINNINGS):
        return CAMERA_RAW if _is_raw_tiff(head) else "TIFF"
    return None


def identify(name: str, head: bytes) -> str | None:
    """Returns the format as which a file is read, or None where neither content nor name shows one.

    The content decides. The name decides where the content shows no format. It also decides for camera raw
    files: most begin like TIFF and would give their small preview.

    Args:
      name: the file's name or path; "" where there is none.
      head: the first `HEAD_BYTES` bytes.
    """
    extension, form = _extension(name), detect_format(head)
    if extension in RAW_EXTENSIONS and form in (None, "TIFF") and not _is_film(head):
        return CAMERA_RAW
    return form or (None if _is_film(head) else _CONTAINERS.get(extension))


def explain_unreadable(name: str, head: bytes) -> str | None:
    """Returns why a file cannot be read as a photograph, or None where its name and content allow it.

    The arguments are those of `identify`.
    """
    extension, form = _extension(name), identify(name, head)
    if form in OPTIONAL_FORMATS:
        package = missing_package(form)
        return f"{form} is not read without {package}: {INSTALL}, or export it as JPEG" if package else None
    if form in READABLE_FORMATS:
        return None
    if is_video(name, head):
        return "videos are not annotated"
    if extension in UNREADABLE_EXTENSIONS:
        return f"{extension} is not read: export it as JPEG"
    return f"{form} is not read: export it as JPEG" if form else None


def missing_package(form: str) -> str | None:
    """Returns what has to be installed for a format of `OPTIONAL_FORMATS`, or None where it is."""
    optional = OPTIONAL_FORMATS[form]
    return optional.needed if importlib.util.find_spec(optional.module) is None else None


def is_video(name: str, head: bytes) -> bool:
    """Returns whether a file is a film, by its content or else by its name."""
    return detect_format(head) is None and (_is_film(head) or _extension(name) in VIDEO_EXTENSIONS)


def _is_film(head: bytes) -> bool:
    return head[4:8] == b"ftyp" and head[8:12] in _FILMS


def is_camera_raw_name(name: str) -> bool:
    """Returns whether a name alone makes a file a camera raw file."""
    return _extension(name) in RAW_EXTENSIONS


def is_photo_name(name: str) -> bool:
    """Returns whether a name alone makes a file a photograph."""
    return _extension(name) in PHOTO_EXTENSIONS


def needs_content(name: str) -> bool:
    """Returns whether the first bytes of a file are needed to decide."""
    return not is_photo_name(name)


def is_photograph(name: str, head: bytes) -> bool:
    """Returns whether a file in a folder is a photograph to its owner, readable or not.

    A TIFF with a foreign extension (maps, microscopes, fax) is not a photograph. One without any extension
    is.
    """
    extension, form = _extension(name), detect_format(head)
    if extension in ALL_EXTENSIONS:
        return True
    return form is not None and form != "PSD" and (form not in ("TIFF", CAMERA_RAW) or not extension)


def is_leftover(name: str) -> bool:
    """Returns whether a name belongs to a backup, a copy or an unfinished download."""
    return bool(_LEFTOVER.fullmatch(unicodedata.normalize("NFC", name).casefold()))


def original_of_copy(name: str) -> str | None:
    """Returns the name of the original of a copy such as `a (copy).jpg`, or None for other names."""
    stem, dot, extension = name.rpartition(".")
    match = _COPY.fullmatch(stem) if dot else None
    return match["name"] + dot + extension if match else None


def owner_of_folder(name: str, parent: str = "") -> str | None:
    """Returns the program to which a folder belongs, or None for a person's own.

    Args:
      name: the folder's name.
      parent: the name of the folder that it is in.
    """
    name, parent = (unicodedata.normalize("NFC", part).casefold() for part in (name, parent))
    library = _match_folder(parent)
    if library in _ORIGINALS and name not in _ORIGINALS[library]:
        return library
    if parent == _CAPTURE_ONE and name in ("cache", "settings"):
        return "Capture One"
    return _match_folder(name)


@functools.lru_cache(maxsize=4096)
def _match_folder(name: str) -> str | None:
    if name in _PROGRAMS:
        return _PROGRAMS[name]
    return next((p for p, pattern in _FOLDER_PATTERNS.items() if re.fullmatch(pattern, name)), None)


def _extension(name: str) -> str:
    """Returns the ending of a name in lower case; unlike `os.path.splitext`, also of `.jpg` and `a. jpg`."""
    base = re.split(r"[/\\]", name)[-1]
    return ("." + base.rpartition(".")[2]).lower().replace(" ", "") if "." in base else ""


_SUBFILE_TYPE, _PHOTOMETRIC, _SUB_IFDS, _DNG_VERSION = 254, 262, 330, 50706
_SENSOR = (32803, 34892)  # photometric interpretations: colour filter array, linear raw


def _is_raw_tiff(head: bytes) -> bool:
    """Returns whether the first directory of a TIFF file belongs to a camera raw file or its preview."""
    if head[8:10] == b"CR":  # Canon's CR2
        return True
    order = "<" if head[:1] == b"I" else ">"
    if head[2:4] in (b"+\0", b"\0+"):  # BigTIFF, which no camera writes
        return False
    values = {}
    with contextlib.suppress(struct.error):  # a directory further behind, as most programs write it
        (start,) = struct.unpack_from(f"{order}I", head, 4)
        (count,) = struct.unpack_from(f"{order}H", head, start)
        for index in range(count):
            tag, kind = struct.unpack_from(f"{order}HH", head, start + 2 + 12 * index)
            format = "H" if kind == 3 else "I"
            (values[tag],) = struct.unpack_from(f"{order}{format}", head, start + 10 + 12 * index)
    is_preview = values.get(_SUBFILE_TYPE, 0) & 1 and _SUB_IFDS in values
    return bool(_DNG_VERSION in values or is_preview or values.get(_PHOTOMETRIC) in _SENSOR)
