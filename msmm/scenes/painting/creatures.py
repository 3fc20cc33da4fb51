"""People, animals and birds, painted as the things of `objects` are."""

from msmm.scenes.painting.canvas import pick, vary
from msmm.scenes.painting.objects import PAINTS, Stamp

SKINS = ((240, 205, 175), (224, 180, 145), (180, 125, 90), (120, 80, 58), (92, 60, 45))
HAIRS = ((45, 32, 25), (25, 22, 22), (95, 65, 40), (190, 150, 90), (150, 80, 45), (170, 168, 165))
COATS = ((130, 90, 55), (235, 232, 225), (60, 50, 45), (190, 140, 85), (150, 145, 140), (95, 62, 42))


def draw_person(s: Stamp, rng):
    """Draws a walking person from the side, 1 high."""
    shirt, skin = vary(rng, pick(rng, PAINTS), 15), vary(rng, pick(rng, SKINS), 6)
    trousers = vary(rng, pick(rng, ((45, 55, 85), (40, 40, 42), (120, 105, 85), (90, 60, 55))), 10)
    stride = rng.uniform(0.02, 0.14)
    s.draw_polygon([(-0.09, 0.5), (0.01, 0.5), (0.03 - stride, 0), (-0.06 - stride, 0)], trousers)
    s.draw_polygon([(-0.01, 0.5), (0.09, 0.5), (0.06 + stride, 0), (-0.03 + stride, 0)], trousers)
    s.draw_line([(-0.12, 0.79), (-0.17 - stride, 0.47)], 0.05, shirt)
    s.draw_line([(0.12, 0.79), (0.17 + stride * rng.uniform(-1, 1), rng.uniform(0.45, 0.95))], 0.05, shirt)
    s.draw_polygon([(-0.13, 0.83), (0.13, 0.83), (0.1, 0.46), (-0.1, 0.46)], shirt)
    if rng.random() < 0.3:  # a skirt
        s.draw_polygon([(-0.1, 0.55), (0.1, 0.55), (0.2, 0.25), (-0.2, 0.25)], shirt)
    s.draw_blob(0, 0.93, 0.062, 0.075, vary(rng, pick(rng, HAIRS), 6))
    s.draw_blob(0.012, 0.905, 0.052, 0.065, skin)


def draw_bust(s: Stamp, rng):
    """Draws head and shoulders, from the breast to the crown."""
    shirt, skin, hair = (vary(rng, pick(rng, p), 8) for p in (PAINTS, SKINS, HAIRS))
    long_hair = rng.random() < 0.5
    s.draw_blob(0, 0.68 if long_hair else 0.74, 0.26, 0.36 if long_hair else 0.26, hair)
    s.draw_polygon(
        [(-0.62, -0.1), (-0.52, 0.2), (-0.15, 0.33), (0.15, 0.33), (0.52, 0.2), (0.62, -0.1)], shirt
    )
    s.draw_polygon([(-0.1, 0.27), (0.1, 0.27), (0.1, 0.5), (-0.1, 0.5)], tuple(c * 0.88 for c in skin))
    s.draw_blob(0, 0.66, 0.19, 0.26, skin)
    s.draw_polygon(
        [(-0.2, 0.72), (-0.17, 0.9), (0, 0.97), (0.17, 0.9), (0.2, 0.72), (0.1, 0.83), (-0.08, 0.85)], hair
    )
    for u in (-0.08, 0.08):
        s.draw_blob(u, 0.68, 0.03, 0.018, (245, 245, 240))
        s.draw_blob(u, 0.68, 0.015, 0.018, (50, 40, 35))
        s.draw_line([(u - 0.04, 0.73), (u + 0.04, 0.735)], 0.012, tuple(c * 0.8 for c in hair))
    s.draw_line([(0, 0.66), (0.015, 0.6), (-0.01, 0.59)], 0.012, tuple(c * 0.75 for c in skin))
    smile = rng.uniform(0, 0.03)
    s.draw_line([(-0.07, 0.52 + smile), (0, 0.52 - smile), (0.07, 0.52 + smile)], 0.018, (170, 70, 70))


