"""What the recurrent methods share: labels as a sequence, teacher forcing, beam search.

A network says one label after another, then that it is done. Ids 0 … C-1 are the classes, END = C and
START = C + 1. An image with labels l_1 … l_n, put into one order for all images, is the target
l_1 … l_n, END after the inputs START, l_1 … l_n; the loss is the mean of its n + 1 cross-entropies.
Said labels are a set, so the search says no class twice, and at least one, as every image has a label.
"""

import functools
from collections.abc import Callable, Sequence

import keras
import numpy as np
from keras import ops

from msmm.baselines.method import Method
from msmm.scoring.predictions import Annotations

CLIP = 5.0  # global norm of a gradient
_IMAGES = 256  # searched at once


def label_order(labels: np.ndarray, rule: str) -> np.ndarray:
    """Class ids in the order in which they are said, int64 [C].

    labels: those of the training images, bool [N, C]. rule: "rare_first" or "frequent_first"; classes
    of one frequency go by id.
    """
    frequency = labels.sum(axis=0)
    return np.argsort({"rare_first": frequency, "frequent_first": -frequency}[rule], kind="stable")


def teacher(labels: np.ndarray, order: np.ndarray, longest: int) -> tuple[np.ndarray, np.ndarray]:
    """Input and target ids, int32 [B, longest + 1] each; after END a target is -1, which has no loss.

    labels: bool [B, C], at most `longest` an image. order: see `label_order`.
    """
    classes = labels.shape[1]
    ordered = labels[:, order]
    images, places = np.nonzero(ordered)
    targets = np.full((len(labels), longest + 1), -1, np.int32)
    targets[images, ordered.cumsum(axis=1)[images, places] - 1] = order[places]
    targets[np.arange(len(labels)), labels.sum(axis=1)] = classes
    start = np.full((len(labels), 1), classes + 1, np.int32)
    inputs = np.concatenate([start, targets[:, :-1]], axis=1)
    return np.where(inputs < 0, classes, inputs), targets


def cross_entropy(targets, logits):
    """Targets [B, S] (-1: none) and logits [B, S, C + 1] -> the mean over an image's steps, [B] (nats)."""
    targets = ops.cast(targets, "int32")
    counted = ops.cast(targets >= 0, logits.dtype)
    steps = ops.sparse_categorical_crossentropy(ops.maximum(targets, 0), logits, from_logits=True)
    return ops.sum(steps * counted, axis=-1) / ops.sum(counted, axis=-1)


class Speaker(keras.layers.Layer):
    """A recurrent network; a room gives the two functions of which training and search are made.

    start(read [B, …]) -> states, a list of [B, …]: what is known before the first step.
    step(tokens [B], states) -> (logits [B, C + 1] over classes and END, states).
    """

    def call(self, read, tokens):
        """What the method reads [B, …], input tokens [B, S] -> logits [B, S, C + 1]."""
        return self.unroll(self.start(read), tokens)

    def unroll(self, states, tokens):
        """The logits after every input token, [B, S, C + 1]."""
        said = []
        for place in range(tokens.shape[1]):
            logits, states = self.step(tokens[:, place], states)
            said.append(logits)
        return ops.stack(said, axis=1)


