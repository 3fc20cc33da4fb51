"""Trunks that come with the package: a network and its weights in one file, most of them float16.

The file is an .npz without pickled objects. It has the network's configuration (JSON of built-in layers), the
key of its preprocessing, the layers that end the five scales, and the weights. Kernels are float16, the rest
is float32. NOTICE names their sources.
"""

import importlib.resources
import json
import pathlib
import zipfile
import zlib

import keras
import numpy as np

from msmm.core.errors import UserError
from msmm.core.files import atomic_write

# Name of a backbone -> its file in msmm/models/trunks/.
TRUNKS = {"photos": "photos.npz"}
# What model cards call its weights; NOTICE has the details.
ORIGINS = {"photos": "the weights of the package, fine-tuned on photographs of MSCOCO"}


def packaged_trunk(name: str) -> tuple[keras.Model, str, tuple[str, ...]]:
    """Returns a trunk of TRUNKS: the network, the key of its preprocessing, the layers that end its scales.

    Raises:
        UserError: the file is missing or damaged.
    """
    path = importlib.resources.files("msmm.models") / "trunks" / TRUNKS[name]
    try:
        with importlib.resources.as_file(path) as file:
            return _read(str(file))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(
            f"cannot read the backbone {name} of the package ({error}): install msmm again"
        ) from error


def _read(path: str) -> tuple[keras.Model, str, tuple[str, ...]]:
    with np.load(path, allow_pickle=False) as file:
        about = json.loads(str(file["about"]))
        weights = [file[f"weight{i}"].astype(np.float32) for i in range(about["weights"])]
    trunk = keras.models.model_from_json(json.dumps(about["network"]))
    trunk.set_weights(weights)
    return trunk, about["preprocessing"], tuple(about["taps"])


def write_trunk(path, trunk: keras.Model, preprocessing: str, taps: tuple[str, ...]) -> None:
    """Writes a trunk in the format of this package, atomically.

    Args:
        path: of the .npz file.
        trunk: a functional model of built-in layers, RGB [B, S, S, 3] to M_5.
        preprocessing: a key of PREPROCESSING.
        taps: names of the five layers that end its scales.

    Raises:
        UserError: a kernel is beyond float16.
    """
    about = {
        "network": json.loads(trunk.to_json()),
        "preprocessing": preprocessing,
        "taps": list(taps),
        "weights": len(trunk.weights),
    }
    arrays = {}
    for i, variable in enumerate(trunk.weights):
        value = keras.ops.convert_to_numpy(variable)
        half = "kernel" in variable.name
        with np.errstate(over="ignore"):  # the next check has a better message
            arrays[f"weight{i}"] = value.astype(np.float16 if half else np.float32)
        if not np.isfinite(arrays[f"weight{i}"]).all():
            raise UserError(f"a weight of {variable.path} is beyond {arrays[f'weight{i}'].dtype}")
    with atomic_write(pathlib.Path(path)) as partial:
        np.savez_compressed(partial, about=np.array(json.dumps(about)), **arrays)
