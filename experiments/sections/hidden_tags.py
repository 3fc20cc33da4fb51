"""Half of a model's tags hidden from it, and read as the nearest of the others (`nearest_tags`)."""

import random

import keras
import numpy as np

from msmm.inference import model_dir
from msmm.photos.keywords import Tags
from msmm.photos.word_vectors import nearest
from msmm.scoring.metrics import annotation_metrics
from msmm.training import frozen_features
from msmm.training.run import Run

THRESHOLDS = (0.4, 0.5, 0.6, 0.7, 0.8)


def measured(run: Run, draw: int) -> dict[str, tuple[float, float, float]]:
    """What becomes of hidden tags -> % of them that are read, H-F1 of held-out and of test images."""
    model, tags = _of_features(run), run.dataset.tags
    left = tuple(random.Random(draw).sample(tags, len(tags) // 2))

    def at_random(find):
        return lambda word: find(word) and random.Random(f"{draw} {word}").choice(left)

    readers = {"not hidden": Tags(tags), "left out": Tags(left)}
    for threshold in THRESHOLDS:
        find = nearest(left, threshold)
        readers |= {f"nearest, {threshold}": Tags(left, find)}
        readers |= {f"random, {threshold}": Tags(left, at_random(find))}
    return {case: _figures(run, model, reader) for case, reader in readers.items()}


def _of_features(run):
    """The finished model, for images of one pixel whose channels are f_v."""
    whole = model_dir.load(run.model_directory)
    inputs = [whole.network.get_layer("joint").input[0], whole.network.input["tags"]]
    rest = keras.Model(inputs, whole.network.output)

    def predict(image, tags):
        said = rest.predict_on_batch([image[:, 0, 0], tags])
        return said | {"quantity": said["quantity"][:, 0]}

    engine = model_dir.Engine(predict, model_dir.sizes_of(whole.network) | {"image": 1})
    fitted = whole.quantities, whole.quantities_without_tags
    return model_dir.Model(engine, whole.labels, whole.tags, whole.info, *fitted)


def _figures(run, model, reader) -> tuple[float, float, float]:
    found = []
    for split, rows in (("train", run.held_out_rows), ("test", np.arange(len(run.split("test").ids)))):
        words = ([model.tags[i] for i in np.flatnonzero(row)] for row in run.split(split).tags[rows])
        known, unknown, near = zip(*(reader.split(of_image) for of_image in words), strict=True)
        said = model.annotate(frozen_features.visual_features(run, split)[rows][:, None, None], known)
        chosen = np.array([np.isin(model.labels, annotation.labels) for annotation in said])
        found.append(annotation_metrics(run.split(split).labels[rows], chosen)["H-F1"])
    read, rest = (sum(map(len, words)) for words in (near, unknown))
    return 100 * read / max(1, read + rest), *found
