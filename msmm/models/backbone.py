"""The basic CNN (eq. 1): pixels to the five feature maps M_1 … M_5 of Fig. 4.

A backbone is a Keras model from RGB pixels [B, S, S, 3] float32 in 0 … 255 to a list of five maps. Their
strides are 2, 4, 8, 16 and 32. A transformer gives the last two, from which the fusion blocks make the others
(`msmm.models.hub`). Its first layers are its preprocessing, which is therefore saved with the weights.
"""

import math
import pathlib
import re

import keras
from keras import layers

from msmm.core.errors import UserError
from msmm.models import hub, packaged, ready_made, saved
from msmm.models.ready_made import PREPROCESSING, preprocessed

STRIDES = (2, 4, 8, 16, 32)


def build(
    name: str,
    *,
    image_size: int,
    weights: str = "none",
    taps: tuple[str, ...] = (),
    preprocessing: str = "auto",
    bn_momentum: float = 0.9997,
) -> keras.Model:
    """Builds a backbone whose outputs are the list M_1 … M_5; M_4, M_5 of a transformer.

    Args:
        name: a network of keras.applications in lower case ("resnet101"), a name of `packaged.TRUNKS`,
            "keras_hub:PRESET" (`msmm.models.hub`), or the path of a saved `.keras` model. "resnet-D-D-D-D-wW"
            is a ResNet with D blocks per stage and W channels in the first.
        image_size: S in pixels.
        weights: "imagenet", "none" or a weights file. A saved model and a packaged trunk have their own;
            there are none of ImageNet for "resnet-D-D-D-D-wW".
        taps: names of the five layers that end the scales; if empty, known for a packaged trunk and
            otherwise found by stride. A network without a map
            of stride 2 (ConvNeXt) gets the image itself at half its size as M_1.
        preprocessing: a key of PREPROCESSING, or "auto": the one that the network was trained with; "none"
            for a saved model, which contains it.
        bn_momentum: decay of every batch normalisation's moving averages (IV-A3, decision 7).

    Raises:
        UserError: there is no such network, or it has no such weights or layer.
    """
    if preprocessing not in ("auto", *PREPROCESSING):
        raise UserError(f"expected preprocessing auto|{'|'.join(PREPROCESSING)}. Received: {preprocessing!r}")
    trunk, kind, own_taps = _trunk(name, image_size, weights)
    taps = taps or own_taps
    if trunk.input_shape[1] not in (None, image_size):
        raise UserError(
            f"{name} reads images of {trunk.input_shape[1]} pixels: --image_size={trunk.input_shape[1]}"
        )
    names = _check_taps(trunk, taps, len(own_taps)) if taps else find_taps(trunk)
    maps = keras.Model(trunk.input, [trunk.get_layer(n).output for n in names if n], name="maps")
    for layer in maps._flatten_layers():  # blocks of KerasHub are layers with layers
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = bn_momentum
    image = keras.Input((image_size, image_size, 3), name="image")
    if preprocessing == "auto" and not isinstance(kind, str):
        pixels = kind(image)
    else:
        pixels = preprocessed(image, kind if preprocessing == "auto" else preprocessing)
    return keras.Model(image, _fit_map_sizes(maps(pixels), pixels, image_size), name="backbone")


def has_own_weights(name: str) -> bool:
    """Returns whether a backbone comes with trained weights whatever the setting `weights` is."""
    return name.endswith(".keras") or name in packaged.TRUNKS


