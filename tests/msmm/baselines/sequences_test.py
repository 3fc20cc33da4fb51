"""Label orders, teacher forcing and beam search, against hand-counted cases and exhaustive search."""

import itertools

import numpy as np
import pytest

from msmm.baselines import sequences
from msmm.scoring.predictions import Predictions, choose_labels

LABELS = np.array([[1, 1, 1, 0], [1, 0, 1, 0], [1, 0, 0, 1], [0, 0, 1, 0]], bool)  # 3, 1, 3, 1 times


def test_class_orders_follow_frequency_and_break_ties_by_id():
    assert sequences.order_classes(LABELS, "rare_first").tolist() == [1, 3, 0, 2]
    assert sequences.order_classes(LABELS, "frequent_first").tolist() == [0, 2, 1, 3]


def test_teacher_forcing_inputs_and_targets_of_three_images():
    end, start = 4, 5
    inputs, targets = sequences.make_sequences(LABELS[:3], np.array([1, 3, 0, 2]), longest=3)
    assert targets.tolist() == [[1, 0, 2, end], [0, 2, end, -1], [3, 0, end, -1]]
    assert inputs[:, 0].tolist() == [start] * 3
    for given, wanted in zip(inputs, targets, strict=True):
        emitted = wanted[wanted >= 0][:-1]
        assert given[1 : 1 + len(emitted)].tolist() == emitted.tolist()
    assert inputs.max() <= start and inputs.min() >= 0


def test_cross_entropy_is_the_mean_over_the_steps_up_to_end():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(2, 4, 5)).astype(np.float32)
    targets = np.array([[1, 0, 3, 4], [2, 4, -1, -1]])
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    expected = [
        np.mean([-log_p[i, t, w] for t, w in enumerate(row) if w >= 0]) for i, row in enumerate(targets)
    ]
    np.testing.assert_allclose(sequences.cross_entropy(targets, logits), expected, rtol=1e-5)
    logits[1, 2:] = 99 * rng.normal(size=(2, 5))  # steps after END do not count
    np.testing.assert_allclose(sequences.cross_entropy(targets, logits), expected, rtol=1e-5)


class SequenceModel:
    """Random log-probabilities of the next id given all previous ids, so that the states matter."""

    def __init__(self, classes, seed, images=6, sharpness=2.0):
        self.classes, self.seed, self.images, self.sharpness = classes, seed, images, sharpness

    def next(self, image, path):
        rng = np.random.default_rng([self.seed, image, *path])
        logits = self.sharpness * rng.normal(size=self.classes + 1)
        return logits - np.log(np.exp(logits).sum())

    def step(self, tokens, states):
        """Returns log-probabilities and new states; a state is the image number and its path of ids."""
        images, paths = states
        paths = [
            [*p[p >= 0], t] if t <= self.classes else []
            for p, t in zip(paths.astype(int), tokens, strict=True)
        ]
        log_p = np.array([self.next(i, p) for i, p in zip(images, paths, strict=True)], np.float32)
        new_paths = np.full((len(paths), self.classes + 1), -1)
        for row, path in zip(new_paths, paths, strict=True):
            row[: len(path)] = path
        return [log_p, images, new_paths]

    def search(self, **options):
        states = [np.arange(self.images), np.full((self.images, self.classes + 1), -1)]
        return sequences.beam_search(self.step, states, self.classes, **options)

    def likelihood(self, image, path, with_end=True):
        emitted = [*path, self.classes] if with_end else path
        return sum(self.next(image, emitted[:i])[token] for i, token in enumerate(emitted))

    def best(self, image, lengths, with_end=True):
        paths = [p for n in lengths for p in itertools.permutations(range(self.classes), n)]
        return max(paths, key=lambda p: self.likelihood(image, list(p), with_end))

    def greedy(self, image, longest):
        path = []
        while len(path) < longest:
            log_p = self.next(image, path)
            log_p[path] = -np.inf
            if not path:
                log_p[-1] = -np.inf
            token = int(log_p.argmax())
            if token == self.classes:
                break
            path.append(token)
        return tuple(path)

    def beam(self, image, width, longest):
        """Plain beam search; stops once all active paths are less likely than the finished paths."""
        active, finished = [(0.0, ())], []
        while active and not (finished and active[0][0] < min(finished)[0]):
            grown = []
            for total, path in active:
                log_p = self.next(image, path)
                allowed = [c for c in range(self.classes + 1) if c not in path and (path or c < self.classes)]
                if len(path) == longest:
                    allowed = [self.classes]
                best = sorted(allowed, key=lambda c: -log_p[c])[:width]
                grown += [(total + log_p[c], (*path, c)) for c in best]
            finished += [(total, path[:-1]) for total, path in grown if path[-1] == self.classes]
            active = sorted((g for g in grown if g[1][-1] != self.classes), reverse=True)[:width]
        return max(finished)[1]


def decode_sequences(scores, lengths):
    return [tuple(np.argsort(-s, kind="stable")[:n].tolist()) for s, n in zip(scores, lengths, strict=True)]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("longest", [1, 2, 4])
