"""The things of a drawn scene, each painted by a function of a `Stamp` and a generator.

A painter works in the object's own frame. (0, 0) is the middle of its foot, u points right and v up. The unit
is the object's height; for birds and planes, their length.
"""

import math

import numpy as np

from msmm.scenes.painting.canvas import Canvas, pick, vary

CIRCLE = [(math.cos(2 * math.pi * i / 18), math.sin(2 * math.pi * i / 18)) for i in range(18)]
PAINTS = ((200, 45, 40), (40, 80, 170), (235, 235, 230), (40, 42, 48), (225, 180, 50), (60, 130, 80),
          (150, 150, 158), (205, 105, 45), (120, 60, 130), (90, 170, 190))  # fmt: skip
PETALS = ((225, 60, 70), (245, 200, 50), (240, 240, 235), (230, 120, 175), (140, 90, 190), (240, 140, 50),
          (190, 40, 90), (110, 120, 215))  # fmt: skip
LEAVES = ((70, 120, 50), (50, 95, 55), (100, 130, 55), (40, 80, 45), (170, 110, 40), (190, 75, 40))
WALLS = ((225, 215, 195), (190, 110, 80), (240, 238, 232), (150, 120, 95), (215, 190, 120), (160, 175, 185))
ROOFS = ((150, 70, 55), (90, 80, 80), (110, 60, 50), (70, 75, 90), (130, 105, 80))
LAMP = (255, 226, 150)


class Stamp:
    """The frame of one object on a canvas, in which its strokes are drawn.

    Args:
      canvas: the canvas.
      x, y: its place, in units of the picture's side.
      height: of the object, in units of the picture's side.
      shows: the concepts that it shows.
      flip: -1 mirrors it, 1 does not.
      angle: by which it is turned, radians.
    """

    def __init__(self, canvas: Canvas, x, y, height, shows=(), flip: int = 1, angle: float = 0.0):
        self.canvas, self.x, self.y, self.height, self.shows = canvas, x, y, height, shows
        self._cos, self._sin, self._flip = math.cos(angle), math.sin(angle), flip

    def place(self, points) -> list:
        """Returns the places (x, y) on the canvas of points (u, v) of the object."""
        c, s, h = self._cos, self._sin, self.height
        return [
            (self.x + h * (c * u * self._flip - s * v), self.y - h * (s * u * self._flip + c * v))
            for u, v in points
        ]

    def draw_polygon(self, points, colour, glow: bool = False):
        """Fills a polygon of points (u, v) with a colour (RGB, 0..255)."""
        self.canvas.draw_polygon(self.place(points), colour, self.shows, glow)

    def draw_line(self, points, width: float, colour):
        """Draws a line through points (u, v), `width` of the object's height wide."""
        self.canvas.draw_line(self.place(points), width * self.height, colour, self.shows)

    def draw_blob(self, u, v, ru, rv, colour, angle: float = 0.0, glow: bool = False):
        """Fills an ellipse around (u, v) with the radii `ru` and `rv`, turned by `angle` radians."""
        c, s = math.cos(angle), math.sin(angle)
        ring = [(u + ru * p * c - rv * q * s, v + ru * p * s + rv * q * c) for p, q in CIRCLE]
        self.draw_polygon(ring, colour, glow)

    def draw_box(self, left, bottom, right, top, colour, glow: bool = False):
        """Fills an upright rectangle with a colour (RGB, 0..255)."""
        self.draw_polygon([(left, bottom), (right, bottom), (right, top), (left, top)], colour, glow)


def draw_tree(s: Stamp, rng):
    """Draws a conifer, a bare tree or a broad-leaved one, 1 high."""
    trunk = vary(rng, (95, 70, 50), 10)
    kind = rng.random()
    if kind < 0.3:  # conifer
        green = vary(rng, (45, 80, 55), 10)
        s.draw_box(-0.03, 0, 0.03, 0.2, trunk)
        for step in range(4):
            wide, low = 0.26 - 0.05 * step, 0.12 + 0.2 * step
            shade = tuple(c * (0.8 + 0.1 * step) for c in green)
            s.draw_polygon([(-wide, low), (wide, low), (0, low + 0.36)], shade)
    elif kind < 0.42:  # bare
        for _ in range(7):
            fork, u = rng.uniform(0.25, 0.6), rng.uniform(-0.35, 0.35)
            s.draw_line([(0, 0), (0, fork), (u, fork + rng.uniform(0.2, 0.4))], 0.025, trunk)
    else:  # broad-leaved
        green = vary(rng, pick(rng, LEAVES), 10)
        s.draw_polygon([(-0.05, 0), (0.05, 0), (0.03, 0.5), (-0.03, 0.5)], trunk)
        wide = rng.uniform(0.2, 0.38)
        for i in range(9):
            u, v = rng.uniform(-wide, wide) * 0.75, rng.uniform(0.45, 0.85)
            s.draw_blob(u, v, wide * 0.5, 0.16, vary(rng, tuple(c * (0.7 + 0.06 * i) for c in green), 6))


