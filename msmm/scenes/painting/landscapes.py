"""The landscapes: a table of their components, and how they are composed."""

import dataclasses

import numpy as np

from msmm.scenes.painting import creatures, objects, stuff
from msmm.scenes.painting.canvas import Canvas, make_ridge, pick
from msmm.scenes.painting.objects import Stamp

LOOKING_DOWN = 0.22  # share of landscapes, open skies excepted, that are seen from above, without a horizon
CLOUDY = 0.38  # share of skies with clouds; OVERCAST_CLOUDY of overcast skies
OVERCAST_CLOUDY = 0.85
MOONLIT = 0.18  # share of skies at dusk and at night with a moon
OPEN_WATER = 0.28  # share of waters without a near shore
BUSY = -0.22, 0.60  # mean and spread of the logarithm of how crowded a scene is


@dataclasses.dataclass(frozen=True)
class Landscape:
    """The components of a kind of landscape, and their probabilities.

    Attributes:
      ground: a key of SURFACES.
      horizon: least and most y.
      things: name -> probability of any, and how many at most.
      far: name of what stands on the horizon -> probability.
      lights: probabilities of the keys of LIGHTS in their order: day, overcast, sunset, dusk, night.
      snowy: the probability that mountains have snow.
    """

    ground: str
    horizon: tuple[float, float]
    things: dict[str, tuple[float, int]]
    far: dict[str, float]
    lights: tuple[float, ...] = (0.55, 0.19, 0.11, 0.06, 0.09)
    snowy: float = 0.0


LANDSCAPES = {
    "street": Landscape(
        "street", (0.35, 0.65),
        {"block": (0.75, 3), "car": (0.45, 5), "person": (0.4, 6), "tree": (0.28, 3), "clutter": (0.4, 3),
         "road": (0.65, 1), "birds": (0.05, 4)},
        {"skyline": 0.6, "treeline": 0.2},
    ),
    "coast": Landscape(
        "shore", (0.2, 0.6),
        {"boat": (0.3, 4), "person": (0.35, 6), "birds": (0.2, 8), "palm": (0.12, 3), "house": (0.06, 2),
         "animal": (0.06, 2), "clutter": (0.4, 4)},
        {"mountains": 0.16, "skyline": 0.06},
        (0.48, 0.14, 0.25, 0.07, 0.06),
    ),
    "countryside": Landscape(
        "meadow", (0.25, 0.65),
        {"tree": (0.5, 6), "house": (0.32, 3), "animal": (0.3, 5), "road": (0.25, 1), "flower bed": (0.12, 1),
         "person": (0.1, 2), "birds": (0.1, 6), "clutter": (0.3, 3)},
        {"mountains": 0.15, "treeline": 0.4},
    ),
    "mountains": Landscape(
        "alpine", (0.5, 0.8),
        {"tree": (0.35, 7), "house": (0.1, 1), "person": (0.15, 2), "animal": (0.08, 3), "birds": (0.06, 4),
         "clutter": (0.25, 3)},
        {"mountains": 1.0, "treeline": 0.25},
        (0.58, 0.2, 0.14, 0.05, 0.03), 0.6,
    ),
    "park": Landscape(
        "meadow", (-0.2, 0.5),
        {"tree": (0.7, 6), "person": (0.4, 5), "flower bed": (0.35, 1), "animal": (0.2, 2), "road": (0.25, 1),
         "clutter": (0.3, 2), "house": (0.05, 1)},
        {"treeline": 0.5, "skyline": 0.12},
        (0.66, 0.24, 0.06, 0.02, 0.02),
    ),
    "lake": Landscape(
        "lake", (0.3, 0.6),
        {"boat": (0.32, 3), "tree": (0.3, 4), "house": (0.2, 2), "person": (0.15, 2), "birds": (0.15, 6),
         "clutter": (0.2, 2)},
        {"mountains": 0.4, "treeline": 0.55},
        (0.5, 0.2, 0.2, 0.07, 0.03), 0.3,
    ),
    "open sky": Landscape(
        "meadow", (0.9, 1.25),
        {"birds": (0.35, 14), "plane": (0.25, 2), "moon": (0.12, 1)},
        {"treeline": 0.3, "skyline": 0.1},
        (0.5, 0.1, 0.25, 0.08, 0.07),
    ),
    "night city": Landscape(
        "street", (0.4, 0.7),
        {"block": (0.7, 3), "car": (0.45, 5), "person": (0.25, 4), "road": (0.6, 1), "clutter": (0.6, 4)},
        {"skyline": 0.8},
        (0.0, 0.0, 0.05, 0.15, 0.8),
    ),
    "winter": Landscape(
        "snowfield", (0.2, 0.6),
        {"tree": (0.55, 6), "house": (0.32, 2), "person": (0.32, 4), "animal": (0.08, 2), "car": (0.07, 2),
         "clutter": (0.3, 3)},
        {"mountains": 0.3, "treeline": 0.3},
        (0.5, 0.34, 0.06, 0.06, 0.04), 0.8,
    ),
    "harbour": Landscape(
        "river", (0.3, 0.55),
        {"boat": (0.55, 6), "bridge": (0.5, 1), "birds": (0.2, 6), "person": (0.15, 3), "clutter": (0.2, 2)},
        {"skyline": 0.5, "treeline": 0.25, "mountains": 0.1},
        (0.45, 0.2, 0.15, 0.08, 0.12),
    ),
    "desert": Landscape(
        "dunes", (0.3, 0.65),
        {"road": (0.3, 1), "car": (0.25, 2), "person": (0.15, 3), "animal": (0.2, 3), "plane": (0.08, 1),
         "clutter": (0.4, 4)},
        {"mountains": 0.5},
        (0.68, 0.08, 0.16, 0.04, 0.04),
    ),
}  # fmt: skip
# What the ground of a landscape is: one of these, with even chances.
SURFACES = {
    "meadow": ("grass",),
    "snowfield": ("snow",),
    "dunes": ("sand",),
    "street": ("pavement",),
    "alpine": ("grass", "rock", "snow"),
    "shore": ("beach", "beach", "beach", "rock"),
    "lake": ("grass", "grass", "rock"),
    "river": ("pavement", "grass"),
}
WATERS = {"shore": "ocean", "lake": "lake", "river": "river"}
# A thing's painter, its height (least, most) where a person is about 1, its greatest height in
# the picture, what it shows.
THINGS = {
    "tree": (objects.draw_tree, (1.8, 4.5), 0.95, ("tree",)),
    "palm": (objects.draw_palm, (2.5, 4.5), 0.95, ("tree",)),
    "house": (objects.draw_house, (2.2, 3.8), 0.7, ("house",)),
    "car": (objects.draw_car, (0.7, 1.0), 0.5, ("car",)),
    "person": (creatures.draw_person, (0.8, 1.1), 0.8, ("person",)),
    "animal": (creatures.draw_beast, (0.5, 1.2), 0.6, ("animal",)),
    "boat": (objects.draw_boat, (0.9, 3.0), 0.6, ("boat",)),
    "clutter": (objects.draw_clutter, (0.5, 1.3), 0.4, ()),
}


