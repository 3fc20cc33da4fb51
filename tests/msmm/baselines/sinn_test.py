import keras
import numpy as np
import pytest

from msmm.baselines.baseline import Examples, predict_arrays
from msmm.baselines.label_graph import find_relations
from msmm.baselines.sinn import Sinn, SparselyRelated
from msmm.core.errors import UserError


@pytest.fixture
def splits():
    """Labels and tags that follow 4 topics, so that there are relations of both signs."""
    rng = np.random.default_rng(0)
    topic = rng.integers(0, 4, 900)[:, None]
    labels = rng.random((900, 6)) < 0.05 + 0.8 * (np.arange(6) % 4 == topic)
    tags = rng.random((900, 30)) < 0.01 + 0.6 * (np.arange(30) % 4 == topic)
    examples = Examples(rng.normal(size=(900, 5)).astype(np.float32), tags, labels)
    return {"train": examples, "test": examples}


def perturb_weights(network):
    """Returns the network with perturbed weights, so that every term of the equations counts."""
    rng = np.random.default_rng(1)
    for variable in network.trainable_variables:
        variable.assign(variable + rng.normal(0, 0.3, variable.shape))
    return network


def compute_scores(layers, x):
    """Computes both passes of the equations over any number of layers, and joins them.

    layers: one dict per layer, of functions "h→", "h←" (of x_t), "v→", "v←" (of the neighbouring
    layer) and "u→", "u←", and biases "b→", "b←", "b". x: the activations of each layer [B, n_t].
    """
    num = len(layers)
    forward, backward = [None] * num, [None] * num
    for t in range(num):
        forward[t] = layers[t]["h→"](x[t]) + layers[t]["b→"]
        if t > 0:
            forward[t] = forward[t] + layers[t]["v→"](forward[t - 1])
    for t in reversed(range(num)):
        backward[t] = layers[t]["h←"](x[t]) + layers[t]["b←"]
        if t < num - 1:
            backward[t] = backward[t] + layers[t]["v←"](backward[t + 1])
    return layers[0]["u→"](forward[0]) + layers[0]["u←"](backward[0]) + layers[0]["b"]


def read_weights(network):
    return {
        f"{layer.name}/{v.name}": keras.ops.convert_to_numpy(v).astype(np.float64)
        for layer in network.layers
        for v in layer.weights
    }


def make_layers(weights, term):
    """Returns the layers of `compute_scores` from a network's weights; term: name -> function of V or H."""

    def linear(name):
        return lambda a: a @ weights[f"{name}/kernel"]

    labels = {
        **{"h→": term("forward_h1"), "b→": weights["forward_h1/bias"]},
        **{"h←": term("backward_h1"), "b←": weights["backward_h1/bias"], "v←": term("backward_v1")},
        **{"u→": linear("forward_u1"), "u←": linear("backward_u1"), "b": weights["backward_u1/bias"]},
    }
    unused = np.random.default_rng(2).normal(size=(6, 30))  # →V_2 does not affect the scores
    tags = {
        **{"h→": lambda x: x, "b→": 0, "v→": lambda a: a @ unused},
        **{"h←": term("backward_h2"), "b←": weights["backward_h2/bias"]},
    }
    return [labels, tags]


@pytest.mark.parametrize("dense", [False, True])
def test_scores_equal_both_passes_unrolled_in_numpy(make_method, splits, dense):
    method = make_method(Sinn, splits, sinn_dense=dense)
    network = perturb_weights(method.build())
    weights = read_weights(network)
    train = splits["train"]
    label_masks, tag_masks = (find_relations(concepts, concepts) for concepts in (train.labels, train.tags))
    masks = {
        **{"forward_h1": label_masks, "backward_h1": label_masks, "backward_h2": tag_masks},
        "backward_v1": find_relations(train.labels, train.tags),
    }

    def structured(name):
        positive, negative = (mask.T.astype(float) for mask in masks[name])
        if name != "backward_v1":
            positive += np.eye(len(positive))

        def term(a):
            plus = a @ (weights[f"{name}/positive_kernel"] * positive)
            minus = a @ (weights[f"{name}/negative_kernel"] * negative)
            return np.maximum(plus, 0) - np.maximum(minus, 0)

        return term

    def binn(name):
        return lambda a: a @ weights[f"{name}/kernel"]

    rows = np.arange(20)
    x_1 = splits["test"].features[rows] @ weights["labels/kernel"] + weights["labels/bias"]
    x_2 = np.where(splits["test"].tags[rows], 1, -1) * np.log(0.995 / 0.005)
    expected = compute_scores(make_layers(weights, binn if dense else structured), [x_1, x_2])
    predictions = method.predict(network, "test", rows)
    np.testing.assert_allclose(predictions.scores, expected, rtol=1e-4, atol=1e-3)
    assert predictions.counts is None
    assert all(mask.any() for pair in masks.values() for mask in pair)


