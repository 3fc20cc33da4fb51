"""Image transformers of KerasHub as backbones: tokens to maps, other image sizes, the simple pyramid."""

import keras
import numpy as np
import pytest

import msmm
from msmm.core.errors import UserError
from msmm.models import backbone, hub, multi_scale, saved
from tests.presets import OFFSET, SCALE, TRANSFORMERS, WIDTH, write_preset

QUICK = [
    kind if kind in ("vit", "clip") else pytest.param(kind, marks=pytest.mark.slow) for kind in TRANSFORMERS
]
SPECIAL = {"vit": 1, "dinov2": 4, "clip": 1, "siglip": 0}  # tokens before those of the patches


def images(side, count=2):
    return np.random.default_rng(0).uniform(0, 255, (count, side, side, 3)).astype(np.float32)


def patch_tokens(kind, network, pixels):
    """Returns the tokens of the patches by the network's own call, [B, places, width]."""
    x = pixels * np.float32(SCALE) + np.float32(OFFSET)
    if kind == "siglip":  # its own output is pooled
        encoder = network.vision_encoder
        tokens = encoder.embedding(x)
        for block in encoder.encoder_layers:
            tokens = block(tokens)
        tokens = encoder.post_layer_norm(tokens)
    else:
        tokens = getattr(network, "vision_encoder", network)(x if kind == "vit" else {"images": x})
    return keras.ops.convert_to_numpy(tokens)[:, SPECIAL[kind] :]


