"""A finished model on disk, complete in itself: annotating needs neither the data set nor the training code.

<model>/model.keras     the network: pixels and tags to probabilities and quantity
<model>/labels.txt      the C class names, one per line, in the order of the probabilities
<model>/tags.txt        the T known tags, one per line
<model>/model.json      settings, data set, preprocessing and measured figures
<model>/README.md       the same in words, a model card
<model>/quantities.json counting rules fitted on held-out images, and the one chosen there
<model>/quantities_without_tags.json the same for images that have no tag
<model>/bfloat16_errors.npz errors of bfloat16 on held-out images, where the processor could measure them
<model>/SHA256SUMS      checksums of these files, except README.md, which people may edit
<model>/engines/        conversions by `msmm.inference.engines`; safe to delete

A converted model has, in place of model.keras, the network for OpenVINO alone: model.xml, model.bin and
sizes.json (S, T and C). The starter model of the package is one.
"""

import pathlib
from typing import TYPE_CHECKING

from msmm.core import checksums
from msmm.core.errors import UserError
from msmm.core.files import atomic_directory, read_json, write_bytes, write_json, write_lines
from msmm.inference import model_card
from msmm.inference.model import Model, RunnableNetwork, sizes_of
from msmm.quantities.fitting import FittedCountingRules

if TYPE_CHECKING:
    import keras  # which takes seconds

KERAS = "model.keras"
SIZES = "sizes.json"  # of a conversion: S, T and C
CONVERTED = ("model.xml", "model.bin", SIZES)  # the network of a converted model
QUANTITIES = ("quantities.json", "quantities_without_tags.json")

# The preprocessing that `Model.annotate` applies, for programs that run the network elsewhere.
_PREPROCESSING = {
    "pixels": "RGB, float32 from 0 to 255",
    "resize": "bilinear with anti-aliasing, the aspect not kept, rounded to whole numbers",
    "normalisation": "what else the backbone needs, the network does itself",
    "tags": "float32, 1 for each line of tags.txt that the image has, 0 for the others",
}

_REMEDY = "copy or save the model again, or delete SHA256SUMS there if you changed the file on purpose"


def save(
    directory,
    network: "keras.Model",
    labels,
    tags,
    info: dict,
    quantities: dict[str, FittedCountingRules] | None = None,
) -> None:
    """Writes a model directory, whole or not at all.

    Args:
      directory: where it goes.
      network: the complete network, see `msmm.models.annotator`.
      labels, tags: the vocabularies.
      info: for model.json; `model_card` lists what it holds. The preprocessing is added here.
      quantities: file name of `QUANTITIES` -> counting rules.
    """
    info = info | {"preprocessing": _PREPROCESSING | {"image_size": sizes_of(network)["image"]}}
    with atomic_directory(directory) as partial:
        network.save(partial / KERAS)
        write_lines(partial / "labels.txt", labels)
        write_lines(partial / "tags.txt", tags)
        write_json(partial / "model.json", info)
        card = model_card.model_card(info, labels, tags)
        (partial / "README.md").write_text(card, encoding="utf-8")
        for name, fitted in (quantities or {}).items():
            write_json(partial / name, fitted.to_json())
        checksums.write(partial, {path.name for path in partial.iterdir()} - {"README.md"})


def add_file(directory, name: str, content: bytes) -> None:
    """Adds a file to a model directory and to its checksums."""
    write_bytes(pathlib.Path(directory, name), content)
    checksums.add(directory, name)


def check_directory(directory) -> pathlib.Path:
    """Returns the path of a model directory. Raises UserError where a file is missing or damaged."""
    directory = pathlib.Path(directory)
    network = CONVERTED if is_converted(directory) else (KERAS,)
    for name in (*network, "labels.txt", "tags.txt", "model.json"):
        if not (directory / name).is_file():
            below = [*directory.glob("model/model.keras"), *sorted(directory.glob("*/model/model.keras"))]
            meant = f"; did you mean {below[0].parent}?" if below else ""
            raise UserError(
                f"expected a model directory with {name} in {directory}. Received: no such file{meant}"
            )
    checksums.check_directory(directory, _REMEDY)
    return directory


def is_converted(directory) -> bool:
    """Returns whether a model directory has the network for OpenVINO alone."""
    directory = pathlib.Path(directory)
    return (directory / CONVERTED[0]).is_file() and not (directory / KERAS).exists()


def load(directory, engine: RunnableNetwork | None = None) -> Model:
    """Reads a model directory.

    Args:
      directory: the model directory.
      engine: runs its network instead of Keras, which is then not imported.

    Raises:
      UserError: a file is missing or damaged; the message names it.
    """
    directory = check_directory(directory)
    if not engine and is_converted(directory):
        raise UserError(
            f"expected a network for Keras ({KERAS}) in {directory}. Received: a converted model, which "
            "annotates with --engine=openvino alone: train a model of your own, or name another one"
        )
    network = engine or _read_network(directory / KERAS)
    labels, tags = (_read_names(directory / name) for name in ("labels.txt", "tags.txt"))
    try:
        sizes = engine.sizes if engine else sizes_of(network)
    except (AttributeError, IndexError, KeyError, ValueError) as error:
        raise UserError(
            f"{directory / KERAS} is not a network that msmm saved ({error}): {_REMEDY}"
        ) from error
    if (sizes["labels"], sizes["tags"]) != (len(labels), len(tags)):
        raise UserError(
            f"the network in {directory} has {sizes['labels']} classes and {sizes['tags']} tags, "
            f"its labels.txt and tags.txt {len(labels)} and {len(tags)}: they are of different models"
        )
    fitted = (_read_quantities(directory / name, len(labels)) for name in QUANTITIES)
    return Model(network, labels, tags, read_json(directory / "model.json", _REMEDY), *fitted)


def _read_names(path: pathlib.Path) -> tuple[str, ...]:
    try:
        return tuple(path.read_text(encoding="utf-8").splitlines())
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is damaged ({error}): {_REMEDY}") from error


def _read_quantities(path: pathlib.Path, num_classes: int) -> FittedCountingRules | None:
    if not path.is_file():  # written by an earlier version
        return None
    content = read_json(path, _REMEDY)
    try:
        return FittedCountingRules.from_json(content, num_classes)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise UserError(f"cannot read {path}: {error!r}; save the model again") from error


def _read_network(path: pathlib.Path):
    from msmm.models import saved  # Keras takes seconds

    try:
        return saved.load_model(path)
    except Exception as error:  # whatever a damaged file makes Keras raise
        raise UserError(f"cannot read {path}: {error}") from error
