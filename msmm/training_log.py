"""What TensorBoard shows of a stage."""

import keras
import numpy as np
import tensorflow as tf

from msmm.contact_sheet import contact_sheet

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
        """Scalars of one epoch: the training loss, rate and speed, and the held-out figures."""
        with self._writer.as_default(step=epoch):
            for name, value in train.items():
                tf.summary.scalar(f"train/{name}", value)
            for name, value in held_out.items():
                tf.summary.scalar(f"held-out/{name}", value)
        self._writer.flush()

    def graph(self, model: keras.Model) -> None:
        """The TensorFlow graph of a model."""
        if keras.backend.backend() != "tensorflow":
            return
        spec = tf.nest.map_structure(
            lambda i: tf.TensorSpec((1, *i.shape[1:]), i.dtype),
            model.inputs if len(model.inputs) > 1 else model.input,
        )
        traced = tf.function(lambda x: model(x, training=False)).get_concrete_function(spec)
        with self._writer.as_default(step=0):
            tf.summary.graph(traced.graph)

    def per_class(self, step: int, labels, f1) -> None:
        """F1 of every class, in percent, [C]: one scalar each and a table sorted by it."""
        with self._writer.as_default(step=step):
            for label, value in zip(labels, f1, strict=True):
                tf.summary.scalar(f"F1 by class/{label}", value)
            order = np.argsort(-np.asarray(f1), kind="stable")
            rows = [f"| {labels[i]} | {f1[i]:.2f} |" for i in order]
            tf.summary.text("F1 by class", "\n".join(["| class | F1 (%) |", "|---|---|", *rows]))

    def examples(self, step: int, images, captions) -> None:
        """Images uint8 [n, S, S, 3] over their captions (lines of (text, colour), as `label_lines` gives)."""
        sheet = np.asarray(contact_sheet(list(images), captions, columns=4))
        with self._writer.as_default(step=step):
            tf.summary.image("examples (green right, blue not in the ground truth, grey missed)", sheet[None])


def label_lines(truth, chosen, labels):
    """The caption of one image, truth and chosen bool [C]: lines of (text, colour)."""
    said = [(labels[i], GREEN if truth[i] else BLUE) for i in np.flatnonzero(chosen)]
    missed = [(labels[i], GREY) for i in np.flatnonzero(truth & ~chosen)]
    return [[(f"{text} ", colour) for text, colour in run] for run in (said, missed) if run]
