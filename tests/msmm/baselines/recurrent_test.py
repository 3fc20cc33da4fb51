"""CNN-RNN, RIA and SR-CNN-RNN: parameter counts, equations, and training on six images."""

import functools

import h5py
import keras
import numpy as np
import pytest
from keras import ops

from msmm.baselines import label_decoder, sequences
from msmm.baselines.baseline import Examples, predict_arrays
from msmm.baselines.cnn_rnn import CnnRnn
from msmm.baselines.ria import Ria
from msmm.baselines.sr_cnn_rnn import SrCnnRnn, find_true_tags, roc_area
from msmm.configs import replace_flat
from msmm.configs.base import Config
from msmm.scoring.predictions import choose_labels

BASELINES = {"cnn_rnn": CnnRnn, "ria": Ria, "sr_cnn_rnn": SrCnnRnn}
EPOCHS, RATE = 150, 0.005
LABELS = np.array(
    [[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [0, 0, 1, 0, 1], [1, 1, 1, 0, 0], [0, 0, 0, 1, 0], [1, 0, 1, 1, 1]],
    bool,
)


def uncached(kind, key, num_rows, batches, dtype):
    return [np.concatenate(pieces) for pieces in zip(*batches(), strict=True)]


def create(name, labels=LABELS, feature_size=8, tags=0, **settings):
    """Returns a baseline on random features; the test split is the training split."""
    rng = np.random.default_rng(0)
    features = rng.random((len(labels), feature_size), np.float32)
    examples = Examples(features, rng.random((len(labels), tags)) < 0.5, labels)
    config = replace_flat(Config(), {"sr_cnn_rnn_tags": tags > 0, **settings})
    return BASELINES[name](
        config, {"train": examples, "test": examples}, feature_size, uncached, np.arange(len(labels))
    )


@functools.cache
def train_network(name, order="rare_first", tags=0):
    """Returns the network of a baseline, trained on all images at once."""
    method = create(name, tags=tags, **{f"{name}_order": order} if name != "sr_cnn_rnn" else {})
    keras.utils.set_random_seed(0)
    network = method.build()
    network.compile(method.optimizer(RATE, EPOCHS), loss=method.loss, jit_compile=False)
    rng, rows = np.random.default_rng(0), np.arange(len(LABELS))
    for epoch in range(EPOCHS):
        network.train_on_batch(method.inputs(rows, epoch, rng), method.targets(rows, rng))
    return network


@pytest.mark.parametrize("beam", [1, 5])
@pytest.mark.parametrize(
    ("name", "order"), [("cnn_rnn", "frequent_first"), ("ria", "rare_first"), ("sr_cnn_rnn", "rare_first")]
)
def test_a_recurrent_baseline_memorises_six_images(small_networks, name, order, beam):
    settings = {"cnn_rnn_free_length": True, f"{name}_beam": beam}
    tags = 4 if name == "sr_cnn_rnn" else 0
    method, network = create(name, tags=tags, **settings), train_network(name, order, tags)
    predictions = method.predict(network, "test", np.arange(6))
    np.testing.assert_array_equal(choose_labels(predictions), LABELS)
    np.testing.assert_array_equal(predictions.counts, LABELS.sum(axis=1))
    in_order = sequences.order_classes(LABELS, order)
    for scores, labels in zip(predictions.scores, LABELS, strict=True):
        assert np.argsort(-scores)[: labels.sum()].tolist() == in_order[labels[in_order]].tolist()
    backwards = method.predict(network, "test", np.arange(6)[::-1])
    # The order of summation depends on the position in the batch.
    np.testing.assert_allclose(backwards.scores[::-1], predictions.scores, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(backwards.counts[::-1], predictions.counts)


def test_cnn_rnn_predicts_exactly_three_different_labels(small_networks):
    predictions = create("cnn_rnn", k=3).predict(
        train_network("cnn_rnn", "frequent_first"), "test", np.arange(6)
    )
    assert predictions.counts is None
    best = -np.sort(-predictions.scores, axis=1)
    assert best[:, :3].tolist() == [[5, 4, 3]] * 6
    assert (best[:, 3:] <= 0).all()
    np.testing.assert_array_equal(choose_labels(predictions, k=3)[3], LABELS[3])


@pytest.mark.parametrize(
    ("name", "count"),
    [("ria", 11_709_522), ("cnn_rnn", 1_350_912), ("sr_cnn_rnn", 1_722_194 + 2048 * 81 + 81)],
)
def test_parameter_counts_for_nus_wide(name, count):
    labels = np.eye(81, dtype=bool)
    assert create(name, labels, 2048).build().count_params() == count


def weights(network):
    return {w.path.removeprefix("decoder/"): np.array(w) for w in network.weights}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm(x, h, c, w, activation=np.tanh):
    """Computes one step with concatenated gates i, f, g, o."""
    i, f, g, o = np.split(x @ w["lstm/kernel"] + h @ w["lstm/recurrent_kernel"] + w["lstm/bias"], 4, axis=-1)
    c = sigmoid(f) * c + sigmoid(i) * activation(g)
    return sigmoid(o) * activation(c), c


def dense(x, w, name):
    return x @ w[f"{name}/kernel"] + w.get(f"{name}/bias", 0)


@pytest.mark.parametrize("few_classes", [0, 500])  # 5 classes: the gates of each token, or a table of all ids
@pytest.mark.parametrize("name", BASELINES)
def test_logits_equal_the_equations_in_numpy(small_networks, monkeypatch, name, few_classes):
    monkeypatch.setattr(label_decoder, "FEW_CLASSES", few_classes)
    method = create(name, tags=4)
    keras.utils.set_random_seed(0)
    network = method.build()
    for weight in network.weights:  # biases too
        weight.assign(weight + 0.05 * np.random.default_rng(len(weight.shape)).normal(size=weight.shape))
    f, tokens = method.decoder_features("test", np.arange(6)), method.sequences(np.arange(6))[0]
    w = weights(network)
    if name == "cnn_rnn":
        h = c = np.zeros((6, 64))
    elif name == "ria":
        h, c = dense(f, w, "image"), np.zeros((6, 64))
    else:
        s = np.concatenate([sigmoid(dense(f[:, :8], w, "concepts")), f[:, 8:]], axis=1)
        h, c = np.tanh(dense(s, w, "hidden")), np.tanh(dense(s, w, "memory"))
    logits = []
    for step in range(tokens.shape[1]):
        x = w["embedding/embeddings"][tokens[:, step]]
        if name == "cnn_rnn":
            h, c = lstm(x, h, c, w, activation=lambda v: np.maximum(v, 0))
            fused = np.maximum(dense(h, w, "output") + dense(f, w, "image"), 0)
            logits.append(fused @ w["embedding/embeddings"][:6].T)
        elif name == "ria":
            h, c = lstm(x, h, c, w)
            logits.append(dense(np.maximum(dense(h, w, "hidden"), 0), w, "logits"))
        else:
            h, c = lstm(x, h, c, w)
            logits.append(dense(h, w, "logits"))
    outputs = predict_arrays(network, method.inputs(np.arange(6), None, np.random.default_rng(0)))
    if name == "sr_cnn_rnn":
        np.testing.assert_allclose(outputs[:, :5], dense(f[:, :8], w, "concepts"), atol=1e-4)
        outputs = outputs[:, 5:].reshape(6, -1, 6)
    has_token = tokens != method.num_classes
    assert 0 < has_token.sum() < has_token.size
    expected = np.where(has_token[:, :, None], np.stack(logits, axis=1), 0)  # after END no loss, so no work
    np.testing.assert_allclose(outputs, expected, atol=1e-4)


def test_concepts_are_true_labels_for_two_epochs_and_always_trained(small_networks):
    method = create("sr_cnn_rnn", tags=3)
    keras.utils.set_random_seed(0)
    network, rng, rows = method.build(), np.random.default_rng(0), np.arange(6)
    concepts = [w for w in network.trainable_weights if "concepts" in w.path]

    def predict(epoch):
        return predict_arrays(network, method.inputs(rows, epoch, rng))

    with_true_labels, held_out = [predict(0), predict(1)], predict(None)
    np.testing.assert_array_equal(with_true_labels[0], with_true_labels[1])
    np.testing.assert_array_equal(predict(2), held_out)
    assert np.abs(with_true_labels[0][:, 5:] - held_out[:, 5:]).max() > 1e-4
    for weight in concepts:
        weight.assign(weight + 1)
    moved = predict(0), predict(2)
    np.testing.assert_array_equal(moved[0][:, 5:], with_true_labels[0][:, 5:])  # the LSTM saw the labels
    assert np.abs(moved[1][:, 5:] - held_out[:, 5:]).max() > 1e-4
    targets = method.targets(rows, rng)
    unary = method.loss(targets, moved[0]) - method.loss(targets, with_true_labels[0])
    assert np.abs(ops.convert_to_numpy(unary)).min() > 1e-3


def test_roc_area_equals_the_share_of_ordered_pairs():
    rng = np.random.default_rng(1)
    scores, positive = rng.integers(0, 5, 40).astype(float), rng.random(40) < 0.4
    pairs = [(p > n) + (p == n) / 2 for p in scores[positive] for n in scores[~positive]]
    assert roc_area(scores, positive) == pytest.approx(np.mean(pairs))
    assert roc_area(scores, np.ones(40, bool)) == roc_area(scores, np.zeros(40, bool)) == 0


def test_true_tags_are_frequent_and_predictable_from_features(monkeypatch):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(1000, 12)).astype(np.float32)
    seen = features[:, 0] + 0.3 * rng.normal(size=1000) > 1
    features[:9, 1] = features[9:20, 2] = 20
    nine, eleven = features[:, 1] == 20, features[:, 2] == 20  # 1 % of the images are ten
    tags = np.stack([seen, rng.random(1000) < 0.3, nine, eleven, np.zeros(1000, bool)], 1)
    assert find_true_tags(features, tags).tolist() == [True, False, False, True, False]
    monkeypatch.setattr("msmm.baselines.sr_cnn_rnn._TAGS", 1)
    assert find_true_tags(features, tags).tolist() == [True, False, False, True, False]
    # Without features, as on a data set of tags alone, frequency decides alone.
    assert find_true_tags(np.zeros_like(features), tags).tolist() == [True, True, False, True, False]


def test_sr_cnn_rnn_uses_only_true_tags():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(1000, 12)).astype(np.float32)
    tags = np.stack([rng.random(1000) < 0.3, features[:, 0] > 0.5], 1)
    examples = Examples(features, tags, rng.random((1000, 5)) < 0.4)
    method = SrCnnRnn(Config(), {"train": examples, "test": examples}, 12, uncached, np.arange(1000))
    np.testing.assert_array_equal(
        method.decoder_features("test", np.arange(3)), np.c_[features[:3], tags[:3, 1]]
    )
    assert method.multi_modal and not create("sr_cnn_rnn").multi_modal


def test_weights_are_stored_as_in_version_0_1_0(small_networks, tmp_path):
    """A Keras file names a weight by the attributes that lead to it."""
    network = create("ria").build()
    network.save_weights(tmp_path / "ria.weights.h5")
    with h5py.File(tmp_path / "ria.weights.h5") as file:
        found = {}
        file.visititems(
            lambda name, item: found.update({name: item.shape}) if isinstance(item, h5py.Dataset) else None
        )
    decoder = next(name.split("/embedding/")[0] for name in found if "/embedding/" in name)
    cell = {name: shape for name, shape in found.items() if name.startswith(f"{decoder}/cell/")}
    assert cell == {
        f"{decoder}/cell/vars/0": (64, 256),
        f"{decoder}/cell/vars/1": (64, 256),
        f"{decoder}/cell/vars/2": (256,),
    }
    parts = {name.removeprefix(f"{decoder}/").split("/")[0] for name in found if name.startswith(decoder)}
    assert parts >= {"image", "embedding", "cell", "hidden", "logits"}
