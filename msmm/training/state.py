"""The state of an interrupted stage, in `state.npz`: variables, optimiser, best weights and progress."""

import dataclasses
import json
import math
import pathlib
import zipfile

import keras
import numpy as np

from msmm.core.errors import UserError
from msmm.core.files import atomic_write
from msmm.training.stage_table import FILE_HASHES, FORMER_SETTINGS

STATE = "state.npz"  # after the last whole epoch
LAST_GOOD = "last_good.npz"  # after the last epoch before the loss was not finite


@dataclasses.dataclass
class Progress:
    """The progress of a stage's training after a whole epoch.

    drop: number of epochs after which the learning rate dropped; None: it has not dropped. The field's name
        is in `state.npz`.
    """

    learning_rate: float
    epoch: int = 0
    best_epoch: int = 0
    best: float = -math.inf
    seconds: float = 0.0
    history: list = dataclasses.field(default_factory=list)
    fallbacks: list = dataclasses.field(default_factory=list)
    stopped: bool = False  # by a callback
    drop: int | None = None


def values_of(variables) -> list[np.ndarray]:
    """Returns the values of Keras variables (or arrays) as NumPy arrays."""
    return [keras.ops.convert_to_numpy(v) for v in variables]


def assign_values(variables, values) -> None:
    """Assigns arrays to Keras variables."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def save_state(path: pathlib.Path, arrays: dict, progress: Progress, owner: dict) -> None:
    """Writes the state atomically: the file holds either the old state or the whole new one.

    owner: {"settings": …, "inputs": …}, which the state depends on.
    """
    names = sorted(arrays)  # a damaged directory of a ZIP file can hide members
    meta = json.dumps({"progress": dataclasses.asdict(progress), "arrays": names, **owner})
    with atomic_write(path) as partial:
        np.savez(partial, meta=np.array(meta), **arrays)


def load_state(path: pathlib.Path, owner: dict) -> tuple[Progress, dict[str, np.ndarray]] | None:
    """Returns (progress, arrays) of a state, or None if there is none.

    Raises:
        UserError: the file is damaged or belongs to other settings or inputs.
    """
    if not path.exists():
        return None
    try:
        with zipfile.ZipFile(path) as file:  # NumPy checks only the arrays that it reads
            if damaged := file.testzip():
                raise ValueError(f"bad CRC-32 of {damaged}")
        with np.load(path, allow_pickle=False) as arrays_file:
            arrays = {name: arrays_file[name] for name in arrays_file.files}
        meta = json.loads(str(arrays.pop("meta")))
        if differing := set(meta.get("arrays", arrays)) ^ set(arrays):
            raise ValueError(f"other arrays than were written: {', '.join(sorted(differing))}")
        progress, then = Progress(**meta["progress"]), {"inputs": {}, **meta}
    except Exception as error:  # zipfile, NumPy and json each raise their own
        raise UserError(f"{path} is damaged ({error}): --restart begins the stage again") from error
    check_settings(path.parent, then["settings"], owner["settings"])
    if then["inputs"] != owner["inputs"]:
        raise UserError(
            f"{path} is of other data or of other parts that it builds on: --restart begins the stage again"
        )
    return progress, arrays


def check_settings(directory, then: dict, now: dict) -> None:
    """Raises UserError naming the first setting that differs between a stage's earlier run and this one."""
    for name in differing_settings(then, now):
        was = then.get(name, FORMER_SETTINGS.get(name))
        raise UserError(
            f"{directory} was trained with {name}={was}, and now {name}={now.get(name)}: "
            "--restart trains the stage again, another --workdir keeps both"
        )


def differing_settings(then: dict, now: dict) -> list[str]:
    """Returns the names of settings that differ between a stage's earlier run and this one.

    Earlier versions recorded no checksums of files, and a finished stage outlives its weights file.
    """
    then = {name: value for name, value in FORMER_SETTINGS.items() if name in now} | then
    unknown = {name for name in FILE_HASHES if name not in then or name not in now}
    return [name for name in sorted({*then, *now} - unknown) if then.get(name) != now.get(name)]