def _trunk(name: str, image_size: int, weights: str):
    """Returns the network without its top, its preprocessing (a key or a layer), and its taps, if known."""
    taps: tuple[str, ...] = ()
    small = re.fullmatch(r"resnet-(\d+)-(\d+)-(\d+)-(\d+)-w(\d+)", name)
    if name in ready_made.applications():
        if weights not in ("imagenet", "none"):
            _require_file(weights)
        return *ready_made.application(name, weights, image_size), ()
    if small:
        if weights == "imagenet":  # the default, which would otherwise mean random weights here
            raise UserError(f"{name} has no ImageNet weights: expected --weights=none or a weights file")
        *depths, width = map(int, small.groups())
        trunk, kind = resnet(depths, width), "caffe"
    elif name in packaged.TRUNKS:
        trunk, kind, taps = packaged.packaged_trunk(name)
    elif name.endswith(".keras"):
        trunk, kind = _load(name), "none"
    elif name.startswith(hub.PREFIX):
        trunk, kind, taps = hub.preset_trunk(name.removeprefix(hub.PREFIX), weights, image_size)
    else:
        raise UserError(
            f"unknown backbone {name!r}: expected resnet-D-D-D-D-wW (depths and width), a .keras file, "
            f"{hub.PREFIX}PRESET, {', '.join(packaged.TRUNKS)} or one of keras.applications: "
            f"{', '.join(ready_made.applications())}"
        )
    if weights not in ("none", "imagenet"):
        _load_weights(trunk, weights)
    return trunk, kind, taps


def resnet(depths, width: int) -> keras.Model:
    """Builds a bottleneck ResNet with keras.applications' structure and layer names.

    Args:
        depths: blocks in each of the four stages, (3, 4, 23, 3) for ResNet-101.
        width: channels of the first convolution, 64 for ResNet-101.
    """
    image = keras.Input((None, None, 3))
    x = layers.ZeroPadding2D(3, name="conv1_pad")(image)
    x = _conv_bn(x, "conv1", width, 7, stride=2, padding="valid")
    x = layers.ReLU(name="conv1_relu")(x)
    x = layers.ZeroPadding2D(1, name="pool1_pad")(x)
    x = layers.MaxPooling2D(3, strides=2, name="pool1_pool")(x)
    for stage, depth in enumerate(depths):
        for block in range(depth):
            stride = 2 if stage > 0 and block == 0 else 1
            x = _block(x, f"conv{stage + 2}_block{block + 1}", width * 2**stage, stride, shortcut=block == 0)
    return keras.Model(image, x)


def _block(x, name: str, channels: int, stride: int, shortcut: bool):
    # The stride sits in the first 1x1 convolution, as in keras.applications (decision 10).
    residual = _conv_bn(x, f"{name}_0", 4 * channels, 1, stride) if shortcut else x
    x = layers.ReLU(name=f"{name}_1_relu")(_conv_bn(x, f"{name}_1", channels, 1, stride))
    x = layers.ReLU(name=f"{name}_2_relu")(_conv_bn(x, f"{name}_2", channels, 3))
    x = _conv_bn(x, f"{name}_3", 4 * channels, 1)
    return layers.ReLU(name=f"{name}_out")(layers.Add(name=f"{name}_add")([residual, x]))


def _conv_bn(x, name: str, channels: int, kernel: int, stride: int = 1, padding: str = "same"):
    x = layers.Conv2D(
        channels, kernel, strides=stride, padding=padding, kernel_initializer="he_normal", name=f"{name}_conv"
    )(x)
    return layers.BatchNormalization(epsilon=1.001e-5, name=f"{name}_bn")(x)


def for_any_size(backbone: keras.Model) -> keras.Model:
    """Returns the same backbone, on the same layers, for square images of any side that 32 divides.

    Raises:
        UserError: its network reads images of one size only.
    """
    if backbone.get_layer("maps").input_shape[1] is not None:
        raise UserError(
            f"this backbone reads images of {backbone.input_shape[1]} pixels only: leave --finetune_sizes out"
        )
    image = keras.Input((None, None, 3), name="image")
    return keras.models.clone_model(backbone, input_tensors=image, clone_function=lambda layer: layer)


def freeze_maps(backbone: keras.Model, count: int) -> None:
    """Freezes the layers that compute M_1 … M_count, the statistics of their normalisation included.

    Raises:
        UserError: the backbone is a transformer, all of whose maps come from its last layers.
    """
    trunk = backbone.get_layer("maps")
    lacking = len(STRIDES) - len(trunk.outputs)  # 1 if M_1 is the image at half its size
    if lacking > 1:
        raise UserError(
            "the five maps of a transformer come from its last layers: leave --finetune_frozen_maps out"
        )
    if count > lacking:
        for layer in keras.Model(trunk.input, trunk.outputs[count - lacking - 1]).layers:
            layer.trainable = False


