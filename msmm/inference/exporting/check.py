"""Checks an export against its model, on drawn scenes."""

import pathlib

import numpy as np
import tensorflow as tf

from msmm.core.errors import UserError
from msmm.data import preprocessing
from msmm.inference.agreement import MAX_DIFFERENCE, Agreement, compare_annotations
from msmm.inference.exporting import formats
from msmm.inference.exporting.graph import SEPARATOR
from msmm.inference.model import Annotation, Model
from msmm.scenes import recipe

BATCH = 10  # images
UNKNOWN_TAG = "no such tag"


def check_export(
    model: Model, name: str, directory: pathlib.Path, num_images: int, quantity: str = "regression"
) -> list[Agreement]:
    """Runs an export in its own runtime beside the model: on pixels, and a SavedModel on encoded images too.

    Raises UserError where a probability or a quantity differs by more than MAX_DIFFERENCE, or a label differs
    that is not borderline.
    """
    tags = draw_tags(model, num_images)

    def agreement(annotations, images):
        return compare_annotations(
            model, annotations, _expected(model, images, tags, quantity), tags, quantity
        )

    images = [draw_image(i, model.image_size) for i in range(num_images)]
    run = formats.require(name).open(directory)
    agreements = [agreement(annotate_pixels(model, run, images, tags), images)]
    if name == "saved_model":
        larger = [draw_image(i, model.image_size * 3 // 2) for i in range(num_images)]
        encoded, decoded = zip(*map(encode, range(num_images), larger), strict=True)
        serve = formats.load_saved_model(directory).signatures["serving_default"]
        agreements.append(agreement(annotate_encoded(serve, encoded, tags), decoded))
    for found in agreements:
        if not found.is_good:
            raise UserError(
                f"the {name} export does not annotate as the model does, so nothing was written: expected "
                f"probabilities and quantities within {MAX_DIFFERENCE:g} and the same labels in the same "
                f"order on {found.images} images, but for labels on the border. Received: a difference of "
                f"{found.probability:.2g}, of the quantity {found.quantity:.2g}, the same labels on "
                f"{found.same_labels}, the same order on {found.same_order}"
            )
    return agreements


def draw_image(index: int, size: int) -> np.ndarray:
    """Draws a scene, uint8 [size, size, 3]."""
    return np.asarray(recipe.draw(0, index, size).image)


def draw_tags(model: Model, num_images: int) -> list[list[str]]:
    """Draws for each image none to four tags of the model, and one that it does not know.

    They are servable: a SavedModel cannot find the others among encoded images.
    """
    rng = np.random.default_rng(0)
    unservable = set(unservable_tags(model))
    servable = [tag for tag in model.tags if tag not in unservable]
    most = min(4, len(servable))
    return [
        [*rng.choice(servable, rng.integers(most + 1), replace=False), UNKNOWN_TAG] for _ in range(num_images)
    ]


def unservable_tags(model: Model) -> list[str]:
    """Returns the tags that `Graph.encoded` never finds: it splits names at a character that they contain."""
    return [tag for tag in model.tags if SEPARATOR in tag]


def encode(index: int, image: np.ndarray) -> tuple[bytes, np.ndarray]:
    """Encodes an image as JPEG or, every fourth, as PNG; returns the file and its pixels."""
    if index % 4 == 3:
        return tf.io.encode_png(image).numpy(), image
    jpeg = tf.io.encode_jpeg(image, quality=90).numpy()
    return jpeg, np.asarray(preprocessing.decode(jpeg))


def _expected(model: Model, images, tags, quantity: str) -> list[Annotation]:
    return [
        annotation
        for batch in _batches(len(images))
        for annotation in model.annotate(images[batch], tags[batch], quantity)
    ]


def annotate_pixels(model: Model, run: formats.RunFunction, images, tags) -> list[Annotation]:
    """Annotates images uint8 [S, S, 3] and their tags by an export."""
    annotations = []
    for batch in _batches(len(images)):
        multi_hot = np.array([np.isin(model.tags, words) for words in tags[batch]], np.float32)
        outputs = run(np.stack(images[batch]).astype(np.float32), multi_hot)
        rows = zip(outputs["chosen"], outputs["probabilities"], outputs["quantity"], strict=True)
        for chosen, p, quantity in rows:
            best = np.argsort(-p, kind="stable")
            annotations.append(
                Annotation(tuple(model.labels[i] for i in best if chosen[i]), p, float(quantity))
            )
    return annotations


def annotate_encoded(serve, encoded, tags) -> list[Annotation]:
    """Annotates encoded images and their tags by the signature `serving_default`."""
    annotations = []
    for batch in _batches(len(encoded)):
        words = tf.constant([SEPARATOR.join(w) for w in tags[batch]])
        outputs = serve(image_bytes=tf.constant(encoded[batch]), tags=words)
        values = (outputs[name].numpy() for name in ("labels", "probabilities", "quantity"))
        for labels, p, quantity in zip(*values, strict=True):
            names = tuple(label.decode() for label in labels if label)
            annotations.append(Annotation(names, p, float(quantity)))
    return annotations


def _batches(size: int) -> list[slice]:
    return [slice(start, start + BATCH) for start in range(0, size, BATCH)]