def paint_landscape(canvas: Canvas, rng, landscape: Landscape, light: str):
    """Paints sky, ground and things of a landscape, from the horizon to the front."""
    down = landscape.horizon[1] < 0.9 and rng.random() < LOOKING_DOWN
    horizon = rng.uniform(-0.5, -0.03) if down else rng.uniform(*landscape.horizon)
    busy = rng.lognormal(*BUSY)
    things = []
    for name, (chance, most) in landscape.things.items():
        if rng.random() < chance * busy:
            things += [name] * max(1, round(most * busy * rng.random() ** 2))
    sun = (
        (rng.uniform(0.1, 0.9), horizon * rng.uniform(0.5, 1.05))
        if light == "sunset" and horizon > 0
        else None
    )
    if horizon > 0:
        _paint_heaven(canvas, rng, horizon, light, sun, "moon" in things)
        for name, chance in landscape.far.items():
            if rng.random() < chance:
                _paint_far(canvas, rng, horizon, name, rng.random() < landscape.snowy)
    land, sea = _paint_ground(canvas, rng, horizon, landscape.ground, sun)
    if "road" in things:
        wide = rng.uniform(0.25, 0.7) if landscape.ground == "street" else rng.uniform(0.08, 0.4)
        stuff.paint_road(canvas, rng, horizon, wide)
    if "flower bed" in things:
        stuff.paint_flower_bed(canvas, rng, horizon)
    if "bridge" in things:
        deck = max(horizon, 0.1) + rng.uniform(-0.08, 0.12)
        stuff.paint_bridge(canvas, rng, deck, deck + rng.uniform(0.06, 0.25))
    _paint_on_the_ground(canvas, rng, horizon, things, land, sea)
    _paint_in_the_air(canvas, rng, max(horizon, 0.3), things)