def draw_beast(s: Stamp, rng):
    """Draws a four-legged animal from the side: horse, cow, sheep or dog by its proportions."""
    coat = vary(rng, pick(rng, COATS), 10)
    dark = tuple(c * 0.72 for c in coat)
    legs, neck, body = rng.uniform(0.28, 0.45), rng.uniform(0.05, 0.4), rng.uniform(0.34, 0.55)
    back = legs + 0.34
    for u in (-0.85, -0.6, 0.55, 0.8):
        step = rng.uniform(-0.06, 0.06)
        s.draw_line(
            [(u * body, legs + 0.12), (u * body + step, 0)], 0.085, dark if u in (-0.85, 0.8) else coat
        )
    s.draw_line([(-body, back - 0.08), (-body - 0.13, back - rng.uniform(-0.15, 0.35))], 0.05, dark)
    s.draw_blob(0, legs + 0.18, body * 1.08, 0.19, coat)
    if rng.random() < 0.3:  # patches
        for _ in range(4):
            s.draw_blob(
                rng.uniform(-0.7, 0.7) * body, legs + rng.uniform(0.1, 0.28), 0.09, 0.07, (245, 240, 232)
            )
    u, v = body + 0.12 + 0.1 * neck, min(0.86, back - 0.02 + neck * 0.6)
    s.draw_polygon(
        [(body * 0.6, back - 0.02), (u - 0.05, v + 0.07), (u + 0.05, v - 0.06), (body, legs + 0.1)], coat
    )
    s.draw_blob(u + 0.08, v - 0.03, 0.17, 0.1, coat, -0.5)
    s.draw_polygon([(u - 0.04, v + 0.03), (u - 0.02, v + 0.15), (u + 0.06, v + 0.04)], dark)
    s.draw_blob(u + 0.06, v + 0.01, 0.018, 0.018, (20, 18, 16))


def draw_pet(s: Stamp, rng):
    """Draws a cat's or a dog's face, close."""
    coat = vary(rng, pick(rng, COATS), 10)
    dark, pale = tuple(c * 0.7 for c in coat), tuple(min(255, c * 1.2 + 20) for c in coat)
    cat = rng.random() < 0.5
    s.draw_blob(0, 0.05, 0.42, 0.4, dark)
    if cat:
        for side in (-1, 1):
            s.draw_polygon([(side * 0.34, 0.6), (side * 0.3, 1.0), (side * 0.06, 0.8)], dark)
            s.draw_polygon([(side * 0.28, 0.7), (side * 0.26, 0.9), (side * 0.14, 0.8)], (215, 160, 150))
    s.draw_blob(0, 0.55, 0.36, 0.32, coat)
    if not cat:
        for side in (-1, 1):
            s.draw_blob(side * 0.36, 0.56, 0.11, 0.26, dark, side * 0.25)
    s.draw_blob(0, 0.42, 0.17, 0.15, pale)
    iris = pick(rng, ((190, 180, 60), (110, 150, 80), (110, 70, 40), (100, 140, 180)))
    for u in (-0.15, 0.15):
        s.draw_blob(u, 0.62, 0.065, 0.055, iris)
        s.draw_blob(u, 0.62, 0.022 if cat else 0.04, 0.05, (15, 14, 14))
    s.draw_polygon([(-0.06, 0.5), (0.06, 0.5), (0, 0.43)], (60, 40, 42))
    s.draw_line([(0, 0.44), (0, 0.37), (0.08, 0.34)], 0.015, (60, 40, 42))


def draw_bird(s: Stamp, rng):
    """Draws a bird on the wing, 1 long."""
    lift, fold = rng.uniform(0.05, 0.32), rng.uniform(0.1, 0.3)
    colour = vary(rng, pick(rng, ((45, 45, 50), (60, 55, 55), (235, 235, 238))), 10)
    s.draw_polygon(
        [(-0.5, lift - 0.05), (-fold, lift + 0.06), (0, 0.03), (0, -0.07), (-fold, lift - 0.06)], colour
    )
    s.draw_polygon([(0.5, lift), (fold, lift + 0.08), (0, 0.03), (0, -0.07), (fold, lift - 0.04)], colour)
    s.draw_blob(0, -0.01, 0.17, 0.06, colour)


def draw_perched_bird(s: Stamp, rng):
    """Draws a bird on a twig, close."""
    coat, breast = vary(rng, pick(rng, PAINTS), 15), vary(rng, pick(rng, PAINTS), 15)
    s.draw_line([(-1.5, 0.0), (1.5, 0.1)], 0.06, (85, 65, 48))
    s.draw_polygon([(-0.3, 0.35), (-0.75, 0.0), (-0.65, -0.08), (-0.2, 0.2)], tuple(c * 0.7 for c in coat))
    s.draw_line([(-0.05, 0.2), (-0.05, 0.03)], 0.03, (110, 80, 50))
    s.draw_blob(0, 0.42, 0.38, 0.25, coat, 0.5)
    s.draw_blob(0.12, 0.36, 0.22, 0.18, breast, 0.7)
    s.draw_blob(-0.1, 0.4, 0.26, 0.13, tuple(c * 0.75 for c in coat), 0.6)
    s.draw_blob(0.24, 0.78, 0.18, 0.17, coat)
    s.draw_polygon([(0.39, 0.84), (0.58, 0.76), (0.39, 0.72)], (215, 160, 60))
    s.draw_blob(0.29, 0.82, 0.035, 0.035, (15, 15, 15))
