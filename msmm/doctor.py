"""Checks the installation, a model and a folder of photographs, and explains what does not work.

    python -m msmm.doctor
    python -m msmm.doctor --model=runs/scenes/seed0/model --photos=photos

A drawn test image is annotated as `annotate` does it, with the model or, without --model, the starter model
of the package. Of the folder, all photographs are counted, and up to 100 of them are decoded.
Exit status: 0 annotating works, 2 it does not; the last line has the cause.
"""

from collections.abc import Callable

from absl import flags

from msmm.core import command_line
from msmm.core.errors import UserError

_MODEL = flags.DEFINE_string(
    "model", None, "A model directory, as runs/scenes/seed0/model. [the starter model of the package]"
)
_PHOTOS = flags.DEFINE_string("photos", None, "A folder of photographs.")
_WIDTH = 12  # characters of a line's name


def main() -> None:
    from msmm.photos import diagnosis

    causes = []
    for name, check in (
        ("", diagnosis.describe_machine),
        ("", lambda: diagnosis.describe_tensorflow(command_line.import_tensorflow)),
        ("", diagnosis.describe_formats),
        ("model", lambda: diagnosis.check_model(_MODEL.value, command_line.import_tensorflow)),
        ("folder", lambda: diagnosis.check_folder(_PHOTOS.value) if _PHOTOS.value else {}),
    ):
        causes += _print(name, check)
    if causes:
        raise UserError(f"annotating does not work: {'; '.join(causes)}")
    print("\nAnnotating works.")


def _print(name: str, check: Callable[[], dict[str, str]]) -> list[str]:
    """Prints the lines of a check, and returns the cause why it failed, if it did."""
    try:
        lines = check()
    except UserError as error:
        print(f"{name:<{_WIDTH}}does not work: {error}", flush=True)
        return [str(error)]
    for title, text in lines.items():
        print(f"{title:<{_WIDTH}}{text}", flush=True)
    return []


if __name__ == "__main__":
    command_line.run(main)
