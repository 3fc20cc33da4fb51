"""Reads the words that a photograph has without anybody's tagging, and when it was taken.

The words come from the names of its folders and its file, and from its title and caption. Names of places, of
the event, and of camera and lens count too. Data sets that are packed from a photo library use them as tags,
and `annotate` gives them to models of such a data set. One function makes them for both.
"""

import dataclasses
import datetime
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

from PIL import Image

from msmm.core.text import JOINING, normalise_tag
from msmm.photos import xmp
from msmm.photos.keywords import decode_iptc
from msmm.photos.metadata import Metadata, extract_metadata

FOLDERS = 3  # the nearest folders whose names count
MAX_TEXT = 4000  # characters of a title or caption that are read
_SHORTEST = 3  # letters of a word; of Chinese, Japanese and Korean 2
_LONGEST_PHRASE = 3  # words of a folder's name that are a tag as a whole

# Names that cameras, telephones and editors give to files and folders.
_MADE_UP = frozenset(
    ("img", "dsc", "dscn", "dscf", "pxl", "mvi", "gopr", "sam", "dcim", "pano", "image", "images", "photo",
     "photos", "picture", "pictures", "pic", "pics", "foto", "fotos", "bild", "bilder", "file", "scan",
     "copy", "kopie", "copie", "edit", "edited", "export", "exported", "raw", "jpg", "jpeg", "png", "tif",
     "tiff", "webp", "originals")
)  # fmt: skip
_CAMERA_FOLDER = re.compile(r"\d{3}[A-Z0-9_]{5}")  # 100CANON, of the standard DCF
_MADE_UP_CAPTIONS = (
    "olympus digital camera",
    "sony dsc",
    "exif jpeg picture",
    "exif_jpeg_picture",
    "default",
)

_DESCRIPTION, _MAKE, _MODEL, _XP_TITLE, _XP_COMMENT = 0x010E, 0x010F, 0x0110, 0x9C9B, 0x9C9C
_EXIF, _TAKEN, _DIGITISED, _LENS = 0x8769, 0x9003, 0x9004, 0xA434
_PHOTOSHOP, _EXIF_XMP = "http://ns.adobe.com/photoshop/1.0/", "http://ns.adobe.com/exif/1.0/"
_XMP_TEXTS = (xmp.TITLE, xmp.DESCRIPTION, f"{_PHOTOSHOP} Headline", xmp.EVENT)
_XMP_PLACES = (
    *(f"{_PHOTOSHOP} {name}" for name in ("City", "State", "Country")),
    "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/ Location",
)
_XMP_CAMERA = ("http://ns.adobe.com/tiff/1.0/ Model", "http://ns.adobe.com/exif/1.0/aux/ Lens")
_XMP_TAKEN = (f"{_EXIF_XMP} DateTimeOriginal", f"{_PHOTOSHOP} DateCreated")
_DATE_IN_NAME = re.compile(
    r"(?<!\d)((?:19|20)\d\d)([-_.]?)(0[1-9]|1[0-2])\2(0[1-9]|[12]\d|3[01])(?!\d)"
)  # 20190712, 2019-07-12
_TIME = re.compile(r"(\d{4})[:-](\d\d)[:-](\d\d)(?:[ T](\d\d):(\d\d)(?::(\d\d))?)?")


@dataclasses.dataclass(frozen=True)
class Context:
    """The words of a photograph as normalised tags, each once, and its local time.

    taken: "2019-07-12T10:11:12", or "2019-07-12" where only the day is known, or None.
    """

    words: tuple[str, ...] = ()
    taken: str | None = None


def read_context(
    photo: str,
    image: Image.Image,
    data: bytes,
    packets: Sequence[xmp.Packet],
    folders: Sequence[str] | None = None,
) -> Context:
    """Reads the context of a photograph.

    Args:
      photo: its path.
      image: as `images.load` returns it.
      data: the bytes of its file.
      packets: XMP, its sidecars' and its own.
      folders: the names of its folders, the nearest last; by default those of its path.
    """
    if folders is None:
        folders = os.path.dirname(os.path.abspath(photo)).split(os.sep)
    words = [word for folder in folders[-FOLDERS:] for word in folder_words(folder)]
    name = os.path.splitext(os.path.basename(photo))[0]
    words += split_words(name)
    try:
        found, exif = extract_metadata(image, data), image.getexif()
        inner = exif.get_ifd(_EXIF)
    except Exception:  # what Pillow keeps of a damaged file is of many types
        found, exif, inner = Metadata(), Image.Exif(), {}
    for text in _texts(found, exif, packets):
        if normalise_tag(text) not in _MADE_UP_CAPTIONS:
            words += split_words(text[:MAX_TEXT])
    words += _phrases(_places(found, packets))
    words += _phrases(_equipment(exif, inner, packets))
    dates = [inner.get(_TAKEN), inner.get(_DIGITISED)]
    dates += [value for packet in packets for tag in _XMP_TAKEN for value in packet.values(tag)]
    taken = next(filter(None, map(_parse_time, dates)), None) or _date_in_name(name)
    return Context(tuple(dict.fromkeys(words)), taken)