def test_inputs_of_a_split_are_made_for_some_rows_at_a_time(make_method, splits, monkeypatch):
    """Tags are bits; as float32 those of all rows of a large set would fill the memory."""
    method = make_method(Sinn, splits)
    network = perturb_weights(method.build())
    rows = np.arange(900)[::-1]
    whole, sizes, inputs = method.predict(network, "test", rows), [], method.split_inputs
    monkeypatch.setattr("msmm.baselines.baseline._PIECE", 256)
    monkeypatch.setattr(
        method, "split_inputs", lambda split, some: sizes.append(len(some)) or inputs(split, some)
    )
    np.testing.assert_array_equal(method.predict(network, "test", rows).scores, whole.scores)
    assert sizes == [256, 256, 256, 132]


def test_dense_sinn_equals_masks_of_ones_without_relu(make_method, splits, monkeypatch):
    dense = perturb_weights(make_method(Sinn, splits, sinn_dense=True).build())
    structured = make_method(Sinn, splits).build()
    monkeypatch.setattr("msmm.baselines.sinn.ops.relu", lambda x: x)
    for layer in (layer for layer in structured.layers if layer.weights):
        if layer.name not in ("forward_h1", "backward_h1", "backward_h2", "backward_v1"):
            layer.set_weights(dense.get_layer(layer.name).get_weights())
            continue
        kernel = dense.get_layer(layer.name).kernel
        for variable in layer.weights:
            value = {"positive_kernel": kernel, "positive_mask": np.ones(kernel.shape)}.get(variable.name)
            if variable.name == "bias":
                value = dense.get_layer(layer.name).bias
            variable.assign(np.zeros(variable.shape) if value is None else value)
    inputs = [splits["test"].features, splits["test"].tags.astype(np.float32)]
    np.testing.assert_allclose(structured(inputs), predict_arrays(dense, inputs), rtol=1e-4, atol=1e-3)


def test_number_of_weights_for_nus_wide(make_method):
    """With →a_2 and a_2, which no output depends on, there would be 6,532,578."""
    sizes = {"classes": 81, "tags": 1000, "feature_size": 2048}
    network = make_method(Sinn, **sizes).build()
    count = sum(np.prod(v.shape) for v in network.trainable_variables)
    forward_v2, forward_h2, joining_2 = 2 * 81 * 1000, 2 * 1000**2 + 1000, 2 * 1000**2 + 1000
    assert count == 2_368_578
    assert count + forward_v2 + forward_h2 + joining_2 == 6_532_578
    assert 6_532_578 + 2048 * 1000 + 1000 == 8_581_578
    dense = make_method(Sinn, **sizes, sinn_dense=True).build()
    assert dense.count_params() == count - 2 * 81**2 - 1000**2 - 81 * 1000


def test_masks_are_computed_from_the_labels_and_not_trained(make_method, splits):
    method = make_method(Sinn, splits)

    def masks(network):
        return {k: v for k, v in read_weights(network).items() if k.endswith("mask")}

    network = method.build()
    before = masks(network)
    assert len(before) == 8
    network.compile(method.optimizer(0.1, 10), loss=method.loss)
    rows = np.arange(50)
    network.train_on_batch(method.inputs(rows, 0, None), method.targets(rows, None))
    for name, mask in masks(network).items():
        np.testing.assert_array_equal(mask, before[name])
        np.testing.assert_array_equal(mask, masks(method.build())[name])
    assert before["forward_h1/positive_mask"].diagonal().all()
    assert not before["forward_h1/negative_mask"].diagonal().any()


