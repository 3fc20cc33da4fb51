"""The canvas of a drawn scene: a picture, a map of what is visible in it, a light; and noise.

Positions are in units of the picture's side: x to the right, y downwards, (0, 0) the upper
left corner. No painter looks at the number of pixels, so that a scene is the same at every
size. Colours are RGB, 0..255. `rng` is everywhere a `numpy.random.Generator`.
"""

import dataclasses
import functools
import math

import numpy as np
from PIL import Image, ImageChops, ImageDraw

MAP_SIDE = 96  # cells on each side of the map of what is visible, whatever the size of the picture
GRID = 64  # cells on each side of a texture before it is stretched over the canvas
CENTRES = (np.arange(GRID) + 0.5) / GRID  # of the cells


@dataclasses.dataclass(frozen=True)
class Light:
    """The effect of a light on colours: factors for things, (top, bottom) pairs for the sky."""

    tint: tuple[float, float, float]
    skies: tuple
    clouds: tuple  # bright side, dark side
    lamps: bool = False  # whether windows and headlights are lit


LIGHTS = {
    "day": Light(
        (1.0, 1.0, 1.0),
        (((70, 130, 205), (185, 215, 235)), ((40, 95, 180), (140, 190, 230)),
         ((110, 165, 220), (215, 228, 238))),
        ((250, 250, 252), (188, 197, 210)),
    ),
    "overcast": Light(
        (0.80, 0.83, 0.87),
        (((165, 172, 182), (208, 211, 215)), ((118, 128, 145), (190, 195, 202))),
        ((218, 221, 226), (128, 135, 148)),
    ),
    "sunset": Light(
        (0.76, 0.56, 0.48),
        (((70, 60, 120), (255, 140, 50)), ((190, 90, 60), (255, 200, 90)), ((110, 60, 115), (250, 110, 90)),
         ((60, 85, 145), (255, 190, 120))),
        ((255, 168, 110), (120, 70, 92)),
    ),
    "dusk": Light(
        (0.58, 0.54, 0.66),
        (((30, 40, 95), (170, 130, 165)), ((60, 70, 130), (240, 178, 150)), ((20, 32, 74), (90, 112, 160))),
        ((165, 140, 160), (60, 60, 95)),
        lamps=True,
    ),
    "night": Light(
        (0.30, 0.32, 0.45),
        (((10, 14, 38), (28, 40, 78)), ((10, 10, 24), (72, 52, 48)), ((16, 24, 58), (60, 64, 98))),
        ((52, 56, 80), (18, 20, 40)),
        lamps=True,
    ),
}  # fmt: skip