@pytest.mark.parametrize("kind", TRANSFORMERS)
def test_maps_of_a_transformer_are_the_tokens_of_its_patches(kind, tmp_path):
    own = write_preset(tmp_path, kind, side=64, patch=16)
    built = backbone.build(f"keras_hub:{tmp_path}", image_size=64, weights="imagenet")
    assert [tuple(o.shape[1:]) for o in built.outputs] == [(4, 4, WIDTH), (2, 2, WIDTH)]
    m4, m5 = built.predict_on_batch(images(64))
    expected = patch_tokens(kind, own, images(64)).reshape(2, 4, 4, WIDTH)
    np.testing.assert_allclose(m4, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(m5, m4.reshape(2, 2, 2, 2, 2, WIDTH).max(axis=(2, 4)))


def test_map_of_patches_of_14_pixels_is_resized(tmp_path):
    own = write_preset(tmp_path, "dinov2", side=112, patch=14)
    built = backbone.build(f"keras_hub:{tmp_path}", image_size=112, weights="imagenet")
    assert [o.shape[1] for o in built.outputs] == [7, 4]
    tokens = patch_tokens("dinov2", own, images(112)).reshape(2, 8, 8, WIDTH)
    expected = keras.ops.image.resize(tokens, (7, 7), interpolation="bilinear")
    np.testing.assert_allclose(built.predict_on_batch(images(112))[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", QUICK)
def test_a_transformer_reads_images_of_another_size(kind, tmp_path):
    """Position embeddings of one value stay that value, so that patches are then computed as before."""
    own = write_preset(tmp_path, kind, side=32, patch=16)
    one_patch = np.tile(images(32)[:, :16, :16], (1, 6, 6, 1))
    maps = backbone.build(f"keras_hub:{tmp_path}", image_size=96, weights="imagenet").predict_on_batch(
        one_patch
    )
    assert (np.ptp(maps[0], axis=(1, 2)).max(axis=1) > 1e-3).all()  # each place has a position of its own
    for variable in own.variables:
        if "position_embedding" in variable.path:
            variable.assign(0 * variable + 0.5)
    own.save_to_preset(tmp_path)
    wide = backbone.build(f"keras_hub:{tmp_path}", image_size=96, weights="imagenet")
    assert [o.shape[1] for o in wide.outputs] == [6, 3]
    maps = wide.predict_on_batch(one_patch)[0]
    np.testing.assert_allclose(maps, np.tile(maps[:, :1, :1], (1, 6, 6, 1)), rtol=1e-3, atol=1e-4)
    if SPECIAL[kind] == 0:  # attention to equal tokens does not depend on their number
        small = backbone.build(f"keras_hub:{tmp_path}", image_size=32, weights="imagenet")
        of_two = small.predict_on_batch(one_patch[:, :32, :32])[0]
        np.testing.assert_allclose(maps[:, :2, :2], of_two, rtol=1e-3, atol=1e-4)


def test_batch_normalisation_inside_blocks_has_the_momentum_of_the_setting(tmp_path):
    """The fused blocks of EfficientNetV2 are layers with layers of their own."""
    hub, four = pytest.importorskip("keras_hub"), [1] * 4
    network = hub.models.EfficientNetBackbone(
        stackwise_width_coefficients=[0.1] * 4,
        stackwise_depth_coefficients=four,
        stackwise_kernel_sizes=four,
        stackwise_num_repeats=four,
        stackwise_input_filters=[32] * 4,
        stackwise_output_filters=[32] * 4,
        stackwise_expansion_ratios=four,
        stackwise_strides=[2] * 4,
        stackwise_squeeze_and_excite_ratios=four,
        stackwise_block_types=["fused"] * 4,
        min_depth=8,
    )
    save_preset(network, hub.layers.EfficientNetImageConverter, tmp_path)
    built = backbone.build(f"keras_hub:{tmp_path}", image_size=64, weights="imagenet", bn_momentum=0.5)
    norms = [own for own in built._flatten_layers() if isinstance(own, keras.layers.BatchNormalization)]
    assert len(norms) > 4 and {norm.momentum for norm in norms} == {0.5}


def test_a_transformer_that_merges_patches_is_refused(tmp_path):
    hub = pytest.importorskip("keras_hub")
    sizes = {"image_shape": (64, 64, 3), "embed_dim": 16, "window_size": 2}
    network = hub.models.SwinTransformerBackbone(**sizes, depths=(1, 1, 1, 1), num_heads=(1, 1, 2, 2))
    save_preset(network, hub.layers.SwinTransformerImageConverter, tmp_path)
    with pytest.raises(UserError, match=r"a token for each patch, .*, which has 4 tokens for 256 patches"):
        backbone.build(f"keras_hub:{tmp_path}", image_size=64, weights="imagenet")


def save_preset(network, converter, folder):
    network.save_to_preset(folder)
    converter(image_size=(64, 64), scale=list(SCALE), offset=list(OFFSET)).save_to_preset(folder)


def test_position_embeddings_are_interpolated_on_their_grid():
    ramp = np.repeat(np.arange(4.0), 4)[:, None]  # the row of each of 4 x 4 places
    positions = np.concatenate([[[9.0]], ramp]).astype(np.float32)  # after the class token's
    wide = hub._interpolated(positions, (65, 1))
    assert wide[0] == 9
    grid = wide[1:].reshape(8, 8)
    np.testing.assert_allclose(grid, np.repeat(grid[:, :1], 8, axis=1), atol=1e-5)
    np.testing.assert_allclose(grid[2:6, 0], [0.75, 1.25, 1.75, 2.25], atol=0.05)
    assert hub._interpolated(positions[None], (1, 65, 1)).shape == (1, 65, 1)
    with pytest.raises(UserError, match="cannot interpolate"):
        hub._interpolated(positions[1:], (65, 1))


def test_an_image_size_that_cuts_patches_is_refused(tmp_path):
    write_preset(tmp_path, "vit", side=32, patch=16)
    with pytest.raises(UserError, match=r"that 16 divides, such as 32, its own\. Received: 40"):
        backbone.build(f"keras_hub:{tmp_path}", image_size=40)
    with pytest.raises(UserError, match="expected two layer names"):
        backbone.build(f"keras_hub:{tmp_path}", image_size=32, taps=("vit_encoder",))


@pytest.mark.parametrize("kind", QUICK)
def test_a_trained_transformer_predicts_the_same_after_loading(kind, tmp_path):
    """Positions of DINOv2 are saved on the grid that they were published for."""
    write_preset(tmp_path, kind, side=32, patch=16)
    built = backbone.build(f"keras_hub:{tmp_path}", image_size=64, weights="imagenet")
    rng = np.random.default_rng(0)
    for variable in built.trainable_variables:  # as training moves them
        variable.assign(variable + rng.normal(0, 0.1, variable.shape))
    expected = built.predict_on_batch(images(64))
    built.save(tmp_path / "trained.keras")
    built.save_weights(tmp_path / "trained.weights.h5")
    fresh = backbone.build(f"keras_hub:{tmp_path}", image_size=64)
    saved.load_weights(fresh, tmp_path / "trained.weights.h5")
    for again in (saved.load_model(tmp_path / "trained.keras"), fresh):
        for maps, wanted in zip(again.predict_on_batch(images(64)), expected, strict=True):
            np.testing.assert_allclose(maps, wanted, rtol=1e-5, atol=1e-6)


def test_simple_pyramid_halves_from_map_to_map_and_all_of_it_trains():
    fusion = multi_scale.build_multi_scale([(4, 4, WIDTH), (2, 2, WIDTH)])
    shapes = [tuple(fusion.get_layer(f"M{i}").output.shape[1:]) for i in range(1, 6)]
    assert shapes == [(32, 32, 2), (16, 16, 4), (8, 8, 8), (4, 4, WIDTH), (2, 2, WIDTH)]
    kernels = {layer.name: layer.count_params() for layer in fusion.layers if "Transpose" in str(type(layer))}
    # M_3: D to D/2; M_2: and to D/4; M_1: and to D/8; kernels 2 x 2 and biases
    steps = [4 * WIDTH * WIDTH // 2 + 8, 4 * 8 * 4 + 4, 4 * 4 * 2 + 2]
    assert sum(kernels.values()) == 3 * steps[0] + 2 * steps[1] + steps[2]
    before = [keras.ops.convert_to_numpy(v) for v in fusion.trainable_variables]
    rng = np.random.default_rng(0)
    maps = [rng.normal(size=(8, *shape)).astype(np.float32) for shape in shapes[3:]]
    fusion.compile(keras.optimizers.Adam(0.01), "mse")
    fusion.train_on_batch(maps, rng.normal(size=(8, WIDTH)).astype(np.float32))
    for old, variable in zip(before, fusion.trainable_variables, strict=True):
        assert (keras.ops.convert_to_numpy(variable) != old).any(), variable.path


def test_the_complete_network_is_built_on_a_transformer(tmp_path):
    write_preset(tmp_path, "siglip", side=32, patch=16)
    network = msmm.build_annotator(3, 4, f"keras_hub:{tmp_path}", 32)
    outputs = network.predict_on_batch({"image": images(32), "tags": np.eye(2, 4, dtype=np.float32)})
    assert outputs["probabilities"].shape == (2, 3) and np.isfinite(outputs["quantity"]).all()
