"""Finds pictures that are versions of one another: copies, other colours, small changes, mirrored."""

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
    """Returns N pictures on white as uint8 [N, SIDE, SIDE, 3]; a broken one is all 0."""
    shrunk = np.zeros((len(pictures), SIDE, SIDE, 3), np.uint8)
    bar = ProgressBar(pictures, "looking for near-duplicates", unit="images")
    for number, pixels in pool.map(thumbnail, enumerate(bar)):
        if pixels is not None:
            shrunk[number] = np.frombuffer(pixels, np.uint8).reshape(SIDE, SIDE, 3)
    return shrunk


def families(thumbnails: np.ndarray) -> list[int]:
    """Returns the number of the first member of its family for each of N `thumbnails`.

    Two thumbnails are of one family if they correlate by more than COLOUR, or in grey by more than GREY. One
    of them may be mirrored. A family contains the relatives of its members.
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
    """Returns the pairs i < j of `thumbnails` that are alike."""
    pairs = set()
    colour = thumbnails.astype(np.float32)
    for pixels, least in ((colour, COLOUR), (colour.mean(-1, keepdims=True), GREY)):
        vectors, mirrored = _unit_vectors(pixels), _unit_vectors(pixels[:, :, ::-1])
        for start in range(0, len(vectors), BLOCK):
            block = vectors[start : start + BLOCK]
            for others in (vectors, mirrored):
                alike = np.argwhere(block @ others[start:].T > least) + start
                pairs.update((i, j) for i, j in alike.tolist() if i < j)
    return sorted(pairs)


def thumbnail(picture: bytes | pathlib.Path) -> bytes | None:
    """Returns RGB bytes of SIDE x SIDE pixels, or None where the picture is broken."""
    try:
        jpeg = images.to_jpeg(picture, 2 * SIDE)
    except images.BrokenImage:
        return None
    return Image.open(io.BytesIO(jpeg)).resize((SIDE, SIDE), Image.Resampling.BOX).tobytes()


def _unit_vectors(pixels: np.ndarray) -> np.ndarray:
    """Returns [N, any] of mean 0 and length 1, whose products are correlations; uniform pictures are 0."""
    vectors = pixels.reshape(len(pixels), -1)
    vectors = vectors - vectors.mean(1, keepdims=True)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(lengths, 1e-6)
