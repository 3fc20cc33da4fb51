"""The basic CNN (eq. 1): pixels to the five feature maps M_1 … M_5 of Fig. 4.

A backbone is a Keras model from RGB pixels [B, S, S, 3] float32 in 0 … 255 to a list of five
maps at strides 2, 4, 8, 16 and 32. Its preprocessing is its first layers, so it travels with
the weights.
"""

import pathlib
import re

import keras
from keras import layers

from msmm.errors import UserError

STRIDES = (2, 4, 8, 16, 32)

# Per channel of the network's input: how RGB 0 … 255 becomes what the weights were trained on.
# "caffe" is BGR minus the ImageNet mean, as the weights of keras.applications' ResNet want it
# (decision 10).
PREPROCESSING = {
    "caffe": {"scale": 1.0, "offset": (-103.939, -116.779, -123.68)},
    "torch": {
        "scale": tuple(1 / (255 * s) for s in (0.229, 0.224, 0.225)),
        "offset": tuple(-m / s for m, s in zip((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), strict=True)),
    },
    "tf": {"scale": 1 / 127.5, "offset": -1.0},
    "none": None,
}


def build(
    name: str,
    *,
    image_size: int,
    weights: str = "none",
    taps: tuple[str, ...] = (),
    preprocessing: str = "auto",
    bn_momentum: float = 0.9997,
) -> keras.Model:
    """Builds a backbone whose outputs are the list M_1 … M_5.

    name: "resnet101" (keras.applications), "resnet-D-D-D-D-wW" (the same blocks with D blocks
        a stage and W channels in the first), or the path of a saved `.keras` model.
    image_size: S in pixels.
    weights: "imagenet", "none" or a weights file. A saved model brings its own.
    taps: names of the five layers that end the scales; found by stride if empty.
    preprocessing: a key of PREPROCESSING, or "auto": "caffe" for ResNets, "none" for a saved
        model, which has it inside.
    bn_momentum: decay of every batch normalisation's moving averages (IV-A3, decision 7).
    """
    if preprocessing not in ("auto", *PREPROCESSING):
        raise UserError(f"expected preprocessing auto|{'|'.join(PREPROCESSING)}. Received: {preprocessing!r}")
    small = re.fullmatch(r"resnet-(\d+)-(\d+)-(\d+)-(\d+)-w(\d+)", name)
    if name == "resnet101":
        trunk = _resnet101(image_size, weights)
    elif small:
        *depths, width = map(int, small.groups())
        trunk = resnet(depths, width, image_size)
    elif name.endswith(".keras"):
        trunk = _load(name)
    else:
        raise UserError(
            f"unknown backbone {name!r}: expected resnet101, resnet-D-D-D-D-wW (depths and width) "
            "or a .keras file"
        )
    if not name.startswith("resnet101") and weights not in ("none", "imagenet"):
        _load_weights(trunk, weights)
    if preprocessing == "auto":
        preprocessing = "none" if name.endswith(".keras") else "caffe"

    names = _check_taps(trunk, taps) if taps else find_taps(trunk, image_size)
    maps = keras.Model(trunk.input, [trunk.get_layer(n).output for n in names], name="maps")
    _check_strides(maps, names, image_size)
    for layer in maps.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = bn_momentum
    image = keras.Input((image_size, image_size, 3), name="image")
    return keras.Model(image, maps(_preprocess(image, preprocessing)), name="backbone")


def resnet(depths, width: int, image_size: int) -> keras.Model:
    """A bottleneck ResNet with keras.applications' structure and layer names.

    depths: blocks in each of the four stages, (3, 4, 23, 3) for ResNet-101.
    width: channels of the first convolution, 64 for ResNet-101.
    """
    image = keras.Input((image_size, image_size, 3))
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


def find_taps(trunk: keras.Model, image_size: int) -> list[str]:
    """Names of the last layer of each scale: the last whose map has size S/2, S/4 … S/32."""
    candidates = [layer for layer in trunk.layers if _is_map(layer)]
    probe = keras.Model(trunk.input, [layer.output for layer in candidates])
    shapes = probe.compute_output_spec(keras.KerasTensor((1, image_size, image_size, 3)))
    names = []
    for stride in STRIDES:
        size = -(-image_size // stride)
        at_stride = [c.name for c, s in zip(candidates, shapes, strict=True) if s.shape[1:3] == (size, size)]
        if not at_stride:
            raise UserError(f"no layer of the backbone has stride {stride}: name five with --backbone_taps")
        names.append(at_stride[-1])
    return names


def _is_map(layer) -> bool:
    if isinstance(layer, layers.InputLayer):
        return False
    output = layer.output
    return not isinstance(output, list | tuple) and len(output.shape) == 4


def _check_taps(trunk: keras.Model, taps: tuple[str, ...]) -> tuple[str, ...]:
    known = {layer.name for layer in trunk.layers}
    missing = [tap for tap in taps if tap not in known]
    if len(taps) != len(STRIDES) or missing:
        raise UserError(
            f"expected five layer names of the backbone in --backbone_taps. Received: {','.join(taps)}"
            + (f" (no such layer: {', '.join(missing)})" if missing else "")
        )
    return taps


def _check_strides(maps: keras.Model, names, image_size: int) -> None:
    shapes = maps.compute_output_spec(keras.KerasTensor((1, image_size, image_size, 3)))
    for name, spec, stride in zip(names, shapes, STRIDES, strict=True):
        size = -(-image_size // stride)
        if tuple(spec.shape[1:3]) != (size, size):
            raise UserError(
                f"expected a map of {size}x{size} at stride {stride} of the backbone. "
                f"Received: {spec.shape[1]}x{spec.shape[2]} from layer {name!r}"
            )


def _preprocess(image, kind: str):
    if PREPROCESSING[kind] is None:
        return image
    if kind == "caffe":
        image = keras.ops.flip(image, axis=-1)  # RGB to BGR
    return layers.Rescaling(**PREPROCESSING[kind], name=f"preprocess_{kind}")(image)


def _resnet101(image_size: int, weights: str) -> keras.Model:
    if weights not in ("imagenet", "none"):
        _require_file(weights)
    try:
        return keras.applications.ResNet101(
            include_top=False,
            weights=None if weights == "none" else weights,
            input_shape=(image_size, image_size, 3),
        )
    except (OSError, ValueError) as error:
        raise UserError(
            f"could not load the {weights} weights of resnet101 ({error}): give a file with --weights=PATH "
            "or start from random ones with --weights=none"
        ) from error
    except Exception as error:  # Keras wraps a failed download in a bare Exception
        raise UserError(
            f"could not download the {weights} weights of resnet101 ({error}): give a file with "
            "--weights=PATH or start from random ones with --weights=none"
        ) from error


def _load(path: str) -> keras.Model:
    _require_file(path)
    try:
        model = keras.saving.load_model(path, compile=False)  # safe mode: runs no code of the file
    except Exception as error:  # whatever a damaged file makes Keras raise
        raise UserError(f"cannot read {path} as a saved Keras model: {error}") from error
    if not isinstance(model, keras.Model) or not hasattr(model, "input"):
        raise UserError(f"expected a functional Keras model in {path}. Received: {type(model).__name__}")
    return model


def _load_weights(model: keras.Model, path: str) -> None:
    _require_file(path)
    try:
        model.load_weights(path)
    except Exception as error:
        raise UserError(f"cannot load {path} into the backbone: {error}") from error


def _require_file(path: str) -> None:
    if not pathlib.Path(path).is_file():
        raise UserError(f"expected a file at {path}. Received: nothing there")
