import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from msmm.core.errors import UserError
from msmm.models import annotator, backbone, heads, multi_scale, ready_made, textual
from msmm.training.recompute import Segments, recomputed


def count_trainable(model):
    return sum(int(np.prod(v.shape)) for v in model.trainable_variables)


@pytest.fixture(scope="module")
def resnet101():
    return backbone.build("resnet101", image_size=224)


@pytest.fixture(scope="module")
def small():
    keras.utils.set_random_seed(1)  # or the features of some networks are too large for float32 sigmoids
    return backbone.build("resnet-1-1-1-1-w8", image_size=64)


def test_resnet101_feature_maps_have_the_shapes_of_fig_4(resnet101):
    shapes = [tuple(o.shape[1:]) for o in resnet101.outputs]
    assert shapes == [(112, 112, 64), (56, 56, 256), (28, 28, 512), (14, 14, 1024), (7, 7, 2048)]
    assert resnet101.count_params() == 42_658_176


def test_find_taps_gives_the_layers_of_the_paper(resnet101):
    trunk = keras.applications.ResNet101(include_top=False, weights=None, input_shape=(224, 224, 3))
    assert backbone.find_taps(trunk) == [
        "conv1_relu",
        "conv2_block3_out",
        "conv3_block4_out",
        "conv4_block23_out",
        "conv5_block3_out",
    ]


def test_every_bn_layer_has_the_papers_momentum(resnet101):
    norms = [x for x in resnet101._flatten_layers() if isinstance(x, keras.layers.BatchNormalization)]
    assert len(norms) == 104
    assert {layer.momentum for layer in norms} == {0.9997}


def test_own_resnet_equals_keras_applications():
    own = backbone.resnet((3, 4, 6, 3), 64)
    reference = keras.applications.ResNet50(include_top=False, weights=None, input_shape=(64, 64, 3))
    by_name = {layer.name: layer for layer in reference.layers}
    for layer in own.layers:
        if layer.weights:
            layer.set_weights(by_name[layer.name].get_weights())
    image = np.random.default_rng(0).uniform(0, 255, (1, 64, 64, 3)).astype(np.float32)
    outputs, expected = own.predict_on_batch(image), reference.predict_on_batch(image)
    assert np.abs(expected).max() > 0.1  # not a comparison of zeros
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mode", ["caffe", "tf", "torch"])
def test_preprocessing_equals_keras_applications(mode):
    image = np.random.default_rng(0).uniform(0, 255, (1, 32, 32, 3)).astype(np.float32)
    x = keras.Input((32, 32, 3))
    ours = keras.Model(x, ready_made.preprocessed(x, mode)).predict_on_batch(image)
    reference = keras.applications.imagenet_utils.preprocess_input(image.copy(), mode=mode)
    np.testing.assert_allclose(ours, reference, rtol=1e-4, atol=1e-4)


def test_a_saved_keras_model_can_be_the_backbone(tmp_path, small):
    path = str(tmp_path / "trunk.keras")
    trunk = backbone.resnet((1, 1, 1, 1), 8)
    trunk.save(path)
    by_stride = backbone.build(path, image_size=64)
    named = backbone.build(path, image_size=64, taps=tuple(backbone.find_taps(trunk)))
    image = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)).astype(np.float32)
    for a, b in zip(by_stride.predict_on_batch(image), named.predict_on_batch(image), strict=True):
        np.testing.assert_array_equal(a, b)
    top = trunk.predict_on_batch(image)  # output of the file on raw RGB: no preprocessing is added
    np.testing.assert_allclose(by_stride.predict_on_batch(image)[-1], top, rtol=1e-5)


def test_weights_files_are_loaded(tmp_path):
    trunk = backbone.resnet((1, 1, 1, 1), 8)
    trunk.save_weights(tmp_path / "w.weights.h5")
    built = backbone.build("resnet-1-1-1-1-w8", image_size=64, weights=str(tmp_path / "w.weights.h5"))
    loaded = built.get_layer("maps").get_layer("conv1_conv").get_weights()[0]
    np.testing.assert_array_equal(loaded, trunk.get_layer("conv1_conv").get_weights()[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "resnet102"}, "unknown backbone"),
        ({"name": "no.keras"}, "expected a file at no.keras"),
        ({"name": "resnet-1-1-1-1-w8", "weights": "no.h5"}, "expected a file at no.h5"),
        ({"name": "resnet-1-1-1-1-w8", "taps": ("a", "b")}, "five layer names"),
        ({"name": "resnet-1-1-1-1-w8", "taps": ("conv1_relu",) * 5}, "at stride 4"),
        ({"name": "convnext"}, "one of keras.applications: convnextbase, "),
        ({"name": "mobilenetv3small", "weights": "no.h5"}, "expected a file at no.h5"),
        ({"name": "resnet-1-1-1-1-w8", "preprocessing": "pytorch"}, "expected preprocessing"),
    ],
)
def test_a_wrong_backbone_is_refused_with_the_cause(options, message):
    with pytest.raises(UserError, match=message):
        backbone.build(image_size=64, **options)


def test_a_weights_file_without_some_weights_is_refused(tmp_path):
    """Keras 3.15 only warns and leaves the layer's random weights."""
    path = tmp_path / "w.weights.h5"
    backbone.resnet((1, 1, 1, 1), 8).save_weights(path)
    with h5py.File(path, "r+") as file:
        groups = []
        file.visit(groups.append)
        broken = next(name for name in groups if name.endswith("/vars") and len(file[name]))
        parent = broken.removesuffix("/vars")
        file.move(parent, parent + "_")
    with pytest.raises(UserError, match=r"cannot load .* into the backbone"):
        backbone.build("resnet-1-1-1-1-w8", image_size=64, weights=str(path))


