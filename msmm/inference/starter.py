"""The starter model: a converted model directory that comes with the package (experiments.starter_model)."""

import pathlib

import msmm
from msmm.core.errors import UserError

DIRECTORY = pathlib.Path(str(msmm.__file__)).parent / "starter"


def find_starter_model() -> pathlib.Path:
    """Returns the directory of the starter model. Raises UserError where the package has none."""
    if not (DIRECTORY / "model.json").is_file():
        raise UserError(
            f"this installation has no starter model (expected it in {DIRECTORY}): name a model "
            "directory, as --model=runs/scenes/seed0/model, or build one with experiments.starter_model"
        )
    return DIRECTORY
