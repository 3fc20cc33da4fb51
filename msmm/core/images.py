"""Decodes any image file to upright RGB pixels or a JPEG of them, or explains why it cannot.

Pillow decodes all but HEIC (pillow-heif) and camera raw files (`camera_raw`).
"""

import functools
import io
import pathlib
import warnings

from PIL import Image, PngImagePlugin, TiffImagePlugin, UnidentifiedImageError

from msmm.core import camera_raw, colour_modes, isobmff, jpeg, photo_files

# Pillow's EPS and PDF readers start other programs: only what photographs come in.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "PPM")
RAW = "msmm:camera_raw"  # in the `info` of an image: it came from a camera raw file
BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"RIFF", b"II*\x00", b"MM\x00*", b"BM")
# Bounds of memory and time. A JPEG is decoded at a fraction of its size, or discarded as it is decoded, so
# that telephones' 200 million pixels are read; of other formats, the largest cameras' 151 million. WebP takes
# three times the memory.
MAX_PIXELS = {"JPEG": 210_000_000, "WEBP": 110_000_000}
MAX_OTHER_PIXELS = 160_000_000
MAX_SIDE = 65_500  # pixels; libjpeg's own limit
MAX_SCANNED = 4_000_000_000  # pixels times scans of a JPEG: each scan, a hundred bytes, is a pass over all
MAX_MADE = 4_000_000_000  # pixels times images that are made of others in a HEIC or AVIF file
MAX_BYTES = 1 << 30  # of a file; 160 million pixels of 16 bits and three colours take 960 MB
Image.MAX_IMAGE_PIXELS = max(MAX_PIXELS.values())  # of Pillow, which knows one limit for all
# Memory of images that Pillow keeps for the next one, blocks of 16 MiB: new memory costs a tenth of the time.
Image.core.set_blocks_max(2)
PngImagePlugin.MAX_TEXT_CHUNK = 32 << 20  # bytes of one text, unpacked: XMP with years of edits has megabytes
ORIENTATION = 0x0112  # the EXIF tag
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
QUALITY = 95  # of what is encoded again, without subsampling of the colours


class BrokenImage(Exception):
    """Raised for an image that cannot be used; the message is the cause, one of a few fixed phrases."""


def to_jpeg(image: bytes | pathlib.Path, short_side: int | None = None) -> bytes:
    """Converts an image to upright RGB JPEG bytes; a file that is one already comes back byte for byte.

    The whole file is decoded. Other formats, colour modes and orientations are encoded again
    (quality 95, 4:4:4): the first frame, transparency over white, 16 bits to 8.

    Args:
      image: the bytes of a file, or its path.
      short_side: a larger image is scaled down to this shorter side (pixels), aspect kept.

    Raises:
      BrokenImage: with the cause.
    """
    data, name = (image, "") if isinstance(image, bytes) else (read_bytes(image), image.name)
    return _to_jpeg(data, name, short_side)


def _to_jpeg(data: bytes, name: str, short_side: int | None) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's advice on odd files, and its own pixel limit
        opened = _open(data, name)
        size = opened.size
        if short_side is not None and min(size) > short_side:
            width, height = (max(1, round(side * short_side / min(opened.size))) for side in opened.size)
            size = width, height
        try:
            upright_rgb = opened.mode == "RGB" and _turn(opened) is None
            is_jpeg = opened.format in ("JPEG", "MPO")
            kept = is_jpeg and upright_rgb and size == opened.size and RAW not in opened.info
            if is_jpeg:  # decoded as a whole, but no more pixels are painted than are of use
                opened.draft(None, (1, 1) if kept else (2 * size[0], 2 * size[1]))
            opened.load()
            if kept:
                return data
            turn = _turn(opened)  # again: Pillow turns a TIFF as it loads it
            pixels = colour_modes.to_rgb(opened)
        except Exception:  # Pillow's readers raise many types on damaged pixels
            raise BrokenImage("does not decode") from None
    if pixels.size != size:
        pixels = pixels.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    return encode(pixels if turn is None else pixels.transpose(turn), QUALITY, subsampling=0)


def convert_or_explain(image: bytes | pathlib.Path, short_side: int | None = None) -> bytes | str | None:
    """Runs `to_jpeg` for another process.

    Returns:
      New bytes, None where the image stays as it is (see `read_or_explain`), or the cause why it is broken.
    """
    try:
        data, name = (image, "") if isinstance(image, bytes) else (read_bytes(image), image.name)
        converted = _to_jpeg(data, name, short_side)
    except BrokenImage as error:
        return str(error)
    return None if converted is data else converted


def load(data: bytes, name: str = "", least: int | None = None) -> Image.Image:
    """Decodes an image with Pillow; its `info` holds what else is in the file.

    Args:
      data: the bytes of the file.
      name: its name or path, which matters for camera raw files; "" where there is none.
      least: a JPEG may come at an eighth, a quarter or half of its size, no side shorter than this (pixels):
        far quicker, and what is lost would be lost by scaling down.

    Raises:
      BrokenImage: with the cause.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's advice on odd files, and its own pixel limit
        opened = _open(data, name)
        try:
            if least is not None and opened.format in ("JPEG", "MPO"):
                opened.draft(None, (least, least))
            opened.load()
        except Exception:  # Pillow's readers raise many types on damaged pixels
            raise BrokenImage("does not decode") from None
    return opened


def upright(loaded: Image.Image) -> Image.Image:
    """Converts a loaded image to RGB, upright: the first frame, transparency over white, 16 bits to 8.

    Raises:
      BrokenImage: with the cause.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's advice on damaged EXIF
            turn, pixels = _turn(loaded), colour_modes.to_rgb(loaded)
    except Exception:  # damaged EXIF, palettes, colour modes
        raise BrokenImage("does not decode") from None
    return pixels if turn is None else pixels.transpose(turn)


