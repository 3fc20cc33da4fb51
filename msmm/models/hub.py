"""Presets of KerasHub as backbones: convolutional networks and image transformers.

A transformer (ViT, DINOv2, CLIP, SigLIP) cuts an image of S pixels into patches and has one map, a place for
each patch. Its backbone gives two of the five maps: M_4, that map at S/16, and M_5, its maxima at S/32. M_1 …
M_3 are trained transposed convolutions of M_4, so they belong to the fusion (`msmm.models.multi_scale`).
"""

import math

import keras
import numpy as np
from keras import layers, ops

from msmm.core.errors import UserError

PREFIX = "keras_hub:"
TRANSFORMER_MAPS = ("M4", "M5")  # layers of a transformer's trunk


def preset_trunk(
    preset: str, weights: str, image_size: int
) -> tuple[keras.Model, layers.Layer, tuple[str, ...]]:
    """Returns the network of a preset, the layer that scales its pixels, and the layers that end its scales.

    The latter are TRANSFORMER_MAPS for a transformer, and otherwise none: they are found by stride.

    Args:
        preset: a name, or a folder that `save_to_preset` wrote.
        weights: "none" for random weights; otherwise the preset's own.
        image_size: in pixels; position embeddings of a transformer are interpolated for it.

    Raises:
        UserError: KerasHub is missing, or the preset cannot be loaded or reads no images alone.
    """
    try:
        import keras_hub
    except ImportError as error:
        raise UserError(f"{PREFIX}{preset} needs KerasHub: pip install 'msmm[hub]'") from error
    try:
        network = keras_hub.models.Backbone.from_preset(preset, load_weights=weights != "none")
        converter = keras_hub.layers.ImageConverter.from_preset(preset)
    except Exception as error:  # no such preset, no network, a damaged file
        raise UserError(f"cannot load the KerasHub preset {preset!r}: {error}") from error
    scale = 1.0 if converter.scale is None else converter.scale
    offset = 0.0 if converter.offset is None else converter.offset
    scaling = layers.Rescaling(scale, offset, name="preprocess_preset")
    encoder = getattr(network, "vision_encoder", network)  # CLIP and SigLIP have an encoder of texts, too
    images = keras.tree.flatten(encoder.input)
    if len(images) != 1 or len(images[0].shape) != 4:
        raise UserError(f"expected a KerasHub preset that reads images alone. Received: {preset!r}")
    if not hasattr(encoder, "patch_size") or _tokens(encoder) is None:
        return encoder, scaling, ()
    return _transformer_trunk(_at_size(encoder, image_size, preset), preset), scaling, TRANSFORMER_MAPS


def _tokens(encoder: keras.Model):
    """Returns the last tokens [B, N, D] of a network, or None. SigLIP pools them afterwards."""
    for layer in reversed(encoder.layers):
        output = layer.output
        if isinstance(output, keras.KerasTensor) and len(output.shape) == 3:
            return output
    return None


def _token_encoder(encoder: keras.Model) -> keras.Model:
    """Returns the encoder itself if its output is tokens, otherwise the part of it that ends there."""
    tokens = _tokens(encoder)
    return encoder if encoder.output is tokens else keras.Model(encoder.input, tokens, name="tokens")


def _patch_size(encoder: keras.Model) -> int:
    size = encoder.patch_size
    return int(size if isinstance(size, int) else size[0])


def _at_size(encoder: keras.Model, image_size: int, preset: str) -> keras.Model:
    """Returns the encoder for images of another size; its position embeddings are interpolated."""
    own, patch = encoder.image_shape[0], _patch_size(encoder)
    if image_size % patch:
        raise UserError(
            f"{PREFIX}{preset} reads patches of {patch} pixels: expected an --image_size that {patch} "
            f"divides, such as {own}, its own. Received: {image_size}"
        )
    config = encoder.get_config()
    shapes = [name for name in ("image_shape", "position_embedding_shape") if name in config]
    wanted = (image_size, image_size, 3)
    if all(tuple(config[name])[:2] == wanted[:2] for name in shapes):
        return encoder
    resized = type(encoder).from_config(config | dict.fromkeys(shapes, wanted))
    for old, new in zip(encoder.variables, resized.variables, strict=True):
        if old.shape == new.shape:
            new.assign(old)
        elif new.dtype.startswith("int"):  # CLIP, SigLIP: position_ids [1, N]
            new.assign(np.arange(new.shape[-1])[None])
        else:
            new.assign(_interpolated(ops.convert_to_numpy(old), new.shape))
    return resized


def _interpolated(positions: np.ndarray, shape) -> np.ndarray:
    """Returns position embeddings [N, D] or [1, N, D] for another N, the grid's bicubically interpolated.

    Tokens before the grid, at most one, keep theirs (Dosovitskiy et al. 2021, section 3.2).
    """
    own, wanted = (math.isqrt(count) for count in (positions.shape[-2], shape[-2]))
    first = positions.shape[-2] - own**2
    if own**2 + first != positions.shape[-2] or wanted**2 + first != shape[-2]:
        raise UserError(
            f"cannot interpolate position embeddings of {positions.shape[-2]} to {shape[-2]} places"
        )
    flat = positions.reshape(-1, positions.shape[-1])
    grid = flat[first:].reshape(1, own, own, -1)
    resized = ops.convert_to_numpy(ops.image.resize(grid, (wanted, wanted), interpolation="bicubic"))
    return np.concatenate([flat[:first], resized.reshape(wanted**2, -1)]).reshape(shape)


def _transformer_trunk(encoder: keras.Model, preset: str) -> keras.Model:
    """Returns images -> M_4 [B, S/16, S/16, D] and M_5 [B, S/32, S/32, D], sides rounded up.

    The tokens of the patches become a map; those before them (of the class, registers) are left out.
    Raises UserError where patches are merged on the way, so that their tokens are fewer.
    """
    size = encoder.image_shape[0]
    image, grid = keras.Input((size, size, 3), name="pixels"), size // _patch_size(encoder)
    # As one layer, which is saved by KerasHub's own configuration: that of some inner layers cannot be read.
    tokens = _token_encoder(encoder)(keras.tree.pack_sequence_as(encoder.input, [image]))
    if tokens.shape[1] < grid**2:
        raise UserError(
            f"expected a transformer with a token for each patch, ViT, DINOv2, CLIP or SigLIP. Received: "
            f"{PREFIX}{preset}, which has {tokens.shape[1]} tokens for {grid**2} patches"
        )
    patches = tokens[:, -(grid**2) :]  # by their number: SigLIP's layers state one token too many
    side = math.ceil(size / 16)
    shape, name = (grid, grid, tokens.shape[-1]), TRANSFORMER_MAPS[0]
    last = layers.Reshape(shape, name=name if grid == side else "grid")(patches)
    if grid != side:
        last = layers.Resizing(side, side, name=name)(last)
    pooled = layers.MaxPooling2D(2, padding="same", name=TRANSFORMER_MAPS[1])(last)
    return keras.Model(image, [last, pooled])