class Canvas:
    """A square RGB picture and a map of the concepts that each of its spots shows.

    Every stroke names the concepts that it shows: a tuple, empty for a thing without a label.
    Later strokes cover earlier ones in both. The light multiplies colours, but not what glows.

    Args:
      side: of the picture, pixels.
      light: of the scene.

    Attributes:
      image: the picture, RGB, side x side pixels.
      map: one number per cell, MAP_SIDE x MAP_SIDE: the index of the concepts that it shows.
    """

    def __init__(self, side: int, light: Light):
        self.side = side
        self.light = light
        self.image = Image.new("RGB", (side, side))
        self.map = Image.new("L", (MAP_SIDE, MAP_SIDE))
        self._pen = ImageDraw.Draw(self.image)
        self._map_pen = ImageDraw.Draw(self.map)
        self._ids = {(): 0}

    def _id(self, shows: tuple) -> int:
        return self._ids.setdefault(shows, len(self._ids))

    def apply_light(self, colour, glow: bool = False) -> tuple[int, int, int]:
        """Returns a colour (RGB, 0..255) under the light, as whole numbers; unchanged if it glows."""
        r, g, b = (1.0, 1.0, 1.0) if glow else self.light.tint
        red, green, blue = int(colour[0] * r), int(colour[1] * g), int(colour[2] * b)
        return min(255, max(0, red)), min(255, max(0, green)), min(255, max(0, blue))

    def draw_polygon(self, points, colour, shows: tuple = (), glow: bool = False):
        """Fills a polygon of `points` (x, y) with a colour (RGB, 0..255)."""
        self._pen.polygon(
            [v * self.side for point in points for v in point], fill=self.apply_light(colour, glow)
        )
        self._map_pen.polygon([v * MAP_SIDE for point in points for v in point], fill=self._id(shows))

    def draw_line(self, points, width: float, colour, shows: tuple = (), glow: bool = False):
        """Draws a line through `points` (x, y), `width` wide, at least a pixel, in a colour (RGB, 0..255)."""
        for pen, side, fill in (
            (self._pen, self.side, self.apply_light(colour, glow)),
            (self._map_pen, MAP_SIDE, self._id(shows)),
        ):
            pen.line([v * side for point in points for v in point], fill, max(1, round(width * side)))

    def lay_texture(self, field, shows: tuple = (), within=None, alpha=None, glow: bool = False):
        """Lays a texture over the canvas.

        Args:
          field: [rows, cols, 3] float, RGB in 0..255.
          shows: the concepts that it shows.
          within: a polygon of (x, y); nothing changes outside of it.
          alpha: [rows, cols] float, opacity in 0..1.
          glow: whether the light leaves it as it is.
        """
        field = field if glow else field * np.array(self.light.tint)
        picture = Image.fromarray(np.clip(field, 0, 255).astype(np.uint8))
        mask = _make_mask(self.side, within, alpha)
        self.image.paste(picture.resize((self.side, self.side), Image.Resampling.BILINEAR), mask=mask)
        seen = _make_mask(MAP_SIDE, within, alpha)
        self.map.paste(self._id(shows), (0, 0, MAP_SIDE, MAP_SIDE), seen and seen.point(_HALF))

    def draw_panel(self, left: float, top: float, right: float, bottom: float, field, shows: tuple = ()):
        """Stretches `field` [rows, cols, 3], already lit, over a rectangle with hard edges."""
        box = [round(v * self.side) for v in (left, top, right, bottom)]
        if box[2] > box[0] and box[3] > box[1]:
            picture = Image.fromarray(np.clip(field, 0, 255).astype(np.uint8))
            size = (box[2] - box[0], box[3] - box[1])
            self.image.paste(picture.resize(size, Image.Resampling.NEAREST), (box[0], box[1]))
        corners = [v * MAP_SIDE for v in (left, top, right, bottom)]
        self._map_pen.rectangle(corners, fill=self._id(shows))

    def frame(self, size: int, centre, angle: float, zoom: float):
        """Keeps a square of 1 / `zoom` of the side around `centre` (x, y), turned by `angle` radians.

        The picture becomes size x size pixels; the map keeps its own size.
        """
        framed = []
        for picture, side, how in (
            (self.image, size, Image.Resampling.BILINEAR),
            (self.map, MAP_SIDE, Image.Resampling.NEAREST),
        ):
            c, s = (v / zoom * picture.width / side for v in (math.cos(angle), math.sin(angle)))
            x, y = (float(v) * picture.width for v in centre)
            turn = (c, -s, x - side / 2 * (c - s), s, c, y - side / 2 * (s + c))
            framed.append(picture.transform((side, side), Image.Transform.AFFINE, turn, how))
        self.image, self.map = framed

    def measure_shares(self) -> dict[str, float]:
        """Returns the share of the map, 0..1, of each concept that is visible."""
        histogram = self.map.histogram()
        shares = {}
        for shows, number in self._ids.items():
            for concept in shows:
                shares[concept] = shares.get(concept, 0.0) + histogram[number] / MAP_SIDE**2
        return {concept: share for concept, share in shares.items() if share > 0}


_HALF = [0] * 128 + [255] * 128  # a lookup table: seen where it covers at least half


