"""Any image file to upright RGB pixels or a JPEG of them, or the cause why not. Pillow only."""

import io
import pathlib
import warnings

import numpy as np
from PIL import Image, UnidentifiedImageError

# Pillow's EPS and PDF readers start other programs: only what photographs come in.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "PPM")
BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"RIFF", b"II*\x00", b"MM\x00*", b"BM")
MAX_PIXELS = 100_000_000
MAX_SIDE = 65_500  # pixels; libjpeg's own limit
MAX_SCANNED = 4_000_000_000  # pixels times scans of a JPEG: each scan, a hundred bytes, is a pass over all
MAX_BYTES = 1 << 30  # of a file; 100 million pixels of 16 bits and three colours take 600 MB
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
    """An image that cannot be used; the message is the cause, one of a few fixed phrases."""


def to_jpeg(image: bytes | pathlib.Path, short_side: int | None = None) -> bytes:
    """The image as upright RGB JPEG bytes; a file that is one already comes back byte for byte.

    The whole file is decoded. Other formats, colour modes and orientations are encoded again
    (quality 95, 4:4:4): the first frame, transparency over white, 16 bits to 8. With
    `short_side` (pixels) a larger image is scaled down to it, aspect kept.

    Raises BrokenImage with the cause.
    """
    data = image if isinstance(image, bytes) else _read(image)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's advice on odd files, and its own pixel limit
        opened = _open(data)
        size = opened.size
        if short_side is not None and min(size) > short_side:
            size = tuple(max(1, round(side * short_side / min(opened.size))) for side in opened.size)
        try:
            upright_rgb = opened.mode == "RGB" and _turn(opened) is None
            kept = opened.format in ("JPEG", "MPO") and upright_rgb and size == opened.size
            # A JPEG is decoded as a whole, but no more pixels are painted than are of use.
            opened.draft(None, (1, 1) if kept else [2 * side for side in size])
            opened.load()
            turn = _turn(opened)  # again: Pillow turns a TIFF as it loads it
            pixels = None if kept else _rgb(opened)
        except Exception:  # Pillow's readers raise many types on damaged pixels
            raise BrokenImage("does not decode") from None
    if kept:
        return data
    if pixels.size != size:
        pixels = pixels.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    return encode(pixels if turn is None else pixels.transpose(turn), QUALITY, subsampling=0)


def checked(image: bytes | pathlib.Path, short_side: int | None = None) -> bytes | str | None:
    """What `to_jpeg` says of an image, made to be sent from process to process.

    New bytes, or None where the image stays as it is (see `read`), or the cause why it is broken.
    """
    try:
        data = image if isinstance(image, bytes) else _read(image)
        jpeg = to_jpeg(data, short_side)
    except BrokenImage as error:
        return str(error)
    return None if jpeg is data else jpeg


def load(image: bytes | pathlib.Path, least: int | None = None) -> Image.Image:
    """The image as Pillow decodes it, with what else is in the file in its `info`.

    With `least` (pixels) a JPEG may come at an eighth, a quarter or half of its size, no side
    shorter than that: far quicker, and what is lost would be lost by scaling down.

    Raises BrokenImage with the cause.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's advice on odd files, and its own pixel limit
        opened = _open(image if isinstance(image, bytes) else _read(image))
        try:
            if least is not None:
                opened.draft(None, (least, least))
            opened.load()
        except Exception:  # Pillow's readers raise many types on damaged pixels
            raise BrokenImage("does not decode") from None
    return opened


def upright(loaded: Image.Image) -> Image.Image:
    """A loaded image in RGB, the right way up: the first frame, transparency over white, 16 bits to 8.

    Raises BrokenImage.
    """
    try:
        turn, pixels = _turn(loaded), _rgb(loaded)
    except Exception:  # damaged EXIF, palettes, colour modes
        raise BrokenImage("does not decode") from None
    return pixels if turn is None else pixels.transpose(turn)


def read(image: bytes | pathlib.Path) -> bytes | str:
    """The bytes of an image, or the cause why it cannot be read."""
    try:
        return image if isinstance(image, bytes) else _read(image)
    except BrokenImage as error:
        return str(error)


def _open(data: bytes) -> Image.Image:
    if not data:
        raise BrokenImage("empty file")
    try:
        opened = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError:
        raise BrokenImage("too many pixels") from None
    except UnidentifiedImageError:
        cut_off = data.startswith(BEGINNINGS)
        raise BrokenImage("does not decode" if cut_off else "not an image of a known format") from None
    except Exception:  # Pillow's readers raise many types on damaged headers
        raise BrokenImage("does not decode") from None
    if opened.width * opened.height > MAX_PIXELS or max(opened.size) > MAX_SIDE:
        raise BrokenImage("too many pixels")
    is_jpeg = opened.format in ("JPEG", "MPO") or "jpeg" in str(opened.info.get("compression"))
    if is_jpeg and opened.width * opened.height * data.count(b"\xff\xda") > MAX_SCANNED:
        raise BrokenImage("too many scans")
    return opened


def encode(image: Image.Image, quality: int, subsampling: int = -1) -> bytes:
    """JPEG bytes of an RGB image, without anything else that came with the file."""
    image.info = {}
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, subsampling=subsampling)
    return buffer.getvalue()


def _read(path: pathlib.Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise BrokenImage("file too large")
        return path.read_bytes()
    except FileNotFoundError:
        raise BrokenImage("missing file") from None
    except OSError:
        raise BrokenImage("unreadable file") from None


def _turn(image: Image.Image) -> Image.Transpose | None:
    return TURNS.get(image.getexif().get(ORIENTATION))


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):  # Pillow would clip at 255
        image = Image.fromarray((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8))
    elif image.mode in ("I", "F"):  # no fixed range: the brightest pixel becomes white
        image = _stretched(image)
    if image.has_transparency_data:
        return _over_white(image)
    return image.convert("RGB")


def _strips(image: Image.Image):
    """An image in pieces of 256 rows, and the box of each: there may be 100 million pixels."""
    for top in range(0, image.height, 256):
        box = (0, top, image.width, min(top + 256, image.height))
        yield box, image.crop(box)


def _over_white(image: Image.Image) -> Image.Image:
    flat = Image.new("RGB", image.size)
    for box, strip in _strips(image):
        white = Image.new("RGBA", strip.size, "white")
        flat.paste(Image.alpha_composite(white, strip.convert("RGBA")).convert("RGB"), box)
    return flat


def _stretched(image: Image.Image) -> Image.Image:
    """Numbers of any size as 8 bits, the largest 255."""

    def strips():
        for box, strip in _strips(image):
            yield box, np.nan_to_num(np.asarray(strip, dtype=np.float64), posinf=0.0).clip(0)

    most = max(1e-9, *(values.max() for _, values in strips()))
    stretched = Image.new("L", image.size)
    for box, values in strips():
        stretched.paste(Image.fromarray((values * (255.0 / most)).astype(np.uint8)), box)
    return stretched
