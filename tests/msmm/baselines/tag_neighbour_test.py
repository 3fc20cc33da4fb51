import itertools

import keras
import numpy as np
import pytest

from msmm.baselines.baseline import Examples, predict_arrays
from msmm.baselines.tag_neighbour import TagNeighbour


def sigmoid(x):
    return 1 / (1 + np.exp(-x.astype(np.float64)))


def concatenate_pool(method):
    """Returns the concatenated features and tags of all images of the pool."""
    splits = [(method.splits[name], rows) for name, rows in method.pool.items()]
    return tuple(np.concatenate([getattr(s, of)[rows] for s, rows in splits]) for of in ("features", "tags"))


@pytest.mark.parametrize("own_tags", [True, False])
@pytest.mark.parametrize("pool", ["all", "train"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_scores_are_the_mean_over_all_20_choices_of_neighbours(make_method, split, pool, own_tags):
    settings = {"tag_neighbour_pool": pool, "tag_neighbour_own_tags": own_tags}
    method = make_method(TagNeighbour, **settings)
    network = method.build()
    features, _ = concatenate_pool(method)
    rows = np.array([7, 2, 5])
    examples = method.splits[split]
    own = [examples.features[rows], examples.tags[rows].astype(np.float32)][: 1 + own_tags]
    expected = []
    for choice in itertools.combinations(range(6), 3):
        chosen = method.neighbours[split][rows][:, choice]
        expected.append(sigmoid(predict_arrays(network, [*own, features[chosen]])))
    assert len(expected) == 20
    assert np.std(expected, axis=0).max() > 1e-3
    predictions = method.predict(network, split, rows)
    np.testing.assert_allclose(predictions.scores, np.mean(expected, axis=0), rtol=1e-4)
    assert predictions.counts is None


def test_network_equals_its_two_branches_in_numpy(make_method):
    method = make_method(TagNeighbour)
    network = method.build()
    rng = np.random.default_rng(5)
    f, t, z = rng.normal(size=(3, 4)), rng.random((3, 9)) < 0.5, rng.normal(size=(3, 3, 4))
    (w_x, b_x), (w_z, b_z), (w_y, b_y) = (
        network.get_layer(name).get_weights() for name in ("own", "neighbour", "logits")
    )
    v_x = np.maximum(np.concatenate([f, t], axis=1) @ w_x + b_x, 0)
    v_z = np.maximum(z @ w_z + b_z, 0).max(axis=1)
    expected = np.concatenate([v_x, v_z], axis=1) @ w_y + b_y
    logits = predict_arrays(network, [x.astype(np.float32) for x in (f, t, z)])
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
    dropped = [layer.rate for layer in network.layers if isinstance(layer, keras.layers.Dropout)]
    assert dropped == [0.5, 0.5]


def test_number_of_parameters_for_nus_wide(make_method):
    sizes = {"classes": 81, "tags": 1000, "feature_size": 2048}
    assert make_method(TagNeighbour, **sizes).build().count_params() == 2_630_081
    without = make_method(TagNeighbour, **sizes, tag_neighbour_own_tags=False).build()
    assert without.count_params() == 2_630_081 - 1000 * 500


@pytest.mark.parametrize("pool", ["all", "train"])
def test_training_draws_3_of_the_6_neighbours_at_random(make_method, pool):
    method = make_method(TagNeighbour, tag_neighbour_pool=pool)
    features, _ = concatenate_pool(method)
    rows, seen = np.array([4, 9]), {4: set(), 9: set()}
    for epoch in range(40):
        own, tags, neighbours = method.inputs(rows, epoch, np.random.default_rng(epoch))
        np.testing.assert_array_equal(own, method.splits["train"].features[rows])
        np.testing.assert_array_equal(tags, method.splits["train"].tags[rows])
        for row, vectors in zip(rows, neighbours, strict=True):
            drawn = {int(np.flatnonzero((features == v).all(axis=1))[0]) for v in vectors}
            assert len(drawn) == 3
            seen[row] |= drawn
    for row in rows:
        assert seen[row] == set(method.neighbours["train"][row])


def test_neighbours_come_from_the_pool_of_the_setting(make_method):
    """Test image 0 has the tags of test image 1 and shares one with training image 0."""
    train = np.eye(8, 9, dtype=bool)
    test = np.zeros((2, 9), bool)
    test[:, [0, 8]] = True
    rng = np.random.default_rng(0)
    splits = {
        name: Examples(
            rng.normal(size=(len(tags), 4)).astype(np.float32), tags, np.ones((len(tags), 2), bool)
        )
        for name, tags in (("train", train), ("test", test))
    }
    from_all = make_method(TagNeighbour, splits, tag_neighbour_pool="all").neighbours
    assert from_all["test"][:, :2].tolist() == [[9, 0], [8, 0]]
    assert from_all["train"][0, :2].tolist() == [8, 9]
    from_train = make_method(TagNeighbour, splits, tag_neighbour_pool="train").neighbours
    assert from_train["test"][:, 0].tolist() == [0, 0]
    for split in splits:
        assert from_train[split].max() < 8
        assert all(len(set(row)) == 6 for row in from_train[split])
    assert all(row not in neighbours for row, neighbours in enumerate(from_train["train"]))


def test_neighbours_are_cached(make_method, monkeypatch):
    first = make_method(TagNeighbour).neighbours
    monkeypatch.setattr("msmm.baselines.tag_neighbour.find_nearest", None)
    again = make_method(TagNeighbour).neighbours
    np.testing.assert_array_equal(first["test"], again["test"])
    with pytest.raises(TypeError):  # another pool has other neighbours
        make_method(TagNeighbour, tag_neighbour_pool="train")
