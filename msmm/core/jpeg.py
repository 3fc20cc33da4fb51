"""The markers of a JPEG stream, up to its end. Later bytes, such as a film, belong to another file."""

import re
from collections.abc import Iterator

SOS, EOI = 0xDA, 0xD9
_ALONE = frozenset((0x01, *range(0xD0, 0xD9)))  # markers without a length: TEM, RST0 … RST7, SOI
_MARKER = re.compile(rb"\xff([^\x00\xff])")
_MARKER_IN_SCAN = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")


def find_markers(data: bytes, start: int = 0, end: int | None = None) -> Iterator[tuple[int, int]]:
    """Yields (marker, position of its second byte) of a stream, up to its end, as libjpeg reads it.

    Pixels of a scan are skipped, and so are segments with all that they hold, such as thumbnails.
    """
    end = len(data) if end is None else min(end, len(data))
    pattern, at = _MARKER, start
    while match := pattern.search(data, at, end):
        marker, at = match[1][0], match.end()
        yield marker, at - 1
        if marker == EOI:
            return
        if marker not in _ALONE:
            at += max(2, int.from_bytes(data[at : at + 2], "big"))
        pattern = _MARKER_IN_SCAN if marker == SOS else _MARKER


def count_scans(data: bytes, start: int = 0, end: int | None = None) -> int:
    """Returns the number of scans of a JPEG stream; each is a pass over all of its pixels."""
    return sum(marker == SOS for marker, _ in find_markers(data, start, end))