def draw_palm(s: Stamp, rng):
    """Draws a palm, 1 high."""
    lean = rng.uniform(-0.25, 0.25)
    s.draw_line([(0, 0), (lean * 0.4, 0.5), (lean, 0.85)], 0.04, vary(rng, (130, 105, 75), 10))
    green = vary(rng, (60, 115, 55), 12)
    for angle in np.linspace(-0.5, math.pi + 0.5, 7):
        s.draw_blob(
            lean + 0.17 * math.cos(angle), 0.87 + 0.09 * math.sin(angle), 0.2, 0.035, green, angle * 0.8
        )


def draw_house(s: Stamp, rng):
    """Draws a house with windows, 1 high to the ridge; after dark some windows are lit."""
    wall, roof = vary(rng, pick(rng, WALLS), 10), vary(rng, pick(rng, ROOFS), 8)
    wide, eaves = rng.uniform(0.45, 0.8), rng.uniform(0.45, 0.62)
    s.draw_box(-wide, 0, wide, eaves, wall)
    if rng.random() < 0.6:
        s.draw_box(wide * 0.4, eaves, wide * 0.55, 1.02, tuple(c * 0.8 for c in roof))
    inset = 0.0 if rng.random() < 0.5 else wide * 0.65
    s.draw_polygon([(-wide * 1.1, eaves), (wide * 1.1, eaves), (inset, 1), (-inset, 1)], roof)
    lamps = s.canvas.light.lamps and rng.random() < 0.8
    pane = LAMP if lamps else vary(rng, (75, 90, 110), 10)
    for u in (-0.62, -0.05, 0.5):
        if rng.random() < 0.85:
            s.draw_box(u * wide, eaves * 0.4, (u + 0.24) * wide, eaves * 0.8, pane, glow=lamps)
    s.draw_box(wide * 0.18, 0, wide * 0.38, eaves * 0.6, tuple(c * 0.5 for c in wall))


def draw_boat(s: Stamp, rng):
    """Draws a sailing boat, a boat with a cabin or a rowing boat."""
    hull, white = vary(rng, pick(rng, PAINTS), 12), vary(rng, (238, 236, 230), 8)
    kind = rng.random()
    if kind < 0.5:  # sails
        s.draw_line([(0, 0.1), (0, 1)], 0.02, (120, 100, 80))
        sail = white if rng.random() < 0.7 else vary(rng, pick(rng, PAINTS), 12)
        s.draw_polygon([(0.02, 0.2), (0.02, 0.97), (0.36, 0.22)], sail)
        s.draw_polygon([(-0.02, 0.2), (-0.02, 0.85), (-0.3, 0.2)], tuple(c * 0.9 for c in sail))
        s.draw_polygon([(-0.42, 0.16), (0.45, 0.16), (0.3, 0), (-0.3, 0)], hull)
    elif kind < 0.8:  # a cabin
        s.draw_box(-0.45, 0.4, 0.3, 0.8, white)
        s.draw_box(-0.3, 0.55, 0.2, 0.7, (60, 75, 95))
        s.draw_polygon([(-0.8, 0.42), (1.0, 0.5), (0.75, 0), (-0.7, 0)], hull)
        s.draw_line([(-0.1, 0.8), (-0.1, 1.05)], 0.04, (90, 90, 90))
    else:  # a rowing boat
        s.draw_polygon([(-1.3, 0.5), (1.3, 0.55), (0.9, 0), (-0.9, 0)], hull)
        s.draw_polygon([(-1.2, 0.5), (1.2, 0.54), (0.9, 0.38), (-0.9, 0.36)], tuple(c * 0.5 for c in hull))


def draw_car(s: Stamp, rng):
    """Draws a car from the side or the front, 1 high; after dark its headlights are lit."""
    paint, glass = vary(rng, pick(rng, PAINTS), 12), vary(rng, (70, 85, 100), 10)
    lamps = s.canvas.light.lamps
    if rng.random() < 0.65:  # from the side
        s.draw_polygon([(-0.75, 0.5), (-0.5, 0.97), (0.35, 1.0), (0.7, 0.55)], paint)
        s.draw_polygon([(-0.62, 0.55), (-0.43, 0.9), (-0.08, 0.91), (-0.08, 0.55)], glass)
        s.draw_polygon([(0.0, 0.55), (0.0, 0.91), (0.3, 0.91), (0.56, 0.57)], glass)
        s.draw_polygon([(-1.2, 0.2), (-1.2, 0.52), (-0.6, 0.6), (0.7, 0.6), (1.2, 0.46), (1.25, 0.2)], paint)
        for u in (-0.72, 0.72):
            s.draw_blob(u, 0.2, 0.24, 0.22, (28, 28, 30))
            s.draw_blob(u, 0.2, 0.11, 0.1, (150, 150, 152))
        if lamps:
            s.draw_blob(1.22, 0.42, 0.14, 0.1, LAMP, glow=True)
    else:  # from the front
        s.draw_polygon([(-0.5, 0.55), (-0.38, 1), (0.38, 1), (0.5, 0.55)], paint)
        s.draw_polygon([(-0.42, 0.58), (-0.33, 0.92), (0.33, 0.92), (0.42, 0.58)], glass)
        s.draw_box(-0.62, 0.15, 0.62, 0.6, paint)
        for u in (-0.5, 0.5):
            s.draw_box(u - 0.1, 0, u + 0.1, 0.2, (25, 25, 28))
            s.draw_blob(u, 0.42, 0.1, 0.08, LAMP if lamps else (235, 235, 225), glow=lamps)


