"""The close-ups: a subject before a backdrop that is out of focus."""

import numpy as np

from msmm.scenes.painting import creatures, objects
from msmm.scenes.painting.canvas import Canvas, blend_colours, make_noise, pick, vary
from msmm.scenes.painting.objects import Stamp

LIGHT_SHARES = (0.70, 0.25, 0.0, 0.05, 0.0)  # of the keys of LIGHTS
SHARP = 0.7  # share of backdrops that can be recognised; others are blurred until they show nothing
BACKDROPS = {  # the probability, two colours (None: any of a list), what a sharp one shows
    "leaves": (0.35, (50, 85, 40), (140, 165, 85), ("grass",)),
    "wall": (0.20, (190, 172, 150), (212, 198, 180), ()),
    "air": (0.12, (100, 150, 210), (215, 228, 240), ("sky",)),
    "dark": (0.13, (22, 22, 25), (75, 66, 62), ()),
    "lights": (0.20, None, None, ()),
}


def _paint_backdrop(canvas: Canvas, rng, name: str | None):
    name = name or str(rng.choice(list(BACKDROPS), p=[row[0] for row in BACKDROPS.values()]))
    _, dark, bright, shows = BACKDROPS[name]
    dark, bright = dark or pick(rng, objects.PAINTS), bright or pick(rng, objects.PETALS)
    sharp = rng.random() < SHARP
    texture = blend_colours(
        make_noise(rng, 1.5 if sharp else 2.8), vary(rng, dark, 20), vary(rng, bright, 20)
    )
    canvas.lay_texture(texture, shows if sharp else ())


def _paint_subject(canvas: Canvas, rng, painter, shows: tuple, x: tuple, y: tuple, height: tuple):
    """Paints one object, somewhere in the given ranges."""
    at = rng.uniform(*x), rng.uniform(*y), rng.uniform(*height)
    flip, lean = 1 if rng.random() < 0.5 else -1, rng.normal(0, 0.08)
    painter(Stamp(canvas, *at, shows, flip, lean), rng)


def _paint_portrait(canvas: Canvas, rng):
    for _ in range(1 + int(2.2 * rng.random() ** 3)):
        _paint_subject(canvas, rng, creatures.draw_bust, ("person",), (0.2, 0.8), (1.0, 1.08), (0.55, 1.0))
    if rng.random() < 0.15:
        _paint_subject(canvas, rng, objects.draw_flower, ("flowers",), (0.1, 0.9), (0.6, 0.9), (0.1, 0.25))


def _paint_flower(canvas: Canvas, rng):
    for _ in range(1 + int(6 * rng.random() ** 2)):
        _paint_subject(canvas, rng, objects.draw_flower, ("flowers",), (0.15, 0.85), (0.2, 0.8), (0.25, 0.9))


def _paint_animal(canvas: Canvas, rng):
    kind = rng.random()
    if kind < 0.35:
        _paint_subject(
            canvas,
            rng,
            creatures.draw_perched_bird,
            ("birds", "animal"),
            (0.35, 0.65),
            (0.65, 0.9),
            (0.3, 0.7),
        )
    elif kind < 0.7:
        _paint_subject(canvas, rng, creatures.draw_pet, ("animal",), (0.3, 0.7), (0.95, 1.05), (0.6, 1.0))
    else:
        _paint_subject(canvas, rng, creatures.draw_beast, ("animal",), (0.35, 0.65), (0.85, 1.0), (0.45, 0.8))


def _paint_indoors(canvas: Canvas, rng):
    floor = rng.uniform(0.6, 0.95)
    boards = vary(rng, (130, 95, 65), 25)
    canvas.draw_polygon([(-0.1, floor), (1.1, floor), (1.1, 1.1), (-0.1, 1.1)], boards)
    if rng.random() < 0.5:  # a picture on the wall
        canvas.draw_panel(0.1, 0.1, rng.uniform(0.2, 0.5), 0.5, np.full((1, 1, 3), rng.uniform(60, 240, 3)))
    if rng.random() < 0.45:
        _paint_subject(canvas, rng, objects.draw_vase, (), (0.1, 0.9), (floor, floor + 0.1), (0.3, 0.8))
    if rng.random() < 0.35:
        _paint_subject(
            canvas, rng, creatures.draw_pet, ("animal",), (0.1, 0.9), (floor, floor + 0.15), (0.15, 0.5)
        )
    for _ in range(int(rng.integers(0, 4))):
        _paint_subject(canvas, rng, creatures.draw_bust, ("person",), (0.1, 0.9), (0.9, 1.1), (0.35, 0.8))


_SUBJECTS = {
    "portrait": _paint_portrait,
    "flower": _paint_flower,
    "animal": _paint_animal,
    "indoors": _paint_indoors,
}


def paint_close_up(canvas: Canvas, rng, kind: str):
    """Paints a backdrop and the subject of a kind of close-up: portrait, flower, animal or indoors."""
    _paint_backdrop(canvas, rng, "wall" if kind == "indoors" else None)
    _SUBJECTS[kind](canvas, rng)