def test_wide_beam_search_finds_the_likeliest_sequence(seed, longest):
    model = SequenceModel(4, seed)
    decoded = decode_sequences(*model.search(width=200, longest=longest))
    assert decoded == [model.best(i, range(1, longest + 1)) for i in range(model.images)]


@pytest.mark.parametrize("exact", [1, 3, 4])
def test_wide_beam_search_finds_the_likeliest_sequence_of_an_exact_length(exact):
    model = SequenceModel(4, 7)
    scores, lengths = model.search(width=200, exact=exact)
    assert lengths.tolist() == [exact] * 6
    assert decode_sequences(scores, lengths) == [model.best(i, [exact], with_end=False) for i in range(6)]


@pytest.mark.parametrize("width", [2, 3, 5])
@pytest.mark.parametrize("longest", [3, 6])
def test_narrow_beam_search_equals_a_plain_implementation(width, longest):
    model = SequenceModel(6, 5, images=40, sharpness=1.0)
    decoded = decode_sequences(*model.search(width=width, longest=longest))
    assert decoded == [model.beam(i, width, longest) for i in range(40)]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("longest", [2, 6])
def test_beam_search_of_width_1_is_greedy(seed, longest):
    model = SequenceModel(6, seed)
    assert decode_sequences(*model.search(longest=longest)) == [model.greedy(i, longest) for i in range(6)]


def test_wider_beams_find_likelier_sequences():
    model = SequenceModel(6, 3, images=60, sharpness=1.0)
    means = []
    for width in (1, 2, 5, 2000):
        decoded = decode_sequences(*model.search(width=width))
        means.append(np.mean([model.likelihood(i, list(p)) for i, p in enumerate(decoded)]))
    assert means == sorted(means)
    assert means[0] < means[1] < means[3]


@pytest.mark.parametrize("width", [1, 3])
def test_sequences_have_distinct_classes_and_bounded_length(width):
    for seed in range(4):
        scores, lengths = SequenceModel(5, seed, images=20).search(width=width, longest=3)
        assert lengths.min() >= 1 and lengths.max() <= 3
        assert all(len(set(path)) == len(path) for path in decode_sequences(scores, lengths))


def test_end_token_is_forbidden_at_the_first_step_only():
    def step(tokens, states):
        return [np.log(np.tile([0.01, 0.04, 0.95], (len(tokens), 1))), *states]

    scores, lengths = sequences.beam_search(step, [np.zeros((2, 1))], 2, width=2)
    assert decode_sequences(scores, lengths) == [(1,), (1,)]


def test_beam_search_stops_once_the_best_path_is_known():
    batch_sizes = []

    def step(tokens, states):
        """Image 0 emits one label and then END with high probability, image 1 three labels."""
        batch_sizes.append(len(tokens))
        probabilities = np.where(
            states[0] == 0, [[0.05, 0.02, 0.01, 0.01, 0.91]], [[0.4, 0.3, 0.2, 0.09, 0.01]]
        )
        return [np.log(probabilities), *states]

    lengths = sequences.beam_search(step, [np.array([[0], [1]])], 4, width=2, longest=3)[1]
    assert lengths.tolist() == [1, 3]
    assert batch_sizes == [2, 4, 2, 2]


def test_beam_search_of_an_image_does_not_depend_on_the_batch():
    model = SequenceModel(5, 11, images=8)
    together = model.search(width=3)
    for image in range(8):
        states = [np.array([image]), np.full((1, 6), -1)]
        alone = sequences.beam_search(model.step, states, 5, width=3)
        np.testing.assert_allclose(alone[0][0], together[0][image], rtol=1e-6)
        assert alone[1][0] == together[1][image]


@pytest.mark.parametrize("options", [{"exact": 2}, {"longest": 4}])
def test_scores_rank_emitted_classes_first_then_the_next_probabilities(options):
    model = SequenceModel(5, 2)
    scores, lengths = model.search(width=3, **options)
    assert scores.dtype == np.float32 and lengths.dtype == np.int32
    for image, path in enumerate(decode_sequences(scores, lengths)):
        assert scores[image, list(path)].tolist() == [5 - i for i in range(len(path))]
        rest = [c for c in range(5) if c not in path]
        np.testing.assert_allclose(scores[image, rest], model.next(image, path)[rest], rtol=1e-5)
    chosen = choose_labels(Predictions(scores, lengths))
    assert chosen.sum(axis=1).tolist() == lengths.tolist()


def test_a_held_out_image_with_more_labels_than_any_that_trains_is_cut():
    labels = np.array([[1, 1, 1, 1], [0, 1, 0, 0]], bool)
    inputs, targets = sequences.make_sequences(labels, np.array([1, 3, 0, 2]), longest=2)
    assert inputs.tolist() == [[5, 1, 3], [5, 1, 4]]
    assert targets.tolist() == [[1, 3, 0], [1, 4, -1]]
