"""Ready-made convolutional networks by name: those of keras.applications and the presets of KerasHub."""

import functools
import inspect
from collections.abc import Callable

import keras
import numpy as np
from keras import layers

from msmm.core.errors import UserError

HUB = "keras_hub:"

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


@functools.cache
def applications() -> dict[str, Callable]:
    """The networks of keras.applications, name in lower case -> what builds it."""
    found = inspect.getmembers(keras.applications, inspect.isfunction)
    return {name.lower(): function for name, function in found}


def application(name: str, weights: str, image_size: int) -> tuple[keras.Model, str]:
    """A network of keras.applications without its top, and the key of PREPROCESSING
    that does what the `preprocess_input` of its module does: "none" where the network itself does it.

    weights: "imagenet" (downloaded), "none" or a file.
    """
    function = applications()[name]
    side = image_size if name.startswith("nasnet") else None  # whose paddings depend on it
    try:
        trunk = function(
            include_top=False, weights=None if weights == "none" else weights, input_shape=(side, side, 3)
        )
    except Exception as error:  # Keras wraps a failed download in a bare Exception
        raise UserError(
            f"could not load the {weights} weights of {name} ({error}): give a file with --weights=PATH "
            "or start from random ones with --weights=none"
        ) from error
    return trunk, _kind_of(inspect.getmodule(function).preprocess_input)


def _kind_of(preprocess: Callable) -> str:
    pixels = np.random.default_rng(0).uniform(0, 255, (1, 4, 4, 3)).astype(np.float32)
    wanted = preprocess(pixels.copy())
    for kind in PREPROCESSING:
        if np.allclose(keras.ops.convert_to_numpy(preprocessed(pixels, kind)), wanted, atol=1e-3):
            return kind
    raise ValueError(f"{preprocess.__module__} prepares its images in a way of its own")


def preprocessed(image, kind: str):
    """RGB [B, S, S, 3] in 0 … 255 as a network of that kind wants it, by layers that are saved with it."""
    if PREPROCESSING[kind] is None:
        return image
    if kind == "caffe":
        image = keras.ops.flip(image, axis=-1)  # RGB to BGR
    return layers.Rescaling(**PREPROCESSING[kind], name=f"preprocess_{kind}")(image)


def hub_preset(preset: str, weights: str) -> tuple[keras.Model, layers.Layer]:
    """The backbone of a KerasHub preset (a name, or a folder that `save_to_preset` has written), and the
    layer that scales its pixels.

    weights: "none" for random ones; otherwise the preset's own.
    """
    try:
        import keras_hub
    except ImportError as error:
        raise UserError(f"{HUB}{preset} needs KerasHub: pip install 'msmm[hub]'") from error
    try:
        trunk = keras_hub.models.Backbone.from_preset(preset, load_weights=weights != "none")
        converter = keras_hub.layers.ImageConverter.from_preset(preset)
    except Exception as error:  # no such preset, no network, a damaged file
        raise UserError(f"cannot load the KerasHub preset {preset!r}: {error}") from error
    if not isinstance(trunk.input, keras.KerasTensor):
        raise UserError(f"expected a KerasHub preset that reads images alone. Received: {preset!r}")
    scale = 1.0 if converter.scale is None else converter.scale
    offset = 0.0 if converter.offset is None else converter.offset
    return trunk, layers.Rescaling(scale, offset, name="preprocess_preset")
