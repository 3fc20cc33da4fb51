"""Extracts keywords and texts from an image file: IPTC records, XMP packets and Windows' EXIF keywords."""

import contextlib
import dataclasses
import io
import re
import struct
import warnings

from PIL import Image, JpegImagePlugin, TiffImagePlugin

from msmm.core import images, isobmff
from msmm.photos import xmp

IPTC_KEYWORDS = (2, 25)  # record and data set
IPTC_TEXTS = ((2, 5), (2, 105), (2, 120))  # title, headline, caption
IPTC_PLACES = ((2, 90), (2, 92), (2, 95), (2, 101))  # city, part of it, state, country
_IPTC_RESOURCE = 0x0404  # of a Photoshop image resource block
_TIFF_XMP, _TIFF_IPTC, _TIFF_PHOTOSHOP, _XP_KEYWORDS = 700, 33723, 34377, 0x9C9E
_PHOTOSHOP, _XMP = b"Photoshop 3.0\0", b"http://ns.adobe.com/xap/1.0/\0"
_EXTENDED_XMP = b"http://ns.adobe.com/xmp/extension/\0"
_GIF_XMP, _GIF_TRAILER = b"\x21\xff\x0bXMP DataXMP", b"\x01\xff\xfe\xfd"
_CR3_XMP = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")  # the box that Canon's files hold it in
_RAW_PROFILE = re.compile(r"\s*[\w ]+\n\s*\d+\s+([0-9a-fA-F\s]*)")


@dataclasses.dataclass
class Metadata:
    """Keywords as they lie in a file.

    iptc: raw values of IPTC Keywords. texts, places: of IPTC titles and captions, and place names.
    packets: XMP.
    windows: keywords that Windows' Explorer has put into EXIF. problems: causes why some were not read.
    """

    iptc: list[bytes] = dataclasses.field(default_factory=list)
    texts: list[bytes] = dataclasses.field(default_factory=list)
    places: list[bytes] = dataclasses.field(default_factory=list)
    packets: list[bytes] = dataclasses.field(default_factory=list)
    windows: list[str] = dataclasses.field(default_factory=list)
    problems: list[str] = dataclasses.field(default_factory=list)


def extract_metadata(image: Image.Image, data: bytes) -> Metadata:
    """Extracts keywords from a loaded image.

    Args:
      image: as `images.load` returns it.
      data: the bytes of its file.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's advice on odd files
        return _extract(image, data)


def _extract(image: Image.Image, data: bytes) -> Metadata:
    found = Metadata()
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        _extract_from_jpeg(found, image.applist)
    elif image.format == "PNG":
        _extract_from_png(found, image.info)
    elif isinstance(image, TiffImagePlugin.TiffImageFile):
        _extract_from_tiff(found, image.tag_v2)
    elif image.format == "GIF":
        _extract_from_gif(found, data)
    elif image.info.get("xmp"):
        found.packets.append(image.info["xmp"])
    windows = image.getexif().get(_XP_KEYWORDS, b"")
    if images.RAW in image.info:
        windows = _extract_from_raw(found, data) or windows
    if isinstance(windows, tuple) and all(isinstance(byte, int) and 0 <= byte < 256 for byte in windows):
        windows = bytes(windows)
    if isinstance(windows, bytes):
        whole = windows[: len(windows) // 2 * 2]  # some programs end it by a single zero
        found.windows = whole.decode("utf-16-le", "replace").rstrip("\0").split(";")
    found.packets = [packet for packet in found.packets if not xmp.is_blank(packet)]
    return found


def _extract_from_jpeg(found: Metadata, segments: list[tuple[str, bytes]]) -> None:
    contents = [content for kind, content in segments if kind == "APP1"]
    found.packets += [content[len(_XMP) :] for content in contents if content.startswith(_XMP)]
    _join_extended_xmp(found, [c[len(_EXTENDED_XMP) :] for c in contents if c.startswith(_EXTENDED_XMP)])
    # A block larger than a segment goes on in the next.
    blocks = [c[len(_PHOTOSHOP) :] for kind, c in segments if kind == "APP13" and c.startswith(_PHOTOSHOP)]
    _extract_resources(found, b"".join(blocks))


def _join_extended_xmp(found: Metadata, pieces: list[bytes]) -> None:
    """Joins the pieces of a packet that is too large for a segment; the main packet names its GUID."""
    packets: dict[bytes, dict[int, bytes]] = {}
    sizes = {}
    for piece in pieces:
        guid, size, offset = (
            piece[:32],
            int.from_bytes(piece[32:36], "big"),
            int.from_bytes(piece[36:40], "big"),
        )
        if any(guid in packet for packet in found.packets):  # else it is of an earlier state of the file
            packets.setdefault(guid, {})[offset] = piece[40:]
            sizes[guid] = size
    for guid, parts in packets.items():
        joined = b"".join(part for _, part in sorted(parts.items()))
        if len(joined) == sizes[guid]:
            found.packets.append(joined)
        else:
            found.problems.append("incomplete XMP")


def _extract_from_png(found: Metadata, info: dict) -> None:
    """Reads texts of a PNG file; ImageMagick and exiftool write other formats' blocks as "raw profiles"."""
    packet = info.get("xmp") or info.get("XML:com.adobe.xmp") or b""
    found.packets.append(packet.encode() if isinstance(packet, str) else packet)
    for name, text in info.items():
        kind = str(name).lower().removeprefix("raw profile type ")
        if kind == str(name).lower() or kind not in ("iptc", "8bim", "app13", "xmp", "app1"):
            continue
        match = _RAW_PROFILE.fullmatch(str(text).rstrip("\0"))
        digits = re.sub(r"\s", "", match[1]) if match else ""
        block = b"" if len(digits) % 2 else bytes.fromhex(digits)
        if not block:
            found.problems.append("damaged raw profile")
        elif kind in ("xmp", "app1"):
            if kind == "xmp" or block.startswith(_XMP):
                found.packets.append(block.removeprefix(_XMP))
        else:
            block = block.removeprefix(_PHOTOSHOP)
            (_extract_resources if block.startswith(b"8BIM") else _extract_iptc)(found, block)


