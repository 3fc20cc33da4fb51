"""The large parts of a drawn scene: sky, clouds, mountains, water, ground, and skylines."""

import numpy as np

from msmm.scenes.painting.canvas import (
    CENTRES,
    GRID,
    Canvas,
    blend_colours,
    close_under,
    make_noise,
    make_plain,
    make_ridge,
    pick,
    vary,
)
from msmm.scenes.painting.objects import CIRCLE, LAMP, PETALS, Stamp

SUN_COLOUR = np.array((255, 190, 90))
FACADES = ((168, 160, 150), (140, 120, 108), (120, 135, 150), (190, 180, 165), (95, 100, 112), (170, 105, 85))


WATERS = {
    "ocean": ((40, 105, 150), (30, 130, 150), (60, 95, 120), (25, 70, 110)),
    "lake": ((60, 100, 125), (40, 85, 110), (75, 110, 105), (50, 120, 145)),
    "river": ((70, 100, 110), (95, 105, 85), (60, 85, 100)),
}
GROUNDS = {
    "grass": ((112, 150, 58), (88, 132, 52), (140, 150, 75), (150, 140, 80), (70, 118, 48)),
    "snow": ((235, 240, 248), (222, 230, 244), (240, 238, 236)),
    "beach": ((222, 200, 155), (205, 180, 140), (232, 216, 185), (180, 160, 132)),
    "sand": ((222, 186, 130), (205, 150, 100), (228, 205, 160)),
    "pavement": ((150, 148, 145), (172, 164, 152), (125, 125, 130)),
    "rock": ((128, 120, 110), (110, 108, 104)),
}