def embedded_packets(image: Image.Image, data: bytes) -> list[xmp.Packet]:
    """Returns the XMP packets in a photograph itself that can be read."""
    packets = []
    try:
        found = extract_metadata(image, data)
    except Exception:  # what Pillow keeps of a damaged file is of many types
        return []
    for packet in found.packets:
        try:
            packets.append(xmp.parse_any(packet))
        except xmp.BadPacket:
            continue
    return packets


def folder_words(name: str) -> list[str]:
    """Returns the words of a folder's name, and the name as a whole: `new york`, `new`, `york`."""
    if _CAMERA_FOLDER.fullmatch(name):
        return []
    words = split_words(name)
    letters = normalise_tag(_letters(name))
    phrase = [letters] if 1 < len(letters.split()) <= _LONGEST_PHRASE and words else []
    return [*phrase, *words]


def split_words(text: str) -> list[str]:
    """Returns the words of a text as normalised tags, without numbers, short words and names of counters."""
    words = (normalise_tag(word) for word in _letters(text).split())
    return list(dict.fromkeys(word for word in words if _is_word(word)))


def _letters(text: str) -> str:
    """Returns words with spaces between them, and nothing else: `Summer Trip` of `SummerTrip_2019`."""
    text = re.sub(r"['’]s\b", "", text)  # Anna's birthday
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", unicodedata.normalize("NFC", text))
    return "".join(c if unicodedata.category(c)[0] in "LM" else " " for c in text)


def _is_word(word: str) -> bool:
    least = _SHORTEST if word.isascii() or word[:1] < "\u2e80" else 2
    return len(word) >= least and word not in _MADE_UP and word not in JOINING


def _texts(found: Metadata, exif: Image.Exif, packets: Sequence[xmp.Packet]) -> Iterator[str]:
    yield from map(decode_iptc, found.texts)
    description = exif.get(_DESCRIPTION)
    if isinstance(description, str):
        yield description
    for tag in (_XP_TITLE, _XP_COMMENT):
        value = exif.get(tag, b"")
        if isinstance(value, bytes):
            yield value.decode("utf-16-le", "replace").rstrip("\0")
    yield from (value for packet in packets for name in _XMP_TEXTS for value in packet.values(name))


def _places(found: Metadata, packets: Sequence[xmp.Packet]) -> Iterator[str]:
    yield from map(decode_iptc, found.places)
    yield from (value for packet in packets for name in _XMP_PLACES for value in packet.values(name))


def _equipment(exif: Image.Exif, inner: dict, packets: Sequence[xmp.Packet]) -> Iterator[str]:
    """Yields the maker, camera and lens: "NIKON CORPORATION" is `nikon`, its "NIKON D90" stays."""
    make = exif.get(_MAKE)
    if isinstance(make, str):
        yield from make.split()[:1]
    yield from (value for value in (exif.get(_MODEL), inner.get(_LENS)) if isinstance(value, str))
    yield from (value for packet in packets for name in _XMP_CAMERA for value in packet.values(name))


def _phrases(values: Iterable[str]) -> list[str]:
    """Returns short texts as tags, each as a whole."""
    tags = (normalise_tag(xmp.clean(value.rstrip("\0"))) for value in values)
    return [tag for tag in tags if tag and len(tag) <= 100]


def _parse_time(value) -> str | None:
    match = _TIME.match(value) if isinstance(value, str) else None
    if not match:
        return None
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups())
    try:
        moment = datetime.datetime(year, month, day, hour, minute, second)
    except ValueError:  # 0000:00:00, of a camera without a clock
        return None
    return moment.isoformat(timespec="seconds") if match[4] else moment.date().isoformat()


def _date_in_name(name: str) -> str | None:
    match = _DATE_IN_NAME.search(name)
    return _parse_time(f"{match[1]}-{match[3]}-{match[4]}") if match else None
