import keras
import numpy as np
from keras import layers

from msmm.inference.engines.folding import folded


def norms(model) -> list[str]:
    return [la.name for la in model._flatten_layers() if isinstance(la, layers.BatchNormalization)]


def test_the_whole_network_says_the_same_without_any_normalisation(network, inputs):
    images, tags = inputs[0].astype(np.float32), np.eye(7, dtype=np.float32)[np.arange(50) % 7]
    tags[::5] = 0
    said = folded(network)
    assert len(norms(network)) == 3 * 5 + 4 + 1 + 2 * 4 and norms(said) == []
    expected = network.predict_on_batch({"image": images, "tags": tags})
    for name, values in said.predict_on_batch({"image": images, "tags": tags}).items():
        largest = max(1, np.abs(expected[name]).max())  # sums of numbers that large end near 0, too
        np.testing.assert_allclose(values, expected[name], rtol=1e-4, atol=1e-5 * largest)
    assert np.ptp(expected["quantity"]) > 0.01


def test_only_what_alone_reads_a_linear_convolution_is_folded():
    image = keras.Input((8, 8, 3))

    def norm(x, name, **more):
        return layers.BatchNormalization(name=name, **more)(x)

    branches = [
        norm(layers.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False)(image), "depthwise"),
        norm(layers.Conv2D(4, 3)(image), "no_scale", scale=False),
        norm(layers.Conv2D(4, 3)(image), "no_centre", center=False),
        norm(layers.Conv2D(4, 3, activation="relu")(image), "after_relu"),
        norm(layers.Conv2DTranspose(4, 3)(image), "transposed"),
    ]
    twice = layers.Conv2D(4, 3)(image)
    branches += [norm(twice, "one_of_two"), twice, norm(image, "no_convolution")]
    model = keras.Model(image, branches)
    rng = np.random.default_rng(0)
    model.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in model.get_weights()])
    said, pixels = folded(model), rng.normal(size=(2, 8, 8, 3)).astype(np.float32)
    assert norms(said) == ["after_relu", "transposed", "one_of_two", "no_convolution"]
    for a, b in zip(said.predict_on_batch(pixels), model.predict_on_batch(pixels), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_arithmetic_between_layers_stays(tmp_path):
    """Of a model that was loaded, too."""
    image = keras.Input((8, 8, 3))
    x = layers.BatchNormalization()(layers.Conv2D(4, 3)(image / 255.0))
    model = keras.Model(image, layers.Dense(2)(layers.Flatten()(x)) * 3.0)
    model.save(tmp_path / "m.keras")
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 8, 8, 3)).astype(np.float32)
    for network in (model, keras.saving.load_model(tmp_path / "m.keras")):
        said = folded(network)
        assert norms(said) == []
        np.testing.assert_allclose(
            said.predict_on_batch(pixels), model.predict_on_batch(pixels), rtol=1e-4, atol=1e-5
        )
