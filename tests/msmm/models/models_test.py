import keras
import numpy as np
import pytest
import tensorflow as tf

from msmm.models import annotator, backbone, heads, multi_scale, textual


def count_trainable(model):
    return sum(int(np.prod(v.shape)) for v in model.trainable_variables)


def test_fusion_has_the_parameter_count_of_the_paper(resnet101):
    model = multi_scale.build_multi_scale([o.shape[1:] for o in resnet101.outputs])
    assert (model.count_params(), count_trainable(model)) == (15_214_848, 15_203_456)
    assert model.output_shape == (None, 2048)


def test_fusion_equals_eq_2_and_3():
    """Compares with eq. 2-3 written with the convolution of TensorFlow and NumPy."""

    shapes = [(16, 16, 3), (8, 8, 4), (4, 4, 5), (2, 2, 6), (1, 1, 7)]
    model = multi_scale.build_multi_scale(shapes)
    rng = np.random.default_rng(0)
    model.set_weights(
        [
            rng.uniform(0.1, 1, w.shape) * rng.choice([-1, 1], w.shape) ** (w.ndim > 1)
            for w in model.get_weights()
        ]
    )
    maps = [rng.normal(size=(2, *shape)).astype(np.float32) for shape in shapes]

    def phi(x, name, stride):
        kernel = model.get_layer(f"{name}_conv").get_weights()[0]
        gamma, beta, mean, variance = model.get_layer(f"{name}_bn").get_weights()
        y = tf.nn.conv2d(x, kernel, stride, "SAME").numpy()
        return np.maximum(gamma * (y - mean) / np.sqrt(variance + 1e-3) + beta, 0)

    fused = maps[0]
    for scale in range(2, 6):
        fused = maps[scale - 1] + phi(phi(fused, f"fusion{scale}_1", 2), f"fusion{scale}_2", 1)
    np.testing.assert_allclose(model.predict_on_batch(maps), fused.mean(axis=(1, 2)), rtol=1e-4, atol=1e-4)


def test_fusion_accepts_feature_maps_of_odd_size():
    model = backbone.build("resnet-1-1-1-1-w8", image_size=75)
    shapes = [tuple(o.shape[1:]) for o in model.outputs]
    assert [s[0] for s in shapes] == [38, 19, 10, 5, 3]
    assert multi_scale.build_multi_scale(shapes).output_shape == (None, 256)


def test_textual_and_heads_have_the_parameter_counts_of_the_paper():
    assert textual.build_textual(1000).count_params() == 6_246_400
    assert heads.build_classifier(4096, 81).count_params() == 331_857
    assert heads.build_quantity(4096).count_params() == 2_229_249


def test_a_model_without_tags_trains_and_saves(tmp_path):
    mlp = textual.build_textual(0, 4)
    model = keras.Model(mlp.input, heads.build_classifier(4, 2)(mlp.output))
    model.compile("sgd", "mse")
    assert np.isfinite(float(model.train_on_batch(np.zeros((3, 0), np.float32), np.ones((3, 2)))))
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras").predict_on_batch(np.zeros((3, 0), np.float32))
    np.testing.assert_array_equal(again, model.predict_on_batch(np.zeros((3, 0), np.float32)))


def test_initial_quantity_is_the_mean_count():
    model = heads.build_quantity(16, mean_count=2.5)
    assert model.predict_on_batch(np.zeros((1, 16), np.float32)).item() == pytest.approx(2.5)


def test_quantity_dropout_is_one_half_in_training_only():
    model = heads.build_quantity(16)
    x = np.ones((4, 16), np.float32)
    assert {layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)} == {0.5}
    np.testing.assert_array_equal(model.predict_on_batch(x), model.predict_on_batch(x))
    assert np.ptp(keras.ops.convert_to_numpy(model(x, training=True))) > 0


def test_annotator_equals_its_parts(small):
    keras.utils.set_random_seed(0)
    fusion = multi_scale.build_multi_scale([o.shape[1:] for o in small.outputs])
    mlp, visual_heads = (
        textual.build_textual(10, 16),
        (heads.build_classifier(256, 5, name="a"), heads.build_quantity(256, name="b")),
    )
    classifier, quantity = heads.build_classifier(256 + 16, 5), heads.build_quantity(256 + 16)
    model = annotator.assemble_annotator(small, fusion, mlp, classifier, quantity, *visual_heads)
    rng = np.random.default_rng(0)
    image = rng.uniform(0, 255, (2, 64, 64, 3)).astype(np.float32)
    tags = np.eye(10, dtype=np.float32)[[3, 9]]
    for head in (
        classifier,
        quantity,
        *visual_heads,
    ):  # a random network's features are large: keep σ off 0 and 1
        head.set_weights([w / 1000 for w in head.get_weights()])
    outputs = model.predict_on_batch({"image": image, "tags": tags})
    f_v = fusion.predict_on_batch(small.predict_on_batch(image))
    f = np.concatenate([f_v, mlp.predict_on_batch(tags)], axis=1)
    expected = 1 / (1 + np.exp(-classifier.predict_on_batch(f).astype(np.float64)))
    assert 0.01 < expected.min() < expected.max() < 0.99
    np.testing.assert_allclose(outputs["probabilities"], expected, rtol=1e-3)
    np.testing.assert_allclose(outputs["quantity"], quantity.predict_on_batch(f), rtol=1e-3, atol=1e-3)

    half = model.predict_on_batch({"image": image, "tags": tags * [[1], [0]]})  # the second has no tag now
    np.testing.assert_allclose(half["probabilities"][0], outputs["probabilities"][0], rtol=1e-5)
    without = [head.predict_on_batch(f_v)[1].astype(np.float64) for head in visual_heads]
    np.testing.assert_allclose(half["probabilities"][1], 1 / (1 + np.exp(-without[0])), rtol=1e-3)
    np.testing.assert_allclose(half["quantity"][1], without[1], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "shapes",
    [
        [(112, 112, 64), (56, 56, 256), (28, 28, 512), (14, 14, 1024), (7, 7, 2048)],  # ResNet-101
        [(112, 112, 16), (56, 56, 24), (28, 28, 40), (14, 14, 112), (7, 7, 1280)],  # EfficientNet-Lite0
    ],
)
def test_the_control_on_the_last_map_has_as_many_parameters_as_the_fusion_blocks(shapes):
    fusion, control = multi_scale.build_multi_scale(shapes), multi_scale.build_last_map(shapes)
    assert control.count_params() == pytest.approx(fusion.count_params(), rel=0.01)
    assert control.output_shape == fusion.output_shape
    rng = np.random.default_rng(0)
    maps = [rng.normal(size=(1, *shape)).astype(np.float32) for shape in shapes]
    before = control.predict_on_batch(maps)
    np.testing.assert_array_equal(before, control.predict_on_batch([*(0 * m for m in maps[:4]), maps[4]]))


def test_the_pooled_control_is_the_averages_of_the_five_maps():
    shapes = [(32, 32, 2), (16, 16, 3), (8, 8, 4), (4, 4, 5), (2, 2, 6)]
    rng = np.random.default_rng(0)
    maps = [rng.normal(size=(3, *shape)).astype(np.float32) for shape in shapes]
    pooled = multi_scale.build_pooled(shapes).predict_on_batch(maps)
    assert pooled.shape == (3, 20) == (3, multi_scale.feature_size(shapes, "pooled"))
    np.testing.assert_allclose(
        pooled, np.concatenate([m.mean((1, 2)) for m in maps], 1), rtol=1e-5, atol=1e-6
    )
