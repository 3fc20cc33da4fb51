import h5py
import keras
import numpy as np
import pytest

from msmm.core.errors import UserError
from msmm.models import backbone, ready_made


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
        (
            {"name": "resnet-1-1-1-1-w8", "weights": "imagenet"},
            "resnet-1-1-1-1-w8 has no ImageNet weights: expected --weights=none or a weights file",
        ),
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