def test_initial_weights_are_near_the_identity_and_depend_only_on_the_seed(make_method, splits):
    method = make_method(Sinn, splits)
    initial = []
    for seed in (0, 0, 1):
        keras.utils.set_random_seed(seed)
        initial.append(read_weights(method.build()))
    for name, first in initial[0].items():
        np.testing.assert_array_equal(first, initial[1][name])
        if name.endswith("kernel") and "_u1" not in name:
            assert (first != initial[2][name]).any()
    np.testing.assert_array_equal(initial[0]["forward_h1/positive_kernel"].diagonal(), 1)
    np.testing.assert_array_equal(initial[0]["forward_u1/kernel"], np.eye(6) / 2)
    off = initial[0]["backward_h2/negative_kernel"][~np.eye(30, dtype=bool)]
    assert off.std() == pytest.approx(0.01, rel=0.1)


def test_sinn_loss_covers_labels_but_not_tags(make_method, splits):
    method = make_method(Sinn, splits)
    targets = method.targets(np.arange(3), None)
    np.testing.assert_array_equal(targets, splits["train"].labels[:3])
    loss = method.loss(targets, np.zeros((3, 6), np.float32))
    np.testing.assert_allclose(loss, np.full(3, 6 * np.log(2)), rtol=1e-6)


def test_sinn_optimizer_clips_gradients_and_decays_kernels(make_method):
    optimizer = make_method(Sinn).optimizer(0.01, 90)
    assert optimizer.global_clipnorm == 5
    assert (optimizer.l2, optimizer.momentum) == (5e-4, 0.9)


def test_sinn_on_a_data_set_without_tags(make_method):
    method = make_method(Sinn, tags=0)
    assert method.predict(method.build(), "test", np.arange(3)).scores.shape == (3, 5)
    with pytest.raises(UserError, match="sinn_dense"):
        make_method(Sinn, tags=0, sinn_dense=True).build()


def test_weights_of_relations_alone_give_the_same_scores(make_method, splits, monkeypatch):
    """The same weights at the relations, in layers with and without the other pairs."""
    whole = perturb_weights(make_method(Sinn, splits).build())
    monkeypatch.setattr("msmm.baselines.sinn.MOST_DENSE", 10)
    method = make_method(Sinn, splits)
    network = method.build()
    for layer in network.layers:
        if not layer.weights:
            continue
        dense = whole.get_layer(layer.name)
        if not isinstance(layer, SparselyRelated):
            layer.set_weights(dense.get_weights())
            continue
        for (kernel, targets, sources), (full, mask) in zip(layer.signs, dense.signs, strict=True):
            assert len(targets) == keras.ops.convert_to_numpy(mask).sum()
            kernel.assign(keras.ops.convert_to_numpy(full)[sources, targets])
        if layer.use_bias:
            layer.bias.assign(dense.bias)
    rows = np.arange(50)
    inputs = [splits["test"].features[rows], splits["test"].tags[rows].astype(np.float32)]
    np.testing.assert_allclose(
        predict_arrays(network, inputs), predict_arrays(whole, inputs), rtol=1e-4, atol=1e-4
    )
    counted = sum(
        len(targets)
        for layer in network.layers
        if isinstance(layer, SparselyRelated)
        for _, targets, _ in layer.signs
    )
    assert network.count_params() < whole.count_params() and counted > 0


def test_weights_of_relations_alone_start_near_the_identity_and_learn(make_method, splits, monkeypatch):
    monkeypatch.setattr("msmm.baselines.sinn.MOST_DENSE", 10)
    method = make_method(Sinn, splits)
    network = method.build()
    kernel, targets, sources = network.get_layer("backward_h2").signs[0]
    values = keras.ops.convert_to_numpy(kernel)
    assert (values[targets == sources] == 1).sum() == 30 and 0 < abs(values[targets != sources]).max() < 0.1
    network.compile(method.optimizer(0.1, 10), loss=method.loss)
    rows, rng = np.arange(200), np.random.default_rng(0)
    losses = [
        network.train_on_batch(method.inputs(rows, 0, rng), method.targets(rows, rng)) for _ in range(8)
    ]
    assert losses[-1] < losses[0]
    assert (keras.ops.convert_to_numpy(kernel) != values).mean() > 0.9
