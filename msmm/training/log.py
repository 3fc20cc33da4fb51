"""The TensorBoard log of a stage."""

import keras
import numpy as np
import tensorflow as tf
from PIL import Image, ImageDraw, ImageFont

from msmm.core.class_summary import shown_classes
from msmm.core.contact_sheet import contact_sheet

GREEN, BLUE, GREY = "#1a7f37", "#0b5fff", "#666666"  # right, not in the ground truth, missed


class TrainingLog:
    """Writes one stage's event file. Use as a context manager."""

    def __init__(self, directory):
        self._writer = tf.summary.create_file_writer(str(directory))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._writer.close()

    def epoch(self, epoch: int, train: dict[str, float], held_out: dict[str, float]) -> None:
        """Writes the scalars of one epoch: the training loss, rate and speed, and the held-out figures."""
        with self._writer.as_default(step=epoch):
            for name, value in train.items():
                tf.summary.scalar(f"train/{name}", value)
            for name, value in held_out.items():
                tf.summary.scalar(f"held-out/{name}", value)
        self._writer.flush()

    def notes(self, lines: list[str]) -> None:
        """Writes remarks for the reader of the curves."""
        if lines:
            with self._writer.as_default(step=0):
                tf.summary.text("notes", "\n\n".join(lines))

    def graph(self, model: keras.Model) -> None:
        """Writes the TensorFlow graph of a model."""
        if keras.backend.backend() != "tensorflow":
            return
        spec = tf.nest.map_structure(
            lambda i: tf.TensorSpec((1, *i.shape[1:]), i.dtype),
            model.inputs if len(model.inputs) > 1 else model.input,
        )
        traced = tf.function(lambda x: model(x, training=False)).get_concrete_function(spec)
        with self._writer.as_default(step=0):
            tf.summary.graph(traced.graph)

    def per_class(self, step: int, labels, percent, name: str = "F1") -> None:
        """Writes a figure of the classes, [C]: a bar chart and a table, the best class first.

        Of many classes the best and the worst are shown.

        percent: of each class; NaN where a class has none, which leaves it out.
            Where all have none, nothing is written.
        """
        percent = np.asarray(percent)
        shown = shown_classes(percent)
        known = [i for i in shown[np.argsort(-percent[shown], kind="stable")] if not np.isnan(percent[i])]
        if not known:
            return
        names, values = [labels[i] for i in known], [float(percent[i]) for i in known]
        rows = [f"| {label} | {value:.2f} |" for label, value in zip(names, values, strict=True)]
        with self._writer.as_default(step=step):
            tf.summary.image(f"{name} by class (%)", np.asarray(bar_chart(names, values))[None])
            tf.summary.text(f"{name} by class", "\n".join([f"| class | {name} (%) |", "|---|---|", *rows]))

    def examples(self, step: int, images, captions) -> None:
        """Writes images uint8 [n, S, S, 3] over their captions, which `label_lines` returns."""
        sheet = np.asarray(contact_sheet(list(images), captions, columns=4))
        with self._writer.as_default(step=step):
            tf.summary.image("examples (green right, blue not in the ground truth, grey missed)", sheet[None])


def label_lines(truth, chosen, labels):
    """Returns the caption of one image, truth and chosen bool [C]: lines of (text, colour)."""
    kept = [(labels[i], GREEN if truth[i] else BLUE) for i in np.flatnonzero(chosen)]
    missed = [(labels[i], GREY) for i in np.flatnonzero(truth & ~chosen)]
    lines = [line for line in (kept, missed) if line]
    return [[(f"{text}, ", colour) for text, colour in line[:-1]] + [line[-1]] for line in lines]


_LONGEST = 36  # characters of a name beside a bar


def bar_chart(names, values, width: int = 640) -> Image.Image:
    """Draws horizontal bars of values in 0 … 100, one row each; long names are cut."""
    font, row = ImageFont.load_default(14), 20
    names = [name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…" for name in names]
    chart = Image.new("RGB", (width, row * len(names) + 10), "white")
    draw = ImageDraw.Draw(chart)
    left = min(int(max(draw.textlength(name, font) for name in names)) + 20, width // 2)
    for i, (name, value) in enumerate(zip(names, values, strict=True)):
        y = 5 + row * i
        right = left + (width - left - 60) * value / 100
        draw.text((left - 10, y), name, "#333333", font, anchor="ra")
        draw.rectangle((left, y + 2, right, y + row - 5), BLUE)
        draw.text((right + 6, y), f"{value:.1f}", "#333333", font)
    return chart