def _paint_heaven(canvas: Canvas, rng, horizon: float, light: str, sun, moon: bool):
    stuff.paint_sky(canvas, rng, horizon, sun)
    if sun and rng.random() < 0.6:
        glow = Stamp(canvas, sun[0], sun[1], rng.uniform(0.03, 0.12), ("sky",))
        glow.draw_blob(0, 0, 0.5, 0.5, (255, 240, 190), glow=True)
    if moon or (light in ("dusk", "night") and rng.random() < MOONLIT):
        x, y = rng.uniform(0.08, 0.92), horizon * rng.uniform(0.08, 0.7)
        objects.draw_moon(
            Stamp(canvas, x, y, rng.uniform(0.03, 0.16), ("moon",), angle=rng.normal(0, 0.5)), rng
        )
    if rng.random() < (OVERCAST_CLOUDY if light == "overcast" else CLOUDY):
        stuff.paint_clouds(canvas, rng, 0.8 if light == "overcast" else 0.8 * rng.random())


def _paint_far(canvas: Canvas, rng, horizon: float, name: str, snowy: bool):
    if name == "mountains":
        stuff.paint_mountains(canvas, rng, horizon, min(rng.uniform(0.1, 0.55), horizon * 0.95), snowy)
    else:
        {"treeline": stuff.paint_treeline, "skyline": stuff.paint_skyline}[name](canvas, rng, horizon)


def _paint_ground(canvas: Canvas, rng, horizon: float, kind: str, sun) -> tuple:
    """Paints the ground and returns the spans of y in which things stand on land and on water, or None."""
    top, surface = max(horizon, -0.05), pick(rng, SURFACES[kind])
    if kind not in WATERS:
        stuff.paint_ground(canvas, rng, horizon, surface)
        return (top, 1.0), None
    stuff.paint_water(canvas, rng, top, WATERS[kind], sun)
    if rng.random() < OPEN_WATER:
        return None, (top, 1.0)
    shore = top + (1 - top) * rng.uniform(0.25, 0.85)
    line = shore + (make_ridge(rng, 3) - 0.5) * 0.12 + np.linspace(-0.5, 0.5, 49) * rng.normal(0, 0.15)
    stuff.paint_ground(canvas, rng, horizon, surface, line)
    if kind == "shore":  # surf
        x = np.linspace(-0.02, 1.02, len(line)).tolist()
        canvas.draw_line(list(zip(x, line.tolist(), strict=True)), 0.012, (240, 244, 246), ("water", "ocean"))
    return (min(shore + 0.06, 1.0), 1.0), (top, shore)


def _paint_on_the_ground(canvas: Canvas, rng, horizon: float, things: list, land, sea):
    """Paints things, far ones first; the further below the horizon a thing stands, the larger it is."""
    eye = rng.lognormal(-0.3, 0.4) * (0.5 if horizon < 0 else 1.0)
    placed = []
    for name in things:
        span = sea if name == "boat" else land
        if span and (name in THINGS or name == "block"):
            nearness = 0.3 * rng.random() ** 2 if name == "block" else 0.03 + 0.97 * rng.random() ** 1.8
            placed.append((span[0] + (span[1] - span[0]) * nearness, name))
    for y, name in sorted(placed):
        if name == "block":
            left = rng.uniform(-0.2, 0.9)
            stuff.paint_block(canvas, rng, left, left + rng.uniform(0.15, 0.45), y, rng.uniform(0.25, 0.9))
            continue
        painter, heights, most, shows = THINGS[name]
        height = min(max((y - horizon + 0.015) * eye * rng.uniform(*heights), 0.03), most)
        flip = 1 if rng.random() < 0.5 else -1
        painter(Stamp(canvas, rng.uniform(-0.05, 1.05), y, height, shows, flip, rng.normal(0, 0.03)), rng)


def _paint_in_the_air(canvas: Canvas, rng, horizon: float, things: list):
    for name in things:
        if name not in ("birds", "plane"):
            continue
        x, y, flip = (
            rng.uniform(0.05, 0.95),
            horizon * rng.uniform(0.05, 0.9),
            1 if rng.random() < 0.5 else -1,
        )
        if name == "plane":
            size = 0.06 + 0.55 * rng.random() ** 2
            objects.draw_plane(Stamp(canvas, x, y, size, ("plane",), flip, rng.normal(0.1, 0.2)), rng)
        else:
            size = 0.025 + 0.25 * rng.random() ** 4
            creatures.draw_bird(Stamp(canvas, x, y, size, ("birds",), flip, rng.normal(0, 0.25)), rng)
