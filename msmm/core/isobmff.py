"""The boxes of ISO base media files (HEIC, AVIF, CR3), and what decoding a HEIC or AVIF file costs."""

from collections.abc import Iterator

MAX_BOXES = 100_000  # of one level; a photograph has some hundred
_OVERLAY = b"iovl"  # an image of many others, each of any size; cameras write grids


def find_boxes(data: bytes, start: int = 0, end: int | None = None) -> Iterator[tuple[bytes, int, int]]:
    """Yields (type, start, end) of the content of each box of one level, up to the first damaged one."""
    end = len(data) if end is None else min(end, len(data))
    for _ in range(MAX_BOXES):
        if start + 8 > end:
            return
        size, header = int.from_bytes(data[start : start + 4], "big"), 8
        if size == 1:  # the size itself takes eight bytes behind the type
            size, header = int.from_bytes(data[start + 8 : start + 16], "big"), 16
        elif size == 0:
            size = end - start
        if size < header or start + size > end:
            return
        yield data[start + 4 : start + 8], start + header, start + size
        start += size


def measure_decoding(data: bytes) -> tuple[int, int]:
    """Returns the pixels of the largest image in a HEIC or AVIF file, and how many images are made of others.

    A telephone's photograph is a grid: one image made of tiles. Each image made of others is at most a pass
    over the pixels, but an overlay is as many as it has parts.
    """
    largest, made = 0, 0
    for kind, start, end in find_boxes(data):
        if kind != b"meta":
            continue
        for part, first, last in find_boxes(data, start + 4, end):
            if part == b"iprp":
                largest = max(largest, _find_largest(data, first, last))
            elif part == b"iref":
                made += sum(kind == b"dimg" for kind, *_ in find_boxes(data, first + 4, last))
            elif part == b"iinf" and _OVERLAY in data[first:last]:
                made += MAX_BOXES
    return largest, made


def _find_largest(data: bytes, start: int, end: int) -> int:
    """Returns the pixels of the largest image by the property `ispe`: version, flags, width and height."""
    sizes = [
        int.from_bytes(data[at + 4 : at + 8], "big") * int.from_bytes(data[at + 8 : at + 12], "big")
        for container, first, last in find_boxes(data, start, end)
        if container == b"ipco"
        for kind, at, _ in find_boxes(data, first, last)
        if kind == b"ispe"
    ]
    return max(sizes, default=0)
