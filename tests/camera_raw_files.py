"""Camera raw files for tests: a minimal DNG file, written value by value."""

import io
import struct

import numpy as np
from PIL import Image

SHORT, LONG, ASCII, BYTE, SIGNED = 3, 4, 2, 1, 10  # types of TIFF values
_MOST_ENTRIES = 40  # of the first directory
_SIZES = {SHORT: "H", LONG: "I", SIGNED: "i"}
_IDENTITY = [1, 1, 0, 1, 0, 1, 0, 1, 1, 1, 0, 1, 0, 1, 0, 1, 1, 1]  # a colour matrix of fractions


class _Writer:
    """Collects the parts of a little-endian TIFF file."""

    def __init__(self):
        # The first directory stands at the beginning, as cameras write it.
        self.data = bytearray(b"II*\0\x08\0\0\0") + bytes(2 + 12 * _MOST_ENTRIES + 4)

    def put(self, content: bytes) -> int:
        """Appends content at an even position, which is returned."""
        self.data += bytes(len(self.data) % 2)
        self.data += content
        return len(self.data) - len(content)

    def put_directory(self, entries, is_first: bool = False) -> int:
        """Writes a directory of (tag, type, value or values), and returns its position."""
        cells = []
        for tag, kind, value in sorted(entries):
            values = value if isinstance(value, list | bytes) else [value]
            count = len(values) // 2 if kind == SIGNED else len(values)
            content = (
                values if isinstance(values, bytes) else struct.pack(f"<{len(values)}{_SIZES[kind]}", *values)
            )
            cell = content.ljust(4, b"\0") if len(content) <= 4 else struct.pack("<I", self.put(content))
            cells.append(struct.pack("<HHI", tag, kind, count) + cell)
        content = struct.pack("<H", len(cells)) + b"".join(cells) + bytes(4)
        if not is_first:
            return self.put(content)
        self.data[8 : 8 + len(content)] = content
        return 8


def encode_jpeg(image: Image.Image, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()


def make_dng(
    preview: bytes | None,
    orientation: int = 1,
    sensor: np.ndarray | None = None,
    xmp: bytes = b"",
    iptc: bytes = b"",
    windows: str = "",
    size: tuple[int, int] | None = None,
) -> bytes:
    """Returns a DNG file.

    Args:
      preview: the bytes of the JPEG in its first directory, or None for none.
      orientation: EXIF's number.
      sensor: uint16 [H, W] up to 1000 behind red, green, green and blue filters. [a flat grey, 48 x 64]
      xmp: a packet.
      iptc: records.
      windows: what Windows writes as keywords.
      size: of the JPEG, width and height, pixels, as the file states it. [as the JPEG states it]
    """
    sensor = np.full((48, 64), 500) if sensor is None else sensor
    height, width = sensor.shape
    writer = _Writer()
    strip = sensor.astype("<u2").tobytes()
    mosaic = [
        *((254, LONG, 0), (256, LONG, width), (257, LONG, height), (258, SHORT, 16), (259, SHORT, 1)),
        *((262, SHORT, 32803), (273, LONG, writer.put(strip)), (277, SHORT, 1), (278, LONG, height)),
        *((279, LONG, len(strip)), (33421, SHORT, [2, 2]), (33422, BYTE, bytes([0, 1, 1, 2]))),
        (50717, LONG, 1000),
    ]
    entries = [
        *((271, ASCII, b"Maker\0"), (272, ASCII, b"Model\0"), (274, SHORT, orientation)),
        *((330, LONG, writer.put_directory(mosaic)), (50706, BYTE, bytes([1, 4, 0, 0]))),
        *((50708, ASCII, b"Maker Model\0"), (50721, SIGNED, _IDENTITY), (50778, SHORT, 21)),
    ]
    entries += [(700, BYTE, xmp)] if xmp else []
    entries += [(33723, BYTE, iptc)] if iptc else []
    entries += [(40094, BYTE, windows.encode("utf-16-le"))] if windows else []
    if preview is not None:
        size = size or Image.open(io.BytesIO(preview)).size
        entries += [
            *((254, LONG, 1), (256, LONG, size[0]), (257, LONG, size[1]), (258, SHORT, [8, 8, 8])),
            *((259, SHORT, 7), (262, SHORT, 6), (273, LONG, writer.put(preview)), (277, SHORT, 3)),
            *((278, LONG, size[1]), (279, LONG, len(preview))),
        ]
    writer.put_directory(entries, is_first=True)
    return bytes(writer.data)
