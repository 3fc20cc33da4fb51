"""Writes a finished model for other runtimes, as one graph, and checks it against the model.

    python -m msmm.export --model=runs/scenes/seed0/model --format=saved_model --output=exported
    python -m msmm.export --model=runs/scenes/seed0/model --format=onnx --output=exported_onnx

saved_model takes encoded images and names of tags, and names labels; TensorFlow Serving reads it. onnx,
openvino and litert take pixels and a 0/1 vector of tags, and say which labels are chosen. All give the
probability of every label, the predicted quantity, and the number of labels that are chosen: as many as
msmm.annotate chooses, where a graph can say it, else as the paper does. labels.txt and tags.txt lie beside.

Nothing is written unless the export, run by its own runtime, gives the labels that the model gives. A label
on the border, whose decision rounding can reverse, is no disagreement; it is counted.
"""

import pathlib

from absl import flags

from msmm.core import command_line
from msmm.core.errors import UserError

FORMATS = ("saved_model", "onnx", "openvino", "litert")
_MODEL = flags.DEFINE_string("model", None, "Model directory.", required=True)
_FORMAT = flags.DEFINE_enum("format", "saved_model", FORMATS, "What to write.")
QUANTITIES = (
    "regression", "top_k", "expected_count", "threshold", "class_thresholds", "guided_threshold", "best",
)  # fmt: skip
_QUANTITY = flags.DEFINE_enum(
    "quantity",
    None,
    QUANTITIES,
    "Who says how many labels. [best, what held-out images chose; regression where no graph can hold that]",
)
_OUTPUT = flags.DEFINE_string("output", None, "Directory to write; it must not be there yet.", required=True)
_CHECK_IMAGES = flags.DEFINE_integer(
    "check_images", 100, "Number of drawn images to compare the export with the model on.", lower_bound=1
)


def main() -> None:
    output = pathlib.Path(_OUTPUT.value)
    if output.exists():
        raise UserError(f"{output} is there already: name another directory with --output, or delete it")
    command_line.import_tensorflow()
    from msmm.core.files import atomic_directory, write_lines
    from msmm.inference import model_dir
    from msmm.inference.exporting import check, counting, formats
    from msmm.inference.exporting.graph import Graph

    target = formats.require(_FORMAT.value)
    model = model_dir.load(_MODEL.value)
    quantity = _QUANTITY.value or counting.default(model)
    print(f"labels are counted by: {_titles(model, quantity)}")
    with atomic_directory(output) as partial:
        target.write(Graph(model, quantity), partial)
        write_lines(partial / "labels.txt", model.labels)
        write_lines(partial / "tags.txt", model.tags)
        agreements = check.check(model, _FORMAT.value, partial, _CHECK_IMAGES.value, quantity)
    for inputs, found in zip(("pixels", "encoded images"), agreements, strict=False):
        print(
            f"{inputs}: the model's labels on {found.same_labels} of {found.images} images"
            f"{_on_border(found.borderline)}; largest "
            f"difference of a probability {found.probability:.1e}, of the quantity {found.quantity:.1e}"
        )
    print(f"wrote {output}: {', '.join(sorted(path.name for path in output.iterdir()))}")


def _on_border(labels: int) -> str:
    return f" ({labels} label{'s' if labels > 1 else ''} on the border)" if labels else ""


def _titles(model, quantity: str) -> str:
    of_both = [model.estimators(quantity)[tagged].title for tagged in (True, False)]
    return of_both[0] if of_both[0] == of_both[1] else f"{of_both[0]}; without tags {of_both[1]}"


if __name__ == "__main__":
    command_line.run(main)
