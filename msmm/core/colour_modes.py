"""Converts images of any colour mode to RGB: transparency over white, 16 bits to 8."""

import numpy as np
from PIL import Image


def to_rgb(image: Image.Image) -> Image.Image:
    """Converts a loaded image to RGB; one that is RGB already comes back itself."""
    if image.mode.startswith("I;16"):  # Pillow would clip at 255
        image = Image.fromarray((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8))
    elif image.mode in ("I", "F"):  # no fixed range: the brightest pixel becomes white
        image = _stretched(image)
    if image.has_transparency_data:
        return _over_white(image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _strips(image: Image.Image):
    """Yields pieces of 256 rows with the box of each: a large image does not fit into memory twice."""
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
    """Scales numbers of any size to 8 bits, the largest to 255."""

    def strips():
        for box, strip in _strips(image):
            yield box, np.nan_to_num(np.asarray(strip, dtype=np.float64), posinf=0.0).clip(0)

    most = max(1e-9, *(values.max() for _, values in strips()))
    stretched = Image.new("L", image.size)
    for box, values in strips():
        stretched.paste(Image.fromarray((values * (255.0 / most)).astype(np.uint8)), box)
    return stretched