def read_or_explain(image: bytes | pathlib.Path) -> bytes | str:
    """Returns the bytes of an image, or the cause why it cannot be read."""
    try:
        return image if isinstance(image, bytes) else read_bytes(image)
    except BrokenImage as error:
        return str(error)


def _open(data: bytes, name: str) -> Image.Image:
    if not data:
        raise BrokenImage("empty file")
    head = data[: photo_files.HEAD_BYTES]
    if cause := photo_files.explain_unreadable(name, head):
        raise BrokenImage(cause)
    form = photo_files.identify(name, head)
    if form == photo_files.CAMERA_RAW:
        return _open_camera_raw(data)
    if form not in photo_files.CONTAINER_FORMATS:
        return _open_bounded(data, FORMATS)
    pixels, made = isobmff.measure_decoding(data)
    if pixels > MAX_OTHER_PIXELS:
        raise BrokenImage("too many pixels")
    if pixels * made > MAX_MADE:
        raise BrokenImage("too many layers")
    return _open_bounded(data, (_register_heif() if form == "HEIC" else "AVIF",))


@functools.cache
def _register_heif() -> str:
    """Lets Pillow open HEIC files, and returns its name for the format."""
    import pillow_heif

    pillow_heif.options.DECODE_THREADS = 1  # many processes decode at once
    pillow_heif.register_heif_opener(thumbnails=False)
    return "HEIF"


def _open_camera_raw(data: bytes) -> Image.Image:
    try:
        picture = camera_raw.extract_picture(data)
    except camera_raw.Unreadable as error:
        raise BrokenImage(str(error)) from None
    if isinstance(picture.content, bytes):
        opened = _open_bounded(picture.content, ("JPEG",))
    else:
        opened = Image.fromarray(picture.content)
    try:
        exif = opened.getexif()
        exif[ORIENTATION] = picture.find_turn(*opened.size, exif.get(ORIENTATION, 1))
    except Exception:  # damaged EXIF of many kinds
        raise BrokenImage("does not decode") from None
    opened.info[RAW] = True
    return opened


def _open_bounded(data: bytes, formats: tuple[str, ...]) -> Image.Image:
    """Opens an image of one of some formats whose decoding costs a bounded time and memory."""
    try:
        opened = Image.open(io.BytesIO(data), formats=formats)
    except Image.DecompressionBombError:
        raise BrokenImage("too many pixels") from None
    except UnidentifiedImageError:
        cut_off = data.startswith(BEGINNINGS) or data[4:8] == b"ftyp"
        raise BrokenImage("does not decode" if cut_off else "not an image of a known format") from None
    except Exception:  # Pillow's readers raise many types on damaged headers
        raise BrokenImage("does not decode") from None
    most = MAX_PIXELS.get("JPEG" if opened.format == "MPO" else str(opened.format), MAX_OTHER_PIXELS)
    if opened.width * opened.height > most or max(opened.size) > MAX_SIDE:
        raise BrokenImage("too many pixels")
    try:
        scanned = _count_scanned_pixels(opened, data)
    except Exception:  # tags of a damaged TIFF file hold values of many types
        raise BrokenImage("does not decode") from None
    if scanned > MAX_SCANNED:
        raise BrokenImage("too many scans")
    return opened


def _count_scanned_pixels(opened: Image.Image, data: bytes) -> int:
    """Returns the pixels that libjpeg passes over, each once a scan; 0 where it is not used."""
    if opened.format in ("JPEG", "MPO"):
        return opened.width * opened.height * jpeg.count_scans(data)
    if not isinstance(opened, TiffImagePlugin.TiffImageFile) or "jpeg" not in str(
        opened.info.get("compression")
    ):
        return 0
    # A TIFF file is cut into strips or tiles, each a JPEG stream of its own.
    tags = opened.tag_v2
    starts, sizes = (_as_tuple(tags.get(tag, tags.get(other))) for tag, other in ((324, 273), (325, 279)))
    if sum(sizes) > 2 * len(data) or len(starts) != len(sizes):  # they overlap
        return MAX_SCANNED + 1
    width, height = tags.get(322, opened.width), tags.get(323, tags.get(278, opened.height))
    pixels = min(width, MAX_SIDE) * min(height, opened.height + 16)
    return sum(
        pixels * jpeg.count_scans(data, start, start + size)
        for start, size in zip(starts, sizes, strict=True)
    )


def _as_tuple(value) -> tuple[int, ...]:
    return () if value is None else value if isinstance(value, tuple) else (value,)


def encode(image: Image.Image, quality: int, subsampling: int = -1) -> bytes:
    """Encodes an RGB image as JPEG bytes, without anything else that came with the file."""
    image.info = {}
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, subsampling=subsampling)
    return buffer.getvalue()


def read_bytes(path: pathlib.Path) -> bytes:
    """Reads a file of bounded size.

    Raises:
      BrokenImage: with the cause.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise BrokenImage("file too large")
        return path.read_bytes()
    except FileNotFoundError:
        raise BrokenImage("missing file") from None
    except OSError:
        raise BrokenImage("unreadable file") from None


def _turn(image: Image.Image) -> Image.Transpose | None:
    return TURNS.get(image.getexif().get(ORIENTATION, 1))
