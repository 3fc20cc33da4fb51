"""The resize of images to a model's square input without TensorFlow, and the constant that all readers share.

`msmm.data.preprocessing` has the same resize as TensorFlow ops, for input pipelines and exported graphs. A
test checks that both give the same pixels, except for roundings of one level.
"""

import functools

import numpy as np
from PIL import Image

# An image is first decoded, or averaged over whole pixels, to no less than this many times the wanted size,
# which is quick. Probabilities then move by less than 0.01; at 2 they move by up to 0.07.
DETAIL = 4
_LARGE = 1 << 20  # pixels from which NumPy is quicker than Pillow, whose floats take four times the memory
_ROWS = 64  # of a large image that are in floats at a time


def resize_picture(picture: Image.Image, size: int) -> np.ndarray:
    """Resizes an RGB picture to uint8 [size, size, 3].

    Bilinear with anti-aliasing, rounded only once; the aspect is not kept (decision 11).
    """
    if picture.size == (size, size):
        return np.asarray(picture)
    if picture.width * picture.height >= _LARGE:
        return _resize_large(np.asarray(picture), size)
    pixels = np.empty((size, size, 3), np.uint8)
    for channel in range(3):  # one at a time, so that each stays in the processor's cache
        plane = picture.getchannel(channel).convert("F")
        pixels[..., channel] = np.rint(np.asarray(plane.resize((size, size), Image.Resampling.BILINEAR)))
    return pixels


def _resize_large(pixels: np.ndarray, size: int) -> np.ndarray:
    """Resizes uint8 [H, W, 3] to uint8 [size, size, 3]: first all rows, then all columns, as sums of rows."""
    height, width, _ = pixels.shape
    rows = pixels.reshape(height, 3 * width)
    short = np.empty((size, 3 * width), np.float32)
    first, block = 0, rows[:0]
    for number, (start, weights) in enumerate(_weigh(height, size)):
        end = start + len(weights)
        if end > first + len(block):
            first, block = start, rows[start : max(end, start + _ROWS)].astype(np.float32)
        np.einsum("k,kn->n", weights, block[start - first : end - first], out=short[number])
    columns = np.ascontiguousarray(short.reshape(size, width, 3).swapaxes(0, 1)).reshape(width, 3 * size)
    square = np.empty((size, 3 * size), np.float32)
    for number, (start, weights) in enumerate(_weigh(width, size)):
        np.einsum("k,kn->n", weights, columns[start : start + len(weights)], out=square[number])
    return np.rint(square).astype(np.uint8).reshape(size, size, 3).swapaxes(0, 1)


@functools.lru_cache(maxsize=16)
def _weigh(length: int, size: int) -> list[tuple[int, np.ndarray]]:
    """Returns the first of the `length` positions that each of `size` reads, and the weights of these.

    A triangle as wide as two of the new pixels, or as two of the old ones where these are wider.
    """
    scale = length / size
    reach = max(scale, 1.0)
    weighed = []
    for number in range(size):
        centre = (number + 0.5) * scale
        start, end = max(0, int(centre - reach + 0.5)), min(length, int(centre + reach + 0.5))
        weights = np.maximum(0, 1 - np.abs(np.arange(start, end) + 0.5 - centre) / reach)
        weighed.append((start, (weights / weights.sum()).astype(np.float32)))
    return weighed