def _make_mask(side: int, within, alpha) -> Image.Image | None:
    masks = []
    if within is not None:
        masks.append(Image.new("L", (side, side)))
        ImageDraw.Draw(masks[0]).polygon([v * side for point in within for v in point], fill=255)
    if alpha is not None:
        small = Image.fromarray((np.clip(alpha, 0, 1) * 255).astype(np.uint8))
        masks.append(small.resize((side, side), Image.Resampling.BILINEAR))
    return ImageChops.multiply(*masks) if len(masks) == 2 else masks[0] if masks else None


def vary(rng, colour, by: float = 16.0) -> tuple[float, ...]:
    """Returns a colour (RGB) a little brighter or darker, and a little off in hue; `by` is the deviation."""
    d = rng.normal(0, by, 4)
    return tuple(c + d[0] + 0.5 * d[i + 1] for i, c in enumerate(colour))


def pick(rng, options):
    """Returns one of `options`, with equal chances."""
    return options[int(rng.integers(len(options)))]


@functools.cache
def _make_spectrum(slope: float, stretch: int) -> np.ndarray:
    waves = np.hypot(np.fft.fftfreq(GRID)[:, None], np.fft.rfftfreq(GRID)[None] * stretch) * GRID
    waves[0, 0] = np.inf  # no constant part
    return (waves**-slope).astype(np.float32)


def make_noise(rng, slope: float = 1.8, stretch: int = 1) -> np.ndarray:
    """Returns seamless cloudy noise [64, 64] in 0..1, whose amplitudes fall as 1 / f^slope.

    A slope of 1.5 is rough and 3 smooth; `stretch` > 1 draws the noise out sideways.
    """
    spectrum = _make_spectrum(slope, stretch)
    parts = rng.standard_normal((2, *spectrum.shape), dtype=np.float32)
    field = np.fft.irfft2((parts[0] + np.complex64(1j) * parts[1]) * spectrum)
    return np.clip(0.5 + 0.22 * field / field.std(), 0, 1)


def make_plain(rng, horizon: float, stretch: float = 1.0, fine: float = 1.0) -> np.ndarray:
    """Returns noise [64, 64] in 0..1 on a plane in perspective, flat towards the horizon."""
    tile = make_noise(rng, 1.4)
    below = np.maximum(CENTRES - horizon, 0.02)
    row = (14 * fine / below)[:, None]
    column = (CENTRES - 0.5)[None] / below[:, None] * (26 * fine / stretch) + GRID
    (r, dr), (c, dc) = ((np.floor(v).astype(int), v % 1) for v in (row, column))
    left, right = (
        tile[r % GRID, k % GRID] * (1 - dr) + tile[(r + 1) % GRID, k % GRID] * dr for k in (c, c + 1)
    )
    field = left * (1 - dc) + right * dc
    return 0.5 + (field - 0.5) * np.clip(below * 4, 0.25, 1)[:, None]


def blend_colours(field: np.ndarray, dark, bright) -> np.ndarray:
    """Returns `field` [rows, cols] in 0..1 as a texture [rows, cols, 3] from `dark` to `bright`."""
    dark, bright = np.asarray(dark, np.float32), np.asarray(bright, np.float32)
    return dark + field[..., None] * (bright - dark)


def make_ridge(rng, octaves: int = 5, points: int = 49) -> np.ndarray:
    """Returns a rough line [points] in 0..1."""
    x = np.linspace(0, 1, points)
    line = sum(
        np.interp(x, np.linspace(0, 1, 2**o + 2), rng.random(2**o + 2)) * 0.55**o for o in range(octaves)
    )
    return (line - line.min()) / (line.max() - line.min())


def close_under(line: np.ndarray, bottom: float = 1.05) -> list:
    """Returns the polygon between a line of y values, from edge to edge, and `bottom`."""
    x = np.linspace(-0.02, 1.02, len(line))
    return [(-0.02, bottom), *zip(x.tolist(), line.tolist(), strict=True), (1.02, bottom)]