class Recurrent(Method):
    """A method that says one label after another. A room gives `speaker`.

    Args of its own:
        rule: the order of labels, see `label_order`.
        beam: paths that the search keeps.
        exact: labels that every image gets; None: as many as the network says.
    """

    speaker: Callable[[], Speaker]
    quantity = True

    def __init__(self, config, *given, rule: str, beam: int, exact: int | None = None):
        super().__init__(config, *given)
        labels = self.splits["train"].labels
        self.order, self.longest = label_order(labels, rule), int(labels.sum(axis=1).max())
        self.beam, self.exact, self.quantity = beam, exact, exact is None

    def build(self):
        read = keras.Input((self.feature_size,), name="feature")
        tokens = keras.Input((self.longest + 1,), dtype="int32", name="tokens")
        return keras.Model([read, tokens], self.speaker()(read, tokens))

    def read(self, split: str, rows: np.ndarray) -> np.ndarray:
        """What the network starts from, [B, …]."""
        return self.splits[split].features[rows]

    def teacher(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Input and target ids of training rows."""
        return teacher(self.splits["train"].labels[rows], self.order, self.longest)

    def inputs(self, rows, epoch, rng):
        return [self.read("train", rows), self.teacher(rows)[0]]

    def targets(self, rows, rng):
        return self.teacher(rows)[1]

    def loss(self, targets, outputs):
        return cross_entropy(targets, outputs)

    def annotate(self, network, split, rows):
        """The order in which labels are said, best first; then all others, see `search`."""
        start, step = _compiled(network.layers[-1])
        scores, counts = [], []
        for first in range(0, len(rows), _IMAGES):
            states = start.predict_on_batch([self.read(split, rows[first : first + _IMAGES])])
            found = search(
                lambda tokens, states: step.predict_on_batch([tokens, *states]),
                states,
                self.num_classes,
                width=self.beam,
                exact=self.exact,
                longest=self.longest,
            )
            scores.append(found[0])
            counts.append(found[1])
        return Annotations(np.concatenate(scores), np.concatenate(counts) if self.quantity else None)


def search(
    step: Callable,
    states: Sequence[np.ndarray],
    num_classes: int,
    width: int = 1,
    exact: int | None = None,
    longest: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The likeliest label sequence of each image, by beam search; width 1 is greedy.

    Every path goes on with its `width` best ids. Those that say END are done; of the others the
    `width` best stay. An image is done when its best path under way is no likelier than its best
    finished one: a path only loses by going on, so waiting for it to be below all finished ones, as in
    the source of CNN-RNN, would find the same.

    Args:
        step: (ids int32 [R], states of R paths) -> [log-probabilities [R, C + 1], *states].
        states: of the images, [B, …] each.
        exact: labels of every image (at most C); END is then no part of the likelihood.
        longest: labels of an image at most, C if None; the path then ends, by its probability of END.

    Returns:
        scores: float32 [B, C]. The first label said has C, the next C - 1, …; a class that was not
            said has its log-probability at the end of the path, so that any number can be asked for.
        lengths: int32 [B], labels said.
    """
    images, end = len(states[0]), num_classes
    most = min(exact or longest or num_classes, num_classes)
    done = _Done(images, num_classes)
    rows = np.arange(images)  # images under way
    paths, likelihood = np.zeros((images, 1, 0), np.int64), np.zeros((images, 1))
    tokens = np.full((images, 1), end + 1)
    for said in range(most + 1):
        if exact and said == most:  # the best path is known, only the other classes' scores are not
            paths, likelihood, tokens = paths[:, :1], likelihood[:, :1], tokens[:, :1]
            states = [state.reshape(len(rows), -1, *state.shape[1:])[:, 0] for state in states]
        log_p, *states = step(tokens.reshape(-1).astype(np.int32), states)
        log_p = log_p.reshape(*tokens.shape, num_classes + 1).astype(np.float64)
        np.put_along_axis(log_p, paths, -np.inf, axis=2)
        allowed = log_p.copy()
        if said < (most if exact else 1):
            allowed[:, :, end] = -np.inf
        if said == most:
            allowed[:, :, :end] = -np.inf
        total, best = _best(likelihood[:, :, None] + allowed, width)
        done.keep(rows, paths, np.where(best == end, total, -np.inf).max(axis=2), log_p[:, :, :end])
        likelihood, going = _best(np.where(best == end, -np.inf, total).reshape(len(rows), -1), width)
        live = np.flatnonzero(likelihood[:, 0] > done.likelihood[rows])
        if not len(live):
            break
        rows, likelihood, going, best, paths = (
            rows[live],
            likelihood[live],
            going[live],
            best[live],
            paths[live],
        )
        tokens = np.take_along_axis(best.reshape(len(rows), -1), going, axis=1)
        parents = going // best.shape[2]
        states = [state[(live[:, None] * best.shape[1] + parents).reshape(-1)] for state in states]
        paths = np.take_along_axis(paths, parents[:, :, None], axis=1)
        paths = np.concatenate([paths, tokens[:, :, None]], axis=2)
    return done.scores, done.lengths


class _Done:
    """The best finished path of every image."""

    def __init__(self, images: int, num_classes: int):
        self.likelihood = np.full(images, -np.inf)
        self.scores = np.zeros((images, num_classes), np.float32)
        self.lengths = np.zeros(images, np.int32)

    def keep(self, rows: np.ndarray, paths: np.ndarray, likelihood: np.ndarray, others: np.ndarray) -> None:
        """Paths [A, W, n] of images `rows` [A] that end with `likelihood` [A, W] (-inf: go on), where better.

        others: log-probabilities of the classes after each path, [A, W, C].
        """
        best = likelihood.argmax(axis=1)
        images = np.flatnonzero(likelihood.max(axis=1) > self.likelihood[rows])
        best, rows = best[images], rows[images]
        said, classes = paths[images, best], self.scores.shape[1]
        self.likelihood[rows] = likelihood[images, best]
        self.lengths[rows] = said.shape[1]
        self.scores[rows] = others[images, best]
        self.scores[rows[:, None], said] = classes - np.arange(said.shape[1])


def _best(values: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The `count` largest along the last axis and their places, the largest first; ties by place."""
    places = np.argsort(-values, axis=-1, kind="stable")[..., :count]
    return np.take_along_axis(values, places, axis=-1), places


@functools.lru_cache(maxsize=1)  # of the network that is being trained
def _compiled(speaker: Speaker) -> tuple[keras.Model, keras.Model]:
    """`start` and `step`, compiled, of lists of arrays; a step gives [log-probabilities, *states]."""

    def step(tokens, *states):
        logits, states = speaker.step(tokens, states)
        return [ops.log_softmax(logits), *states]

    return _Function(speaker, speaker.start), _Function(speaker, step)


class _Function(keras.Model):
    def __init__(self, speaker: Speaker, function: Callable):
        super().__init__(name="search")
        self.speaker, self.function = speaker, function
        self.compile(jit_compile=False)  # or every number of paths would be compiled anew

    def call(self, inputs):
        return self.function(*inputs)