def test_a_backbone_for_any_size_equals_the_backbone_built_at_that_size(small):
    other = backbone.build("resnet-1-1-1-1-w8", image_size=96)
    other.set_weights(small.get_weights())
    images = np.random.default_rng(0).uniform(0, 255, (2, 96, 96, 3)).astype(np.float32)
    maps = backbone.for_any_size(small)(images)
    assert [m.shape[1] for m in maps] == [48, 24, 12, 6, 3]
    for of_any_size, of_this_size in zip(maps, other(images), strict=True):
        np.testing.assert_allclose(of_any_size, of_this_size, rtol=1e-5, atol=1e-4)


def test_a_backbone_of_one_size_is_refused_at_other_sizes(tmp_path):
    image = keras.Input((64, 64, 3))
    maps, x = [], image
    for channels in (4, 4, 4, 4, 4):
        x = keras.layers.Conv2D(channels, 3, strides=2, padding="same")(x)
        maps.append(x)
    path = str(tmp_path / "fixed.keras")
    keras.Model(image, x).save(path)
    with pytest.raises(UserError, match="reads images of 64 pixels only: leave --finetune_sizes out"):
        backbone.for_any_size(backbone.build(path, image_size=64))


def test_an_unreadable_backbone_file_is_refused(tmp_path):
    (tmp_path / "bad.keras").write_bytes(b"not a zip")
    with pytest.raises(UserError, match="cannot read"):
        backbone.build(str(tmp_path / "bad.keras"), image_size=64)


def test_fusion_has_the_parameter_count_of_the_paper(resnet101):
    model = multi_scale.build_multi_scale([o.shape[1:] for o in resnet101.outputs])
    assert (model.count_params(), count_trainable(model)) == (15_214_848, 15_203_456)
    assert model.output_shape == (None, 2048)


def test_fusion_equals_eq_2_and_3():
    """Compares with eq. 2-3 written with the convolution of TensorFlow and NumPy."""
    import tensorflow as tf

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


def build_on_all_maps(name: str):
    """Yields a model on all maps of a backbone, then one that recomputes them, with their backbones."""
    for recompute in (False, True):
        keras.utils.set_random_seed(0)
        trunk = backbone.build(name, image_size=64, bn_momentum=0.5)
        maps = recomputed(trunk) if recompute else trunk
        means = [keras.layers.GlobalAveragePooling2D()(m) for m in maps.output]
        yield keras.Model(maps.input, keras.layers.Concatenate()(means)), trunk


def build_on_fusion():
    """Yields a model that fuses maps of convolutions, then one that recomputes the fusion."""
    for recompute in (False, True):
        keras.utils.set_random_seed(0)
        x, maps = keras.Input((64, 64, 3)), []
        for width in (4, 4, 8, 8, 8):
            maps.append(keras.layers.Conv2D(width, 3, 2, "same")(maps[-1] if maps else x))
        fusion = multi_scale.build_multi_scale([m.shape[1:] for m in maps], bn_momentum=0.5)
        yield keras.Model(x, (Segments(fusion) if recompute else fusion)(maps)), fusion


def gradients(model) -> tf.types.experimental.PolymorphicFunction:
    @tf.function
    def compute(pixels, wanted):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(pixels, training=True) - wanted) ** 2)
        return tape.gradient(loss, model.trainable_variables)

    return compute


@pytest.mark.parametrize("name", ["resnet-2-1-1-1-w4", "dropping", "fusion"])
def test_recomputed_maps_have_the_same_gradients_and_statistics(name, tmp_path):
    if name == "dropping":  # random numbers must be the same when maps are computed again
        x = image = keras.Input((64, 64, 3))
        for width in (4, 4, 8, 8, 8):
            x = keras.layers.BatchNormalization()(keras.layers.Conv2D(width, 3, 2, "same")(x))
            x = keras.layers.Dropout(0.5, seed=3)(keras.layers.ReLU()(x))
        name = str(tmp_path / "dropping.keras")
        keras.Model(image, x).save(name)
    models = build_on_fusion() if name == "fusion" else build_on_all_maps(name)
    (plain, part), (model, same_part) = models
    segments = next(layer for layer in model._flatten_layers() if isinstance(layer, Segments)).segments
    assert len(segments) > 1
    own = [v for v in model.trainable_variables if any(v is w for w in same_part.trainable_variables)]
    assert len(own) == len(same_part.trainable_variables)
    if name != "fusion":  # its maps come from separate convolutions
        assert len(own) == len(model.trainable_variables)
    for v, w in zip(own, same_part.trainable_variables, strict=True):
        assert v is w
    pixels = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3)).astype(np.float32)
    wanted = np.random.default_rng(1).normal(size=(4, plain.output_shape[1])).astype(np.float32)
    for a, b in zip(gradients(plain)(pixels, wanted), gradients(model)(pixels, wanted), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-3 * np.abs(a).max() + 1e-6)
    for a, b in zip(part.variables, same_part.variables, strict=True):
        a, b = (keras.ops.convert_to_numpy(v).astype(np.float64) for v in (a, b))
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "build", [lambda: build_on_all_maps("resnet-1-1-1-1-w4"), build_on_fusion], ids=["trunk", "fusion"]
)
def test_recomputed_maps_are_computed_again_in_the_backward_pass(build):
    def convolutions(model):
        numbers = tf.zeros((1, 64, 64, 3)), tf.zeros((1, model.output_shape[1]))
        graph = gradients(model).get_concrete_function(*numbers).graph
        return sum(operation.type == "Conv2D" for operation in graph.get_operations())

    (plain, part), (model, _) = build()
    again = sum(isinstance(layer, keras.layers.Conv2D) for layer in part._flatten_layers())
    assert convolutions(model) == convolutions(plain) + again > convolutions(plain)


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
