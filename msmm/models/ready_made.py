"""The convolutional networks of keras.applications by name, and how each prepares its pixels."""

import functools
import importlib
import inspect
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers

from msmm.core.errors import UserError

# Scale and offset of RGB 0 … 255, per channel of the network's input. "caffe" is BGR minus the ImageNet mean,
# for the weights of keras.applications' ResNet (decision 10).
PREPROCESSING: dict[str, dict[str, Any] | None] = {
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
    """Returns the networks of keras.applications: name in lower case -> function that builds it."""
    functions = inspect.getmembers(keras.applications, inspect.isfunction)
    return {name.lower(): function for name, function in functions}


def application(name: str, weights: str, image_size: int) -> tuple[keras.Model, str]:
    """Returns a network of keras.applications without its top and the key of PREPROCESSING for it.

    The key equals the `preprocess_input` of its module: "none" if the network contains its preprocessing.

    Args:
        name: in lower case.
        weights: "imagenet" (downloaded), "none" or a file.
        image_size: in pixels.
    """
    function = applications()[name]
    side = image_size if name.startswith("nasnet") else None  # its paddings depend on the side
    try:
        trunk = function(
            include_top=False, weights=None if weights == "none" else weights, input_shape=(side, side, 3)
        )
    except Exception as error:  # Keras wraps a failed download in a bare Exception
        raise UserError(
            f"could not load the {weights} weights of {name} ({error}): give a file with --weights=PATH "
            "or start from random ones with --weights=none"
        ) from error
    module = importlib.import_module(function.__module__)
    return trunk, _find_preprocessing(module.preprocess_input)


def _find_preprocessing(preprocess: Callable) -> str:
    pixels = np.random.default_rng(0).uniform(0, 255, (1, 4, 4, 3)).astype(np.float32)
    wanted = preprocess(pixels.copy())
    for kind in PREPROCESSING:
        if np.allclose(keras.ops.convert_to_numpy(preprocessed(pixels, kind)), wanted, atol=1e-3):
            return kind
    raise ValueError(f"{preprocess.__module__} prepares its images in a way of its own")


def preprocessed(image, kind: str):
    """Returns RGB [B, S, S, 3] in 0 … 255 preprocessed for a network of that kind, by layers of the model."""
    scaling = PREPROCESSING[kind]
    if scaling is None:
        return image
    if kind == "caffe":
        image = keras.ops.flip(image, axis=-1)  # RGB to BGR
    return layers.Rescaling(**scaling, name=f"preprocess_{kind}")(image)
