"""Writes a finished model for other runtimes, as one graph, and checks it against the model.

    python -m msmm.export --model=runs/scenes/seed0/model --format=saved_model --output=exported
    python -m msmm.export --model=runs/scenes/seed0/model --format=onnx --output=exported_onnx

saved_model takes encoded images and names of tags, and returns names of labels; TensorFlow Serving reads it.
onnx, openvino and litert take pixels and a 0/1 vector of tags, and return a 0/1 vector of chosen labels. All
return the probability of every label, the predicted quantity, and the number of chosen labels. The counting
rule is the one of msmm.annotate if a graph can express it, otherwise the paper's. labels.txt and tags.txt are
written beside the graph.

Nothing is written unless the export, run by its own runtime, gives the labels that the model gives. A label
on the border, whose decision rounding can reverse, is no disagreement; it is counted.
"""

import pathlib

from absl import flags

from msmm.core import command_line
from msmm.core.errors import UserError
from msmm.inference.exporting import formats
from msmm.quantities.registry import BEST, EXPORTABLE

_MODEL = flags.DEFINE_string("model", None, "Model directory.", required=True)
_FORMAT = flags.DEFINE_enum("format", "saved_model", list(formats.FORMATS), "What to write.")
_QUANTITY = flags.DEFINE_enum(
    "quantity",
    None,
    [*EXPORTABLE, BEST],
    "The counting rule. [best, as held-out images chose; regression where no graph can hold that]",
)
_OUTPUT = flags.DEFINE_string("output", None, "Directory to write; it must not exist yet.", required=True)
_CHECK_IMAGES = flags.DEFINE_integer(
    "check_images", 100, "Number of drawn images to compare the export with the model on.", lower_bound=1
)


def main() -> None:
    output = pathlib.Path(_OUTPUT.value)
    if output.exists():
        raise UserError(f"{output} exists already: name another directory with --output, or delete it")
    from msmm.inference import model_dir

    model_dir.check_directory(_MODEL.value)  # an error should not wait for TensorFlow
    command_line.import_tensorflow()
    from msmm.core.files import atomic_directory, write_lines
    from msmm.inference.exporting import check, counting
    from msmm.inference.exporting.graph import SEPARATOR, Graph

    target = formats.require(_FORMAT.value)
    model = model_dir.load(_MODEL.value)
    quantity = _QUANTITY.value or counting.default(model)
    print(f"labels are counted by: {_titles(model, quantity)}")
    unservable = check.unservable_tags(model)
    if unservable and _FORMAT.value == "saved_model":
        print(
            f"{len(unservable):,} of the {len(model.tags):,} tags contain {SEPARATOR}, and serving_default "
            f"finds none of them: {', '.join(unservable[:5])}{', …' * (len(unservable) > 5)}"
        )
    with atomic_directory(output) as partial:
        target.write(Graph(model, quantity), partial)
        write_lines(partial / "labels.txt", model.labels)
        write_lines(partial / "tags.txt", model.tags)
        agreements = check.check_export(model, _FORMAT.value, partial, _CHECK_IMAGES.value, quantity)
    for inputs, agreement in zip(("pixels", "encoded images"), agreements, strict=False):
        print(
            f"{inputs}: the model's labels on {agreement.same_labels} of {agreement.images} images"
            f"{_on_border(agreement.borderline)}; largest "
            f"difference of a probability {agreement.probability:.1e}, "
            f"of the quantity {agreement.quantity:.1e}"
        )
    print(f"wrote {output}: {', '.join(sorted(path.name for path in output.iterdir()))}")


def _on_border(labels: int) -> str:
    return f" ({labels} label{'s' if labels > 1 else ''} on the border)" if labels else ""


def _titles(model, quantity: str) -> str:
    with_tags, without = (model.counting_rules(quantity)[tagged].title for tagged in (True, False))
    return with_tags if with_tags == without else f"{with_tags}; without tags {without}"


if __name__ == "__main__":
    command_line.run(main)