def _extract_from_tiff(found: Metadata, tags) -> None:
    # Some programs write IPTC's bytes as whole numbers of four bytes; Pillow, too, reads them here.
    packet, iptc, photoshop = (
        tags._tagdata.get(tag, b"") for tag in (_TIFF_XMP, _TIFF_IPTC, _TIFF_PHOTOSHOP)
    )
    found.packets.append(packet)
    if iptc[:1] != b"\x1c" == iptc[3:4]:  # such numbers in the other byte order
        iptc = b"".join(iptc[at : at + 4][::-1] for at in range(0, len(iptc), 4))
    _extract_iptc(found, iptc)
    if not found.iptc:  # Photoshop writes both
        _extract_resources(found, photoshop)


def _extract_from_raw(found: Metadata, data: bytes) -> object:
    """Reads what a camera raw file holds beside its picture, and returns Windows' keywords or None.

    Most are TIFF files, Olympus' and Panasonic's but for their first bytes.
    """
    for kind, start, end in isobmff.find_boxes(data) if data[4:8] == b"ftyp" else ():
        if kind == b"uuid" and data[start : start + 16] == _CR3_XMP:
            found.packets.append(data[start + 16 : end])
    magic = {b"II": b"II*\0", b"MM": b"MM\0*"}.get(data[:2])
    if magic is None or data[:4] == b"MMOR":
        return None
    directory = TiffImagePlugin.ImageFileDirectory_v2(magic + data[4:8])
    with contextlib.suppress(Exception):  # of many types, in what is no TIFF file after all
        stream = io.BytesIO(data)
        stream.seek(directory.next)
        directory.load(stream)
    _extract_from_tiff(found, directory)
    return directory.get(_XP_KEYWORDS)


def _extract_from_gif(found: Metadata, data: bytes) -> None:
    start = data.find(_GIF_XMP)
    if start >= 0:
        start += len(_GIF_XMP)
        end = data.find(_GIF_TRAILER, start)
        found.packets.append(data[start : end if end >= 0 else len(data)])


def _extract_resources(found: Metadata, data: bytes) -> None:
    """Reads the IPTC records in Photoshop's image resources: "8BIM", id, name, size and content of each."""
    at = 0
    try:
        while data[at : at + 4] == b"8BIM":
            number, length = struct.unpack_from(">HB", data, at + 4)
            at += 4 + 2 + (1 + length + 1) // 2 * 2
            (size,) = struct.unpack_from(">I", data, at)
            at += 4
            if number == _IPTC_RESOURCE:
                _extract_iptc(found, data[at : at + size])
            at += size + size % 2
    except struct.error:
        found.problems.append("damaged IPTC")
        return
    if at > len(data) + 1:
        found.problems.append("damaged IPTC")


def _extract_iptc(found: Metadata, data: bytes) -> None:
    at = 0
    while at + 5 <= len(data) and data[at] == 0x1C:
        record, number, size = struct.unpack_from(">BBH", data, at + 1)
        at += 5
        if size & 0x8000:  # the size itself takes that many bytes
            width = size & 0x7FFF
            size = int.from_bytes(data[at : at + min(width, 8)], "big")
            at += width
        value = data[at : at + size]
        at += size
        if at > len(data):
            found.problems.append("damaged IPTC")
            return
        if (record, number) == IPTC_KEYWORDS:
            found.iptc.append(value)
        elif (record, number) in IPTC_TEXTS:
            found.texts.append(value)
        elif (record, number) in IPTC_PLACES:
            found.places.append(value)
    if data[at:].strip(b"\0"):
        found.problems.append("damaged IPTC")
