"""Random changes of training images beyond the paper: crops, RandAugment and cutout.

All of them depend on seed, epoch and row alone, so that an interrupted training sees the same images again.
"""

import dataclasses
import math

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

_GREY = (128, 128, 128)
_OPERATIONS = 2  # of RandAugment on each image; its source's
STRONGEST = 10


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """How training images are changed; the default leaves them as they are.

    Attributes:
        crop: smallest share of an image's area that a random crop keeps; 1: whole images.
        randaugment: strength of RandAugment, 0 (none) to 10.
        cutout: side of a grey square that hides a part, as a share of the image's side; 0: none.
    """

    crop: float = 1.0
    randaugment: int = 0
    cutout: float = 0.0

    @property
    def changes_pixels(self) -> bool:
        """True if `apply` changes images."""
        return bool(self.randaugment or self.cutout)

    def apply(self, pixels: np.ndarray, seed: tuple[int, ...]) -> np.ndarray:
        """Applies RandAugment, then cutout, to RGB uint8 [H, W, 3].

        seed: of this image in this epoch.
        """
        random = np.random.default_rng(seed)
        image = Image.fromarray(pixels)
        if self.randaugment:
            image = _randaugment(image, self.randaugment, random)
        if self.cutout:
            image = _cutout(image, self.cutout, random)
        return np.asarray(image)


def epoch_crops(num_rows: int, seed: int, epoch: int, smallest: float) -> np.ndarray:
    """Returns float32 [num_rows, 4]: top, left, height and width of each row's crop, as shares of the image.

    The area is uniform in [smallest, 1] of the image's. The ratio of the two shares is log-uniform in [3/4,
    4/3] (a share above 1 becomes 1), and the place uniform.
    """
    random = np.random.default_rng((seed, epoch, 2))
    area = random.uniform(smallest, 1, num_rows)
    ratio = np.exp(random.uniform(np.log(3 / 4), np.log(4 / 3), num_rows))
    extent = np.minimum(np.sqrt(np.stack([area * ratio, area / ratio], axis=1)), 1)
    return np.concatenate([random.random((num_rows, 2)) * (1 - extent), extent], axis=1, dtype=np.float32)


def _randaugment(image: Image.Image, strength: int, random: np.random.Generator) -> Image.Image:
    """Applies two of the operations of Cubuk et al. (2019), drawn with replacement, at one strength.

    The operations and their largest sizes are those of its predecessor AutoAugment. Signs are drawn.
    """
    for operation in random.integers(len(OPERATIONS), size=_OPERATIONS):
        sign = random.choice([-1, 1])
        image = OPERATIONS[operation](image, strength / STRONGEST, sign)
    return image


def _affine(image: Image.Image, *matrix: float) -> Image.Image:
    """Moves each pixel to a place by a matrix [a, b, c, d, e, f], from the result's to the image's."""
    affine = Image.Transform.AFFINE
    return image.transform(image.size, affine, matrix, Image.Resampling.BILINEAR, fillcolor=_GREY)


def _rotate(image: Image.Image, strength: float, sign: int) -> Image.Image:
    return image.rotate(sign * 30 * strength, Image.Resampling.BILINEAR, fillcolor=_GREY)


def _shear_x(image: Image.Image, strength: float, sign: int) -> Image.Image:
    return _affine(image, 1, sign * 0.3 * strength, 0, 0, 1, 0)


def _shear_y(image: Image.Image, strength: float, sign: int) -> Image.Image:
    return _affine(image, 1, 0, 0, sign * 0.3 * strength, 1, 0)


def _translate_x(image: Image.Image, strength: float, sign: int) -> Image.Image:
    return _affine(image, 1, 0, sign * 0.45 * strength * image.width, 0, 1, 0)


def _translate_y(image: Image.Image, strength: float, sign: int) -> Image.Image:
    return _affine(image, 1, 0, 0, 0, 1, sign * 0.45 * strength * image.height)


def _enhanced(kind):
    """Returns the operation that makes more or less of colour, contrast, brightness or sharpness."""
    return lambda image, strength, sign: kind(image).enhance(1 + sign * 0.9 * strength)


OPERATIONS = (
    lambda image, strength, sign: image,
    lambda image, strength, sign: ImageOps.autocontrast(image),
    lambda image, strength, sign: ImageOps.equalize(image),
    _rotate,
    lambda image, strength, sign: ImageOps.solarize(image, round(256 * (1 - strength))),
    _enhanced(ImageEnhance.Color),
    lambda image, strength, sign: ImageOps.posterize(image, 8 - round(4 * strength)),
    _enhanced(ImageEnhance.Contrast),
    _enhanced(ImageEnhance.Brightness),
    _enhanced(ImageEnhance.Sharpness),
    _shear_x,
    _shear_y,
    _translate_x,
    _translate_y,
)


def _cutout(image: Image.Image, share: float, random: np.random.Generator) -> Image.Image:
    """Hides a square around a random pixel (DeVries and Taylor, 2017); a part of it may lie outside."""
    half = share * min(image.size) / 2
    x, y = random.random(2) * image.size
    box = [math.floor(x - half), math.floor(y - half), math.ceil(x + half) - 1, math.ceil(y + half) - 1]
    changed = image.copy()
    ImageDraw.Draw(changed).rectangle(box, fill=_GREY)
    return changed
