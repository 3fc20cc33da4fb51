"""The kinds of scene, their frequencies, and the function that paints any of them."""

import dataclasses

from msmm.scenes.painting import close_ups
from msmm.scenes.painting.canvas import LIGHTS, Canvas
from msmm.scenes.painting.landscapes import LANDSCAPES, paint_landscape

# From the most frequent to the rarest: the kind at rank r = 0, 1, ... has the weight 1 / (r + 2).
KINDS = ("street", "coast", "countryside", "mountains", "portrait", "park", "flower", "lake", "animal",
         "open sky", "winter", "night city", "harbour", "indoors", "desert")  # fmt: skip
_WEIGHTS = [1 / (rank + 2) for rank in range(len(KINDS))]
KIND_SHARES = {kind: weight / sum(_WEIGHTS) for kind, weight in zip(KINDS, _WEIGHTS, strict=True)}


def paint(rng, kind: str, side: int) -> tuple[Canvas, str]:
    """Paints a scene of one of KINDS; returns a canvas of side x side pixels, and the name of its light."""
    landscape = LANDSCAPES.get(kind)
    name = str(rng.choice(list(LIGHTS), p=landscape.lights if landscape else close_ups.LIGHT_SHARES))
    strength = rng.uniform(0.85, 1.12)
    tint = tuple(t * strength * rng.uniform(0.95, 1.05) for t in LIGHTS[name].tint)
    canvas = Canvas(side, dataclasses.replace(LIGHTS[name], tint=tint))
    if landscape:
        paint_landscape(canvas, rng, landscape, name)
    else:
        close_ups.paint_close_up(canvas, rng, kind)
    return canvas, name
