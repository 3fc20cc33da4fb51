"""Every family of keras.applications, KerasHub presets and networks of other shapes as backbones."""

import sys

import keras
import numpy as np
import pytest

from msmm.core.errors import UserError
from msmm.models import backbone, multi_scale, ready_made

# The smallest network of each family; the others have the same blocks.
QUICK = ("convnexttiny", "mobilenetv3small", "efficientnetv2b0", "inceptionv3")
FAMILIES = (
    *("densenet121", "efficientnetb0", "inceptionresnetv2", "mobilenet", "mobilenetv2", "mobilenetv3large"),
    *("nasnetlarge", "nasnetmobile", "resnet50", "resnet50v2", "vgg16", "vgg19", "xception"),
)
REST = set(ready_made.applications()) - set(QUICK) - set(FAMILIES)


def check_backbone(name, size):
    """Checks that a network gives five maps that halve and fuse, and has its own preprocessing."""
    built = backbone.build(name, image_size=size)
    sides = [-(-size // stride) for stride in backbone.STRIDES]
    assert [tuple(o.shape[1:3]) for o in built.outputs] == [(s, s) for s in sides]
    fusion = multi_scale.build_multi_scale([o.shape[1:] for o in built.outputs])
    assert fusion.output_shape == (None, built.outputs[-1].shape[-1])
    pixels = np.random.default_rng(0).uniform(0, 255, (1, size, size, 3)).astype(np.float32)
    maps = built.predict_on_batch(pixels)
    assert all(np.isfinite(m).all() and np.ptp(m) > 0 for m in maps)
    function = ready_made.applications()[name]
    preprocessed = sys.modules[function.__module__].preprocess_input(pixels.copy())
    top = keras.Model(built.get_layer("maps").inputs, built.get_layer("maps").outputs[-1])
    if maps[-1].shape[1:3] == top.output_shape[1:3]:  # not enlarged
        np.testing.assert_allclose(top.predict_on_batch(preprocessed), maps[-1], rtol=1e-3, atol=1e-4)
    return built


@pytest.mark.parametrize("name", QUICK)
def test_a_keras_applications_network_can_be_the_backbone(name):
    check_backbone(name, 96)


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_every_keras_applications_family_can_be_the_backbone(name):
    check_backbone(name, 96)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(REST))
def test_every_keras_applications_network_can_be_the_backbone(name):
    check_backbone(name, 96)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "size"), [("inceptionv3", 299), ("convnexttiny", 100), ("xception", 150)])
def test_keras_applications_networks_take_other_image_sizes(name, size):
    check_backbone(name, size)


def test_taps_are_the_last_layers_of_their_stride():
    trunk = ready_made.application("vgg16", "none", 96)[0]
    assert backbone.find_taps(trunk) == [
        *("block2_conv2", "block3_conv3", "block4_conv3", "block5_conv3", "block5_pool"),
    ]
    unpadded = ready_made.application("xception", "none", 96)[0]  # its first convolutions have no padding
    assert backbone.find_taps(unpadded)[0] == "block2_sepconv2_bn"
    assert backbone.find_taps(ready_made.application("convnexttiny", "none", 96)[0])[0] is None


def test_pooled_image_replaces_a_missing_map_of_stride_2():
    """ConvNeXt begins with 4x4 patches."""
    built = backbone.build("convnexttiny", image_size=64)
    image = np.random.default_rng(0).uniform(0, 255, (1, 64, 64, 3)).astype(np.float32)
    means = image.reshape(1, 32, 2, 32, 2, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(built.predict_on_batch(image)[0], means, rtol=1e-5)


def test_a_saved_backbone_predicts_the_same_after_loading(tmp_path):
    built = backbone.build("mobilenetv3small", image_size=64)
    built.save(tmp_path / "b.keras")
    image = np.random.default_rng(0).uniform(0, 255, (1, 64, 64, 3)).astype(np.float32)
    again = keras.saving.load_model(tmp_path / "b.keras", compile=False).predict_on_batch(image)
    for a, b in zip(again, built.predict_on_batch(image), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_backbone_of_another_image_size_is_refused(tmp_path):
    image = keras.Input((64, 64, 3))
    trunk = backbone.resnet((1, 1, 1, 1), 4)
    keras.Model(image, trunk(image)).save(tmp_path / "trunk.keras")
    with pytest.raises(UserError, match="--image_size=64"):
        backbone.build(str(tmp_path / "trunk.keras"), image_size=96)


def test_a_kerashub_preset_can_be_the_backbone(tmp_path):
    keras_hub = pytest.importorskip("keras_hub", reason="keras-hub is not installed")
    own = keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 64, 64, 64],
        stackwise_num_blocks=[1, 1, 1, 1],
        stackwise_num_strides=[1, 2, 2, 2],
        block_type="basic_block",
    )
    own.save_to_preset(tmp_path / "preset")
    scaling = {"scale": [0.01, 0.02, 0.03], "offset": [-1.0, 0.0, 1.0]}
    keras_hub.layers.ResNetImageConverter(image_size=(64, 64), **scaling).save_to_preset(tmp_path / "preset")
    built = backbone.build(f"keras_hub:{tmp_path / 'preset'}", image_size=64, weights="imagenet")
    assert [o.shape[1] for o in built.outputs] == [32, 16, 8, 4, 2]
    image = np.random.default_rng(0).uniform(0, 255, (1, 64, 64, 3)).astype(np.float32)
    expected = own.predict_on_batch(image * np.float32(scaling["scale"]) + np.float32(scaling["offset"]))
    np.testing.assert_allclose(built.predict_on_batch(image)[-1], expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(UserError, match="cannot load the KerasHub preset"):
        backbone.build(f"keras_hub:{tmp_path / 'nothing'}", image_size=64)


def test_kerashub_presets_without_kerashub_are_refused_with_the_install_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    with pytest.raises(UserError, match=r"pip install .msmm\[hub\]"):
        backbone.build("keras_hub:resnet_50_imagenet", image_size=64)