def find_taps(trunk: keras.Model) -> list[str | None]:
    """Returns the name of the last layer of each scale; None for stride 2 if the network has none."""
    last = {stride: name for name, stride in _strides(trunk).items()}
    for stride in STRIDES[1:]:
        if stride not in last:
            raise UserError(f"no layer of the backbone has stride {stride}: name five with --backbone_taps")
    return [last.get(stride) for stride in STRIDES]


def _strides(trunk: keras.Model) -> dict[str, int]:
    """Returns layer name -> stride, for every layer that outputs a map, in the network's order.

    The stride is the one nearest to a large image's side over the map's side. A large image hides the borders
    that convolutions without padding lose. Padding and cropping belong to the layer after them.
    """
    size = trunk.input_shape[1] or _LARGE
    candidates = [layer for layer in trunk.layers if _is_map(layer)]
    probe = keras.Model(trunk.input, [layer.output for layer in candidates])
    specs = probe.compute_output_spec(keras.KerasTensor((1, size, size, 3)))
    strides = {}
    for layer, spec in zip(candidates, specs, strict=True):
        sides = {stride: math.ceil(size / stride) for stride in (1, *STRIDES)}
        nearest = min(sides, key=lambda stride: abs(sides[stride] - spec.shape[1]))
        if abs(sides[nearest] - spec.shape[1]) <= sides[nearest] / 4:
            strides[layer.name] = nearest
    return strides


_LARGE = 2048  # pixels


def _is_map(layer) -> bool:
    if isinstance(layer, layers.InputLayer | layers.ZeroPadding2D | layers.Cropping2D):
        return False
    output = layer.output
    return not isinstance(output, list | tuple) and len(output.shape) == 4


def _check_taps(trunk: keras.Model, taps: tuple[str, ...], num_own: int) -> tuple[str, ...]:
    known, strides = {layer.name for layer in trunk.layers}, _strides(trunk)
    missing = [tap for tap in taps if tap not in known]
    if len(taps) != (num_own or len(STRIDES)) or missing:
        raise UserError(
            f"expected {'two' if num_own == 2 else 'five'} layer names of the backbone in --backbone_taps. "
            f"Received: {','.join(taps)}" + (f" (no such layer: {', '.join(missing)})" if missing else "")
        )
    for tap, stride in zip(taps, STRIDES[-len(taps) :], strict=True):
        if strides.get(tap) != stride:
            raise UserError(
                f"expected a map at stride {stride} of the backbone. Received: layer {tap!r} at "
                f"stride {strides.get(tap, 'unknown')}"
            )
    return taps


def _fit_map_sizes(maps, pixels, image_size: int) -> list:
    """Returns maps with sides of S/2, S/4 … S/32, rounded up; M_1 is the image at half its size if the
    network lacks it alone. Maps that lack pixels because of missing padding are enlarged bilinearly."""
    if len(maps) == len(STRIDES) - 1:
        maps = [layers.AveragePooling2D(2, padding="same", name="half_image")(pixels), *maps]
    fitting = []
    for m, stride in zip(maps, STRIDES[-len(maps) :], strict=True):
        side = math.ceil(image_size / stride)
        fits = tuple(m.shape[1:3]) == (side, side)
        fitting.append(m if fits else layers.Resizing(side, side, name=f"fit{stride}")(m))
    return fitting


def _load(path: str) -> keras.Model:
    _require_file(path)
    try:
        model = saved.load_model(path)
    except Exception as error:  # whatever a damaged file makes Keras raise
        raise UserError(f"cannot read {path} as a saved Keras model: {error}") from error
    if not isinstance(model, keras.Model) or not hasattr(model, "input"):
        raise UserError(f"expected a functional Keras model in {path}. Received: {type(model).__name__}")
    return model


def _load_weights(model: keras.Model, path: str) -> None:
    _require_file(path)
    try:
        saved.load_weights(model, path)
    except Exception as error:
        raise UserError(f"cannot load {path} into the backbone: {error}") from error


def _require_file(path: str) -> None:
    if not pathlib.Path(path).is_file():
        raise UserError(f"expected a file at {path}. Received: nothing there")
