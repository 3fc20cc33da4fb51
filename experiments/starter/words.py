"""What a few words beside the pixels do to the starter model's keywords, on held-out photographs.

The model trained with the words of a whole caption. People's photographs have fewer: of a folder, of a file's
name, and many of them are about nothing that the photograph shows.
"""

import random
from collections.abc import Mapping, Sequence

import keras
import numpy as np

from experiments.starter import counting
from msmm.data.input_pipeline import batches_of
from msmm.photos import context
from msmm.photos.keywords import Tags
from msmm.quantities.fitting import FittedCountingRules
from msmm.scoring.logits import sigmoid
from msmm.scoring.metrics import annotation_metrics
from msmm.scoring.predictions import choose_labels
from msmm.scoring.ranking_metrics import average_precision
from msmm.training import frozen_features, model_parts
from msmm.training.run import Run

COUNTS = (1, 2, 5)  # words that a photograph gets
# Names as people give them to folders and files, and captions that say nothing about pixels.
USUAL_NAMES = (
    "Holiday 2019", "Summer", "IMG_1234", "DSC00012", "New York", "London", "Family", "Birthday party",
    "Wedding Anna", "Christmas", "Weekend trip", "From Mum's phone", "Camera Roll", "WhatsApp Images",
    "Screenshots", "Old photos", "Best of 2020", "Best", "Italy", "Barcelona", "Paris", "Grandma", "School",
    "Work", "Garden", "House", "Backup", "Unsorted", "Misc", "To print", "Party", "Day 3", "Friends", "Home",
    "San Francisco", "Black Forest", "Hyde Park", "Long Beach", "iPhone 12", "Canon EOS 600D",
)  # fmt: skip
COLUMNS = ("precision of objects", "recall of objects", "precision of nouns", "recall of nouns",
           "labels per photograph", "AP of objects", "AP of nouns", "H-F1")  # fmt: skip


def choose_words(run: Run, seed: int = 0) -> dict[str, np.ndarray]:
    """Returns what the held-out photographs get as words, bool [n, T], by the name of the choice.

    "k of its caption" are drawn from the words of the photograph's own caption (all where it has fewer). "k
    of another caption" are drawn from another photograph's. "a usual name" is one of USUAL_NAMES, in turn.
    """
    own = run.split("train").tags[run.held_out_rows]
    # A caption of another photograph: the next one's in the order of the rows, which is arbitrary.
    other = np.roll(own, 1, axis=0)
    choices = {"none": np.zeros_like(own)}
    choices |= {f"{k} of its caption": _draw(own, k, seed) for k in COUNTS}
    choices["all of its caption"] = own
    choices |= {f"{k} of another caption": _draw(other, k, seed) for k in COUNTS}
    choices["2 of its caption, 1 of another"] = _draw(own, 2, seed) | _draw(other, 1, seed)
    vectors = list(usual_vectors(run.dataset.tags).values())
    choices["a usual name"] = np.array([vectors[i % len(vectors)] for i in range(len(own))])
    return choices


def usual_vectors(tags: Sequence[str]) -> dict[str, np.ndarray]:
    """Returns the tags of each of USUAL_NAMES as `annotate` would read it from a folder, bool [T]."""
    known, ids = Tags(tags), {tag: i for i, tag in enumerate(tags)}
    vectors = {}
    for name in USUAL_NAMES:
        words = known.split(context.folder_words(name))[0]
        vectors[name] = np.zeros(len(tags), bool)
        vectors[name][[ids[word] for word in words]] = True
    return vectors


def _draw(tags: np.ndarray, number: int, seed: int) -> np.ndarray:
    """Returns up to `number` of the tags of each row, bool [n, T]."""
    draw, drawn = random.Random(seed), np.zeros_like(tags)
    for row, words in zip(drawn, tags, strict=True):
        present = np.flatnonzero(words).tolist()
        row[draw.sample(present, min(number, len(present)))] = True
    return drawn


class HeldOutModel:
    """The parts of the starter model behind the visual features, which are computed once.

    Args:
        run: its run, with every stage finished.
        fitted: the counting rules of photographs with words (True) and without (False).
    """

    def __init__(self, run: Run, fitted: Mapping[bool, FittedCountingRules]):
        self._fitted, self._rows = fitted, run.held_out_rows
        self._visual = np.asarray(frozen_features.visual_features(run, "train")[self._rows])
        parts = ("textual", "classifier", "visual_head")
        self._parts: dict[str, keras.Model] = {part: model_parts.load_part(run, part) for part in parts}

    def annotate(self, words: np.ndarray, least: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Returns the probabilities, float32 [n, C], and the chosen labels, bool [n, C].

        Args:
            words: bool [n, T].
            least: number of words from which they are read at all.
        """
        tagged = words.sum(axis=1) >= least
        alone = self._predict("visual_head", self._visual)
        textual = self._predict("textual", words.astype(np.float32))
        both = self._predict("classifier", np.concatenate([self._visual, textual], axis=1))
        probabilities = sigmoid(np.where(tagged[:, None], both, alone))
        chosen = np.zeros(probabilities.shape, bool)
        for has_words, fitted in self._fitted.items():
            rows = tagged == has_words
            if rows.any():
                raw = np.ones(int(rows.sum()), np.float32)  # which the default rule does not read
                chosen[rows] = choose_labels(fitted.apply(probabilities[rows], raw))
        return probabilities, chosen

    def _predict(self, part: str, inputs: np.ndarray) -> np.ndarray:
        batches = (inputs[rows] for rows in batches_of(np.arange(len(inputs)), 256))
        return np.concatenate([np.asarray(self._parts[part].predict_on_batch(batch)) for batch in batches])


def measure(
    probabilities: np.ndarray, chosen: np.ndarray, truth: np.ndarray, is_object: np.ndarray
) -> list[float]:
    """Returns the figures of COLUMNS; truth: bool [n, C], is_object: bool [C]."""
    figures = counting.measure_choice(chosen, truth, is_object)
    ap = average_precision(truth, probabilities)
    figures |= {"AP of objects": np.nanmean(ap[is_object]), "AP of nouns": np.nanmean(ap[~is_object])}
    figures["H-F1"] = annotation_metrics(truth, chosen)["H-F1"]
    return [float(figures[name]) for name in COLUMNS]