def draw_plane(s: Stamp, rng):
    """Draws a plane from the side, 1 long."""
    body = vary(rng, pick(rng, ((232, 234, 238), (200, 204, 210), (95, 98, 108))), 8)
    dark = tuple(c * 0.75 for c in body)
    s.draw_polygon([(0.02, 0.02), (-0.14, 0.24), (-0.22, 0.24), (-0.12, 0.02)], dark)
    s.draw_polygon(
        [(-0.36, 0.03), (-0.52, 0.2), (-0.44, 0.2), (-0.28, 0.04)], vary(rng, pick(rng, PAINTS), 12)
    )
    s.draw_blob(0, 0, 0.5, 0.06, body)
    s.draw_polygon([(0.1, -0.01), (-0.2, -0.32), (-0.29, -0.32), (-0.12, -0.02)], dark)


def draw_moon(s: Stamp, rng):
    """Draws a full or crescent moon, 1 high; it glows."""
    full = rng.random() < 0.5
    inner = rng.uniform(-0.2, 0.35)
    outer = [(0.5 * p, 0.5 * q) for p, q in CIRCLE]
    crescent = [(0.5 * p if p > 0 else -2 * inner * p * 0.5, 0.5 * q) for p, q in CIRCLE]
    s.draw_polygon(outer if full else crescent, vary(rng, (244, 240, 216), 6), glow=True)


def draw_flower(s: Stamp, rng):
    """Draws a bloom around (0, 0) with a stem downwards; its height is the bloom's width."""
    petal = vary(rng, pick(rng, PETALS), 14)
    heart = vary(rng, pick(rng, ((235, 190, 60), (90, 60, 40), (240, 230, 160))), 10)
    s.draw_line([(0, 0), (rng.uniform(-0.3, 0.3), -1.6)], 0.06, (70, 120, 55))
    count, wide = int(rng.integers(5, 15)), rng.uniform(0.7, 1.3)
    for ring, (reach, shade) in enumerate(((0.3, 0.82), (0.22, 1.0))):
        for i in range(count):
            angle = 2 * math.pi * (i + 0.5 * ring) / count
            colour = tuple(c * shade for c in petal)
            s.draw_blob(reach * math.cos(angle), reach * math.sin(angle), 0.22, wide / count, colour, angle)
    s.draw_blob(0, 0, 0.13, 0.13, heart)


def draw_vase(s: Stamp, rng):
    """Draws a vase, 0.45 high, with three to six flowers, which show the label flowers."""
    glaze = vary(rng, pick(rng, PAINTS), 15)
    s.draw_polygon([(-0.12, 0), (0.12, 0), (0.18, 0.25), (0.09, 0.45), (-0.09, 0.45), (-0.18, 0.25)], glaze)
    for _ in range(int(rng.integers(3, 7))):
        x, y = s.place([(rng.uniform(-0.28, 0.28), rng.uniform(0.6, 0.95))])[0]
        draw_flower(Stamp(s.canvas, x, y, s.height * rng.uniform(0.2, 0.32), ("flowers",)), rng)


def draw_clutter(s: Stamp, rng):
    """Draws a thing without a label: a rock, a pole, a parasol, a bale or a kite of its colours."""
    kind, paint = int(rng.integers(4)), vary(rng, pick(rng, PAINTS), 15)
    if kind == 0:
        grey = vary(rng, (120, 115, 108), 14)
        s.draw_polygon([(-0.6, 0), (-0.45, 0.5), (-0.1, 0.8), (0.35, 0.6), (0.6, 0)], grey)
        s.draw_polygon([(-0.45, 0.5), (-0.1, 0.8), (0.35, 0.6), (0, 0.45)], tuple(c * 1.2 for c in grey))
    elif kind == 1:
        s.draw_box(-0.03, 0, 0.03, 1.6, (90, 90, 92))
        s.draw_blob(
            0, 1.62, 0.1, 0.1, LAMP if s.canvas.light.lamps else (205, 205, 200), glow=s.canvas.light.lamps
        )
    elif kind == 2:
        s.draw_line([(0, 0), (0, 0.9)], 0.04, (200, 195, 185))
        s.draw_polygon([(-0.55, 0.7), (-0.3, 0.95), (0, 1.05), (0.3, 0.95), (0.55, 0.7)], paint)
    else:
        s.draw_blob(0, 0.35, 0.38, 0.35, paint)
        s.draw_blob(-0.05, 0.42, 0.25, 0.2, tuple(min(255, c * 1.15) for c in paint))