def paint_sky(canvas: Canvas, rng, horizon: float, sun: tuple | None):
    """Paints a gradient with a hue that drifts, and the glow of a low `sun` at (x, y), if there is one."""
    top, bottom = (np.array(vary(rng, colour, 10)) for colour in pick(rng, canvas.light.skies))
    down = np.clip(CENTRES[::2] / max(horizon, 0.3), 0, 1) ** rng.uniform(0.7, 1.7)
    field = top + down[:, None, None] * (bottom - top) + np.zeros((1, GRID // 2, 1))
    field = field + (make_noise(rng, 2.6, 2)[::2, ::2, None] - 0.5) * rng.normal(0, 16, 3)
    if sun is not None:
        far = (CENTRES[::2, None] - sun[1]) ** 2 + (CENTRES[None, ::2] - sun[0]) ** 2
        glow = np.exp(-far / rng.uniform(0.02, 0.12))[..., None] * rng.uniform(0.4, 0.9)
        field = field * (1 - glow) + SUN_COLOUR * glow
    canvas.lay_texture(field, ("sky",), glow=True)


def paint_clouds(canvas: Canvas, rng, amount: float):
    """Paints soft blobs; `amount` from 0 (wisps) to 1 (a closed cover)."""
    shape = make_noise(rng, 1.9, int(rng.integers(1, 4)))
    bright, dark = (vary(rng, colour, 8) for colour in canvas.light.clouds)
    alpha = (shape - np.quantile(shape, 1 - (0.12 + 0.8 * amount))) * rng.uniform(4, 9)
    shade = np.roll(shape, 4, axis=0) * 0.7 + make_noise(rng, 2.2, 2) * 0.3
    canvas.lay_texture(
        blend_colours(1 - shade, dark, bright), ("sky", "clouds"), alpha=alpha * 0.95, glow=True
    )


def paint_mountains(canvas: Canvas, rng, horizon: float, height: float, snowy: bool):
    """Paints one to three chains, `height` above y = `horizon`, far ones paler; `snowy` adds snow."""
    chains = int(rng.integers(1, 4))
    rock = vary(rng, pick(rng, ((105, 95, 88), (80, 92, 84), (120, 100, 84), (88, 92, 108))), 12)
    haze = np.array(pick(rng, canvas.light.skies)[1]) / np.maximum(canvas.light.tint, 0.3)
    for chain in range(chains):
        mist = 0.55 * (1 - (chain + 1) / chains)
        tall = height * (1 - 0.35 * chain) * rng.uniform(0.7, 1.1)
        line = horizon + 0.01 - tall * make_ridge(rng)
        relief = make_noise(rng, 1.7)
        relief = np.clip(0.5 + 2.2 * (relief - np.roll(relief, (1, 3), (0, 1))), 0, 1)
        body = blend_colours(relief, np.array(rock) * 0.55, np.array(rock) * 1.15) * (1 - mist) + haze * mist
        canvas.lay_texture(body, ("mountain",), within=close_under(line, horizon + 0.03))
        if snowy and chain < 2:
            edge = horizon - tall * rng.uniform(0.2, 0.6) + (relief - 0.5) * 0.12
            white = blend_colours(relief, (150, 165, 195), (250, 252, 255)) * (1 - mist) + haze * mist
            cover = (edge - CENTRES[:, None]) * 18
            canvas.lay_texture(
                white, ("mountain", "snow"), within=close_under(line, horizon + 0.03), alpha=cover
            )


def paint_treeline(canvas: Canvas, rng, horizon: float):
    """Paints a wood along y = `horizon`."""
    line = horizon + 0.015 - rng.uniform(0.03, 0.13) * (0.35 + 0.65 * make_ridge(rng, 6, 65))
    green = np.array(vary(rng, pick(rng, ((58, 92, 48), (40, 70, 52), (96, 104, 44), (128, 88, 40))), 12))
    canvas.lay_texture(
        blend_colours(make_noise(rng, 1.2), green * 0.5, green * 1.3),
        ("tree",),
        close_under(line, horizon + 0.05),
    )


def paint_water(canvas: Canvas, rng, top: float, concept: str, sun: tuple | None):
    """Paints water from y = `top` down, with waves; the low `sun` (x, y) lays a path on it.

    concept: a key of WATERS; a river shows the label water, the others also their own.
    """
    base = np.array(vary(rng, pick(rng, WATERS[concept]), 12))
    reflected = np.array(pick(rng, canvas.light.skies)[1]) / np.maximum(canvas.light.tint, 0.35)
    waves = make_plain(rng, top, stretch=rng.uniform(3, 9), fine=rng.uniform(0.6, 1.4))
    mirror = np.clip(1.15 - (CENTRES - top) * 2.2, 0.1, 0.8)[:, None] * rng.uniform(0.4, 1.0)
    field = (
        blend_colours(waves, base * 0.6, base * 1.35) * (1 - mirror[..., None])
        + reflected * mirror[..., None]
    )
    if sun is not None:
        path = np.exp(-(((CENTRES - sun[0]) / rng.uniform(0.05, 0.15)) ** 2))[None] * np.clip(
            waves * 2 - 0.4, 0, 1
        )
        field = field + path[..., None] * SUN_COLOUR * 1.2
    if concept == "ocean":
        foam = np.clip((waves - rng.uniform(0.78, 0.95)) * 8, 0, 1)[..., None]
        field = field * (1 - foam) + 235 * foam
    shows = ("water",) if concept == "river" else ("water", concept)
    canvas.lay_texture(field, shows, within=close_under(np.full(2, top)))


def paint_ground(canvas: Canvas, rng, horizon: float, kind: str, line=None):
    """Paints a ground of GROUNDS below `line` (y values from edge to edge) or y = `horizon`.

    Grass, snow and beach show their labels; sand, pavement and rock have none.
    """
    base = np.array(vary(rng, pick(rng, GROUNDS[kind]), 12))
    contrast = {"grass": 0.42, "snow": 0.10, "pavement": 0.08, "rock": 0.4}.get(kind, 0.15)
    field = make_plain(rng, horizon, stretch=rng.uniform(0.6, 2.0), fine=rng.uniform(0.7, 1.6))
    drift = (make_noise(rng, 2.6)[..., None] - 0.5) * rng.normal(0, 12, 3)
    shows = (kind,) if kind in ("grass", "snow", "beach") else ()
    within = close_under(np.full(2, horizon) if line is None else line)
    canvas.lay_texture(
        blend_colours(field, base * (1 - contrast), base * (1 + contrast)) + drift, shows, within
    )


def paint_road(canvas: Canvas, rng, horizon: float, wide: float):
    """Paints a road or a path towards y = `horizon`, of half width `wide` at the lower edge."""
    vanish, foot = rng.uniform(0.25, 0.75), rng.uniform(0.1, 0.9)
    top = max(horizon, -0.1)
    paved = rng.random() < 0.75
    colour = vary(rng, (98, 98, 102) if paved else (168, 142, 108), 12)
    thin = wide * 0.06 if horizon > 0 else wide * 0.8
    canvas.draw_polygon(
        [(vanish - thin, top), (vanish + thin, top), (foot + wide, 1.05), (foot - wide, 1.05)],
        colour,
        ("road",),
    )
    for step in range(5) if paved and rng.random() < 0.7 else ():
        near, end = (0.15 + 0.18 * step) ** 1.6, (0.24 + 0.18 * step) ** 1.6
        ends = [(vanish + (foot - vanish) * t, top + (1.05 - top) * t) for t in (near, end)]
        canvas.draw_line(ends, 0.012 * end + 0.003, (232, 228, 205), ("road",))


def paint_block(
    canvas: Canvas, rng, left: float, right: float, foot: float, height: float, haze: float = 0.0
):
    """Paints a building with rows of windows; after dark some are lit. `haze` in 0..1 pales it."""
    light = canvas.light
    wall = np.array(canvas.apply_light(vary(rng, pick(rng, FACADES), 12)), float)
    floors, bays = int(rng.integers(4, 14)), int(rng.integers(2, 8))
    windows = np.full((floors, bays, 3), canvas.apply_light(vary(rng, (78, 92, 112), 14)), float)
    if light.lamps:
        windows[rng.random((floors, bays)) < rng.uniform(0.2, 0.7)] = vary(rng, LAMP, 10)
    front = np.tile(wall, (2 * floors + 1, 2 * bays + 1, 1))
    front[1::2, 1::2] = windows
    air = np.array(pick(rng, light.skies)[1], float)
    canvas.draw_panel(left, foot - height, right, foot, front * (1 - haze) + air * haze, ("buildings",))


def paint_skyline(canvas: Canvas, rng, horizon: float):
    """Paints buildings along y = `horizon`, pale ones behind."""
    tall = rng.uniform(0.08, 0.4)
    for haze in (0.5, 0.15):
        left, last = rng.uniform(-0.1, 0.5), rng.uniform(0.5, 1.1)
        while left < last:
            wide = rng.uniform(0.05, 0.14)
            paint_block(canvas, rng, left, left + wide, horizon + 0.02, tall * rng.uniform(0.35, 1.1), haze)
            left += wide * rng.uniform(0.9, 1.6)


def paint_bridge(canvas: Canvas, rng, deck: float, foot: float):
    """Paints a bridge from edge to edge on arches or cables: road at y = `deck`, piers down to `foot`."""
    colour = vary(rng, pick(rng, ((120, 112, 105), (170, 70, 55), (95, 100, 108), (180, 172, 158))), 10)
    shows, thick = ("bridge",), rng.uniform(0.012, 0.03)
    if rng.random() < 0.5:
        count = int(rng.integers(2, 6))
        for i in range(count):
            left, right = i / count, (i + 1) / count
            wide, tall = (right - left) / 2, 0.9 * (foot - deck)
            arch = [(left + wide * (1 - p), foot - tall * max(q, 0)) for p, q in CIRCLE[:10]]
            canvas.draw_polygon([(left - 0.02, deck), *arch, (right + 0.02, deck)], colour, shows)
    else:
        rise = rng.uniform(0.12, 0.25)
        for tower in (0.25, 0.75):
            canvas.draw_line([(tower, foot), (tower, deck - rise)], 0.025, colour, shows)
            for reach in (0.06, 0.12, 0.18, 0.24):
                for side in (-1, 1):
                    canvas.draw_line(
                        [(tower, deck - rise), (tower + side * reach, deck)], 0.004, colour, shows
                    )
    canvas.draw_line([(-0.02, deck), (1.02, deck)], thick, colour, shows)


def paint_flower_bed(canvas: Canvas, rng, horizon: float):
    """Paints blooms strewn over the ground below y = `horizon`, small ones far away."""
    colours = [pick(rng, PETALS) for _ in range(int(rng.integers(1, 4)))]
    top = max(horizon, -0.1) + rng.uniform(0.05, 0.35)
    left, wide = rng.uniform(-0.2, 0.5), rng.uniform(0.3, 1.0)
    for depth in np.sort(rng.random(int(rng.integers(25, 70)))) ** 1.3:
        size = (0.008 + 0.03 * depth) * rng.uniform(0.6, 1.3)
        stamp = Stamp(canvas, left + wide * rng.random(), top + (1.03 - top) * depth, size, ("flowers",))
        stamp.draw_blob(0, 0, 0.55, 0.45, vary(rng, pick(rng, colours), 12))
