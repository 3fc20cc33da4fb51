"""The common part of the recurrent methods: labels as a sequence, teacher forcing, beam search.

A network emits one label after another, then END. Ids 0 … C-1 are the classes, END = C and
START = C + 1. The labels l_1 … l_n of an image are put into one order for all images. The inputs START, l_1 …
l_n have the targets l_1 … l_n, END. The loss is the mean of the n + 1 cross-entropies. Labels are a set, so
the search emits no class twice, and at least one class, as every image has a label.
"""

import functools
from collections.abc import Callable, Sequence

import keras
import numpy as np
from keras import ops

from msmm.baselines.baseline import Baseline
from msmm.baselines.label_decoder import LabelDecoder
from msmm.scoring.predictions import Predictions

CLIP = 5.0  # global norm of a gradient
_IMAGES = 256  # searched at a time


def order_classes(labels: np.ndarray, order: str) -> np.ndarray:
    """Returns class ids in the order in which they are emitted, int64 [C].

    Args:
        labels: of the training images, bool [N, C].
        order: "rare_first" or "frequent_first"; classes of equal frequency are ordered by id.
    """
    frequency = labels.sum(axis=0)
    return np.argsort({"rare_first": frequency, "frequent_first": -frequency}[order], kind="stable")


def make_sequences(labels: np.ndarray, order: np.ndarray, longest: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns input and target ids for teacher forcing, int32 [B, longest + 1] each.

    After END a target is -1, which has no loss. Only the first longest + 1 targets of an image are kept: a
    held-out image may have more labels than any that trains.

    Args:
        labels: bool [B, C].
        order: see `order_classes`.
        longest: the largest number of labels of an image that trains.
    """
    classes, sizes = labels.shape[1], labels.sum(axis=1)
    ordered = labels[:, order]
    images, places = np.nonzero(ordered)
    targets = np.full((len(labels), max(longest, sizes.max(initial=0)) + 1), -1, np.int32)
    targets[images, ordered.cumsum(axis=1)[images, places] - 1] = order[places]
    targets[np.arange(len(labels)), sizes] = classes
    targets = targets[:, : longest + 1]
    start = np.full((len(labels), 1), classes + 1, np.int32)
    inputs = np.concatenate([start, targets[:, :-1]], axis=1)
    return np.where(inputs < 0, classes, inputs), targets


def cross_entropy(targets, logits):
    """Returns the mean over an image's steps, [B] (nats): targets [B, S] (-1: none), logits [B, S, C + 1]."""
    targets = ops.cast(targets, "int32")
    counted = ops.cast(targets >= 0, logits.dtype)
    steps = ops.sparse_categorical_crossentropy(ops.maximum(targets, 0), logits, from_logits=True)
    return ops.sum(steps * counted, axis=-1) / ops.sum(counted, axis=-1)


class Recurrent(Baseline):
    """A baseline that emits one label after another. A subclass defines `build_decoder`.

    Args:
        config, given: see `Baseline`.
        order: of labels, see `order_classes`.
        beam: paths that the search keeps.
        exact: labels that every image gets; None: as many as the network emits.
    """

    predicts_quantity = True

    def __init__(self, config, *given, order: str, beam: int, exact: int | None = None):
        super().__init__(config, *given)
        labels = self.train_labels
        self.order, self.longest = order_classes(labels, order), int(labels.sum(axis=1).max())
        self.beam, self.exact, self.predicts_quantity = beam, exact, exact is None

    def build_decoder(self) -> LabelDecoder:
        """Builds the recurrent network with fresh weights."""
        raise NotImplementedError

    def build(self):
        features = keras.Input((self.feature_size,), name="feature")
        tokens = keras.Input((self.longest + 1,), dtype="int32", name="tokens")
        return keras.Model([features, tokens], self.build_decoder()(features, tokens))

    def decoder_features(self, split: str, rows: np.ndarray) -> np.ndarray:
        """Returns the features that the decoder starts from, [B, …]."""
        return self.features(split)[rows]

    def sequences(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns input and target ids of training rows."""
        return make_sequences(self.splits["train"].labels[rows], self.order, self.longest)

    def inputs(self, rows, epoch, rng):
        return [self.decoder_features("train", rows), self.sequences(rows)[0]]

    def targets(self, rows, rng):
        return self.sequences(rows)[1]

    def loss(self, targets, outputs):
        return cross_entropy(targets, outputs)

    def predict(self, network, split, rows):
        """Returns scores in the order of emission, then the scores of the other labels, see `beam_search`."""
        start, step = _compile_decoder(network.layers[-1])
        scores, counts = [], []
        for first in range(0, len(rows), _IMAGES):
            states = start.predict_on_batch([self.decoder_features(split, rows[first : first + _IMAGES])])
            batch_scores, lengths = beam_search(
                lambda tokens, states: step.predict_on_batch([tokens, *states]),
                states,
                self.num_classes,
                width=self.beam,
                exact=self.exact,
                longest=self.longest,
            )
            scores.append(batch_scores)
            counts.append(lengths)
        return Predictions(np.concatenate(scores), np.concatenate(counts) if self.predicts_quantity else None)


def beam_search(
    step: Callable,
    states: Sequence[np.ndarray],
    num_classes: int,
    width: int = 1,
    exact: int | None = None,
    longest: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Finds the likeliest label sequence of each image by beam search; width 1 is greedy.

    Every path continues with its `width` best ids. Paths that emit END are finished; of the others the
    `width` best stay. An image is finished when its best open path is no likelier than its best
    finished path: a path only loses likelihood, so waiting until it is below all finished paths, as in
    the source of CNN-RNN, would give the same result.

    Args:
        step: (ids int32 [R], states of R paths) -> [log-probabilities [R, C + 1], *states].
        states: of the images, [B, …] each.
        exact: labels of every image (at most C); END is then no part of the likelihood.
        longest: labels of an image at most, C if None; the path then ends, with its probability of END.

    Returns:
        scores: float32 [B, C]. The first emitted label has C, the next C - 1, …; a class that was not
            emitted has its log-probability at the end of the path, so that any number can be kept.
        lengths: int32 [B], labels emitted.
    """
    images, end = len(states[0]), num_classes
    most = min(exact or longest or num_classes, num_classes)
    finished = _FinishedPaths(images, num_classes)
    rows = np.arange(images)  # images with open paths
    paths, likelihood = np.zeros((images, 1, 0), np.int64), np.zeros((images, 1))
    tokens = np.full((images, 1), end + 1)
    for length in range(most + 1):
        if exact and length == most:  # the best path is known, only the other classes' scores are not
            paths, likelihood, tokens = paths[:, :1], likelihood[:, :1], tokens[:, :1]
            states = [state.reshape(len(rows), -1, *state.shape[1:])[:, 0] for state in states]
        log_p, *states = step(tokens.reshape(-1).astype(np.int32), states)
        log_p = log_p.reshape(*tokens.shape, num_classes + 1).astype(np.float64)
        np.put_along_axis(log_p, paths, -np.inf, axis=2)
        allowed = log_p.copy()
        if length < (most if exact else 1):
            allowed[:, :, end] = -np.inf
        if length == most:
            allowed[:, :, :end] = -np.inf
        total, best = _best(likelihood[:, :, None] + allowed, width)
        finished.keep(rows, paths, np.where(best == end, total, -np.inf).max(axis=2), log_p[:, :, :end])
        likelihood, kept = _best(np.where(best == end, -np.inf, total).reshape(len(rows), -1), width)
        live = np.flatnonzero(likelihood[:, 0] > finished.likelihood[rows])
        if not len(live):
            break
        rows, likelihood, kept, best, paths = (
            rows[live],
            likelihood[live],
            kept[live],
            best[live],
            paths[live],
        )
        tokens = np.take_along_axis(best.reshape(len(rows), -1), kept, axis=1)
        parents = kept // best.shape[2]
        states = [state[(live[:, None] * best.shape[1] + parents).reshape(-1)] for state in states]
        paths = np.take_along_axis(paths, parents[:, :, None], axis=1)
        paths = np.concatenate([paths, tokens[:, :, None]], axis=2)
    return finished.scores, finished.lengths


class _FinishedPaths:
    """The best finished path of every image."""

    def __init__(self, images: int, num_classes: int):
        self.likelihood = np.full(images, -np.inf)
        self.scores = np.zeros((images, num_classes), np.float32)
        self.lengths = np.zeros(images, np.int32)

    def keep(self, rows: np.ndarray, paths: np.ndarray, likelihood: np.ndarray, others: np.ndarray) -> None:
        """Keeps paths [A, W, n] of images `rows` [A] that end with `likelihood` [A, W] (-inf: open), if
        better.

        others: log-probabilities of the classes after each path, [A, W, C].
        """
        best = likelihood.argmax(axis=1)
        images = np.flatnonzero(likelihood.max(axis=1) > self.likelihood[rows])
        best, rows = best[images], rows[images]
        emitted, classes = paths[images, best], self.scores.shape[1]
        self.likelihood[rows] = likelihood[images, best]
        self.lengths[rows] = emitted.shape[1]
        self.scores[rows] = others[images, best]
        self.scores[rows[:, None], emitted] = classes - np.arange(emitted.shape[1])


def _best(values: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the `count` largest along the last axis and their places, the largest first; ties by place."""
    places = np.argsort(-values, axis=-1, kind="stable")[..., :count]
    return np.take_along_axis(values, places, axis=-1), places


@functools.lru_cache(maxsize=1)  # of the network that is being trained
def _compile_decoder(decoder: LabelDecoder) -> tuple[keras.Model, keras.Model]:
    """Returns compiled `start` and `step` on lists of arrays; a step returns [log-probabilities, *states]."""

    def step(tokens, *states):
        output, states = decoder.advance(decoder.label_gates(tokens), list(states))
        return [ops.log_softmax(decoder.score(output)), *states]

    return _Function(decoder, decoder.start), _Function(decoder, step)


class _Function(keras.Model):
    def __init__(self, decoder: LabelDecoder, function: Callable):
        super().__init__(name="search")
        self.decoder, self.function = decoder, function
        self.compile(jit_compile=False)  # or every number of paths would be compiled anew

    def call(self, inputs):
        return self.function(*inputs)
