"""Which pictures are versions of one another: copies, other colours, small changes, mirrored."""

import io
import pathlib
from collections.abc import Sequence

import numpy as np
from PIL import Image

from msmm.core import images, workers
from msmm.core.progress import ProgressBar

SIDE = 32  # pixels of a thumbnail, whatever the proportions of the picture
COLOUR, GREY = 0.96, 0.97  # correlations from which thumbnails are of one family
BLOCK = 512  # thumbnails that are compared with all others at once


def thumbnails(pictures: Sequence[bytes | pathlib.Path], pool: workers.Workers) -> np.ndarray:
    """N pictures on white as [N, SIDE, SIDE, 3] uint8; all 0 for a broken one."""
    found = np.zeros((len(pictures), SIDE, SIDE, 3), np.uint8)
    bar = ProgressBar(pictures, "looking for near-duplicates", unit="images")
    for number, pixels in pool.map(thumbnail, enumerate(bar)):
        if pixels is not None:
            found[number] = np.frombuffer(pixels, np.uint8).reshape(SIDE, SIDE, 3)
    return found


def families(thumbnails: np.ndarray) -> list[int]:
    """For each of N `thumbnails` the number of the first one of its family.

    Two that correlate by more than COLOUR, or in grey by more than GREY, as they are or one of
    them mirrored, are of one family, and so are their relatives.
    """
    first = list(range(len(thumbnails)))

    def root(number):
        while first[number] != number:
            first[number] = first[first[number]]
            number = first[number]
        return number

    for one, other in similar(thumbnails):
        a, b = sorted((root(one), root(other)))
        first[b] = a
    return [root(number) for number in range(len(first))]


def similar(thumbnails: np.ndarray) -> list[tuple[int, int]]:
    """The pairs i < j of `thumbnails` that are alike."""
    pairs = set()
    colour = thumbnails.astype(np.float32)
    for pixels, least in ((colour, COLOUR), (colour.mean(-1, keepdims=True), GREY)):
        vectors, mirrored = _unit_vectors(pixels), _unit_vectors(pixels[:, :, ::-1])
        for start in range(0, len(vectors), BLOCK):
            block = vectors[start : start + BLOCK]
            for others in (vectors, mirrored):
                found = np.argwhere(block @ others[start:].T > least) + start
                pairs.update((i, j) for i, j in found.tolist() if i < j)
    return sorted(pairs)


def thumbnail(picture: bytes | pathlib.Path) -> bytes | None:
    """RGB bytes of SIDE x SIDE pixels; None where the picture is broken."""
    try:
        jpeg = images.to_jpeg(picture, 2 * SIDE)
    except images.BrokenImage:
        return None
    return Image.open(io.BytesIO(jpeg)).resize((SIDE, SIDE), Image.Resampling.BOX).tobytes()


def _unit_vectors(pixels: np.ndarray) -> np.ndarray:
    """[N, …] to [N, any] of mean 0 and length 1, whose products are correlations; all 0 of a grey one."""
    vectors = pixels.reshape(len(pixels), -1)
    vectors = vectors - vectors.mean(1, keepdims=True)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(lengths, 1e-6)
