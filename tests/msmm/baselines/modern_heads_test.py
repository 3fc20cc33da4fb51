"""The modern heads: parameters, forward passes against NumPy, settings, and the registry."""

import keras
import numpy as np
import pytest

from msmm.baselines.csra import TEMPERATURES, Csra
from msmm.baselines.loading import load_baseline, load_baselines, load_heads
from msmm.baselines.ml_decoder import MlDecoder
from msmm.baselines.query2label import Query2Label, sine_codes
from msmm.configs import replace_flat
from msmm.configs.base import Config

HEADS = {"csra": Csra, "ml_decoder": MlDecoder, "query2label": Query2Label}
PLACES = 2 * 3


def make(kind, classes=5, shape=(2, 3, 16), tags=False, f_t=7, **settings):
    """Returns a head on random labels; it reads nothing else of the splits."""
    from msmm.baselines.baseline import Examples

    labels = np.zeros((4, classes), bool)
    splits = {"train": Examples(None, np.zeros((4, 3), bool), labels)}
    kind = kind.with_tags() if tags else kind
    return kind(replace_flat(Config(), settings), splits, 0, None, np.arange(4), [shape], f_t)


def weights_of(network, layer):
    return [w.astype(np.float64) for w in network.get_layer(layer).get_weights()]


def randomise(network):
    """Gives every weight, biases and gains of normalisations too, a random value."""
    rng = np.random.default_rng(1)
    network.set_weights([rng.normal(0.1, 0.4, w.shape) for w in network.get_weights()])


def softmax(x, axis=-1):
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


class Layers:
    """The layers of the decoders, computed by NumPy from a network's weights."""

    def __init__(self, network):
        self.network = network

    def dense(self, x, name):
        kernel, bias = weights_of(self.network, name)
        return x @ kernel + bias

    def norm(self, x, name):
        gamma, beta = weights_of(self.network, name)
        centred = x - x.mean(axis=-1, keepdims=True)
        return centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5) * gamma + beta

    def attention(self, query, key, value, name):
        w_q, b_q, w_k, b_k, w_v, b_v, w_o, b_o = weights_of(self.network, name)
        total = b_o
        for head in range(w_q.shape[1]):
            q, k, v = (
                x @ w[:, head] + b[head]
                for x, w, b in ((query, w_q, b_q), (key, w_k, b_k), (value, w_v, b_v))
            )
            shares = softmax(q @ k.transpose(0, 2, 1) / np.sqrt(q.shape[-1]))
            total = total + shares @ v @ w_o[head]
        return total

    def feed_forward(self, x, name):
        inner = np.maximum(self.dense(x, f"{name}_hidden"), 0)
        return self.norm(x + self.dense(inner, f"{name}_output"), f"{name}_norm")


@pytest.mark.parametrize("heads", TEMPERATURES)
def test_csra_equals_its_formula(heads):
    network = make(Csra, csra_heads=heads, csra_weight=0.3).build()
    x = np.random.default_rng(0).normal(size=(4, 2, 3, 16)).astype(np.float32)
    (kernel,) = weights_of(network, "logits")
    assert network.count_params() == heads * 16 * 5
    logits = np.zeros((4, 5))
    for image, c, h in np.ndindex(4, 5, heads):
        w = kernel[h, :, c]
        scores = np.array([place @ w / np.sqrt(w @ w) for place in x[image].reshape(PLACES, 16)])
        t = {1: [1], 2: [1, 99], 4: [1, 2, 4, 99], 6: [1, 2, 3, 4, 5, 99], 8: [*range(1, 8), 99]}[heads][h]
        attention = scores.max() if t == 99 else softmax(t * scores) @ scores
        logits[image, c] += scores.mean() + 0.3 * attention
    np.testing.assert_allclose(network.predict_on_batch(x), logits, atol=1e-4)


@pytest.mark.parametrize("classes", [5, 7])
def test_ml_decoder_equals_its_formula(classes):
    # 7 classes of 5 queries: two per query, the last three cut off
    network = make(MlDecoder, classes, ml_decoder_queries=5).build()
    randomise(network)
    x = np.random.default_rng(0).normal(size=(4, 2, 3, 16)).astype(np.float32)
    layers = Layers(network)
    memory = np.maximum(layers.dense(x.reshape(4, PLACES, 16).astype(float), "memory"), 0)
    (queries,) = weights_of(network, "queries")
    q = layers.norm(np.repeat(2 * queries[None], 4, axis=0), "queries_norm")
    q = layers.norm(q + layers.attention(q, memory, memory, "attention"), "attention_norm")
    q = layers.feed_forward(q, "feed_forward")
    kernel, bias = weights_of(network, "logits")
    expected = np.concatenate([q[:, g] @ kernel[g] for g in range(5)], axis=1)[:, :classes] + bias
    np.testing.assert_allclose(network.predict_on_batch(x), expected, rtol=2e-3, atol=2e-2)


def test_query2label_equals_its_formula():
    network = make(Query2Label, query2label_width=8, query2label_hidden=12).build()
    randomise(network)
    x = np.random.default_rng(0).normal(size=(4, 2, 3, 16)).astype(np.float32)
    layers, codes = Layers(network), sine_codes(2, 3, 8)
    p = layers.dense(x.reshape(4, PLACES, 16).astype(float), "projection")
    p = layers.norm(p + layers.attention(p + codes, p + codes, p, "encoder0"), "encoder0_norm")
    p = layers.feed_forward(p, "encoder0_feed_forward")
    q = np.repeat(weights_of(network, "queries")[0][None], 4, axis=0)
    for i in range(2):
        q = layers.norm(q + layers.attention(q, q, q, f"decoder{i}_self"), f"decoder{i}_self_norm")
        q = layers.norm(q + layers.attention(q, p + codes, p, f"decoder{i}"), f"decoder{i}_norm")
        q = layers.feed_forward(q, f"decoder{i}_feed_forward")
    kernel, bias = weights_of(network, "logits")
    expected = np.stack([q[:, c] @ kernel[c, :, 0] for c in range(5)], axis=1) + bias
    np.testing.assert_allclose(network.predict_on_batch(x), expected, rtol=1e-3, atol=1e-3)


def test_attention_among_many_classes_has_smaller_batches():
    sizes = {classes: make(Query2Label, classes).batch_size for classes in (5, 724, 1500, 20_000)}
    assert sizes == {5: 64, 724: 64, 1500: 14, 20_000: 1}


def test_sine_codes_are_of_row_and_column():
    codes = sine_codes(2, 3, 8).reshape(2, 3, 8)
    np.testing.assert_array_equal(codes[0, 0, :4], codes[0, 2, :4])  # of a row
    np.testing.assert_array_equal(codes[0, 1, 4:], codes[1, 1, 4:])  # of a column
    angle = 2 * np.pi * 2 / 3  # column 1 of 3
    expected = [np.sin(angle), np.cos(angle), np.sin(angle / 100), np.cos(angle / 100)]
    np.testing.assert_allclose(codes[1, 1, 4:], expected, atol=1e-6)


PARAMETERS = {
    "csra": 2048 * 81,
    "ml_decoder": (2048 + 1) * 768 + 4 * (768 + 1) * 768 + (768 + 1) * 2048 + (2048 + 1) * 768
    + 3 * 2 * 768 + 81 * 768 + 81,
    "query2label": (2048 + 1) * 256
    + (4 * (256 + 1) * 256 + (256 + 1) * 1024 + (1024 + 1) * 256 + 2 * 2 * 256)
    + 2 * (2 * 4 * (256 + 1) * 256 + (256 + 1) * 1024 + (1024 + 1) * 256 + 3 * 2 * 256)
    + 81 * 256 + 81 * 256 + 81,
}  # fmt: skip


@pytest.mark.parametrize("name", HEADS)
def test_parameters_at_full_size_are_those_of_the_docstring(name):
    import inspect

    network = make(HEADS[name], 81, (7, 7, 2048)).build()
    trained = sum(int(np.prod(v.shape)) for v in network.trainable_variables)
    assert trained == PARAMETERS[name]
    assert f"{trained:,}" in inspect.getdoc(inspect.getmodule(HEADS[name]))
    untrained = 81 * 768 if name == "ml_decoder" else 0
    assert network.count_params() == trained + untrained


@pytest.mark.parametrize("name", HEADS)
def test_with_tags_the_logits_of_tags_are_added(name):
    plain, tagged = make(HEADS[name]).build(), make(HEADS[name], tags=True).build()
    rng = np.random.default_rng(0)
    x, f_t = rng.normal(size=(4, 2, 3, 16)).astype(np.float32), rng.random((4, 7)).astype(np.float32)
    kernel, bias = weights_of(tagged, "tag_logits")
    tagged.get_layer("tag_logits").set_weights([kernel, bias + 0.5])
    for layer in plain.layers:
        tagged.get_layer(layer.name).set_weights(layer.get_weights()) if layer.weights else None
    difference = tagged.predict_on_batch([x, f_t]) - plain.predict_on_batch(x)
    np.testing.assert_allclose(difference, f_t @ kernel + bias + 0.5, rtol=1e-3, atol=1e-3)


def test_modern_heads_are_in_no_table_of_the_paper():
    heads = load_heads()
    assert list(heads) == [name + tags for name in HEADS for tags in ("", "+tags")]
    assert not heads.keys() & load_baselines().keys()
    assert [kind.title for kind in heads.values()][:2] == ["CSRA", "CSRA+Tags"]
    assert load_baseline("csra+tags").multi_modal and not load_baseline("csra").multi_modal
    assert len(load_baselines()) == 8


@pytest.mark.parametrize(
    ("settings", "kind", "ema"),
    [
        ({}, keras.optimizers.AdamW, 0.99),
        ({"csra_ema": 0.0}, keras.optimizers.AdamW, None),
        ({"csra_optimizer": "adam", "csra_ema": 0.9}, keras.optimizers.Adam, 0.9),
    ],
)
def test_optimizer_and_loss_are_settings(settings, kind, ema):
    optimizer = make(Csra, **settings).optimizer(0.01, 100)
    assert type(optimizer) is kind and optimizer.use_ema == (ema is not None)
    assert ema is None or optimizer.ema_momentum == ema
    rates = [float(optimizer._learning_rate(step)) for step in (0, 50, 100)]
    assert rates == pytest.approx([0.01, 0.005, 0] if kind is keras.optimizers.AdamW else [0.01, 0.01, 0.001])
    y, z = np.eye(5, dtype=np.float32)[:2], np.linspace(-3, 3, 10, dtype=np.float32).reshape(2, 5)
    p = 1 / (1 + np.exp(-z.astype(float)))
    expected = -(y * np.log(p) + (1 - y) * np.log(1 - p)).sum(axis=1)
    np.testing.assert_allclose(make(Csra, **settings).loss(y, z), expected, rtol=1e-5)
    m = np.maximum(p - 0.05, 0)
    focused = -(y * np.log(p) + (1 - y) * m**4 * np.log(1 - m)).sum(axis=1)
    np.testing.assert_allclose(make(Csra, csra_loss="asymmetric").loss(y, z), focused, rtol=1e-4)
