"""Measures a trained model on a split of its data set: eq. 6-7, and the predicted label quantities.

python -m msmm.evaluate                                the complete model on the test split of `scenes`
python -m msmm.evaluate --model=MS-CNN                 a row of Table I
python -m msmm.evaluate --method=warp                  a method of Tables III and IV
python -m msmm.evaluate --quantity=best                how many labels says the best on held-out images
python -m msmm.evaluate --engine=auto                  the finished model, run as msmm.annotate runs it
python -m msmm.evaluate --joint                        the model that stage joint trained
python -m msmm.evaluate --dataset=my_photos --csv=annotations.csv --sheet=annotations.png

Settings are those that the stages were trained with, unless a flag says otherwise.
"""

import csv
import dataclasses

from absl import flags

from msmm import run_flags
from msmm.configs import base
from msmm.core import command_line, files
from msmm.inference import engines

MODELS = ("Upper bound", "MS-CNN+Tags+LQP", "MS-CNN+LQP", "MS-CNN+Tags", "MS-CNN", "CNN")
_MODEL = flags.DEFINE_enum("model", "MS-CNN+Tags+LQP", MODELS, "Which row of Table I.")
METHODS = (
    "logistic", "softmax", "warp", "cnn_rnn", "ria", "tag_neighbour", "sinn", "sr_cnn_rnn",
)  # fmt: skip
_METHOD = flags.DEFINE_enum("method", None, METHODS, "A compared method instead.")
QUANTITIES = ("regression", "top_k", "expected_count", "threshold", "class_thresholds", "poisson_binomial",
              "count_posterior", "expected_f1", "guided_threshold", "best")  # fmt: skip
_JOINT = flags.DEFINE_boolean("joint", False, "The rows of Table I, but CNN, of the model of stage joint.")
_QUANTITY = flags.DEFINE_enum(
    "quantity",
    None,
    QUANTITIES,
    "Who says how many labels; fitted on held-out images. [as in the paper's row]",
)
_ENGINE = flags.DEFINE_enum(
    "engine",
    None,
    [engines.AUTO, *engines.ENGINES],
    "Measure the finished model as this engine runs it. [trained parts, in float32]",
)
_ENGINE_PRECISION = flags.DEFINE_enum(
    "engine_precision", "float32", engines.PRECISIONS, "What the engine computes in."
)
_SPLIT = flags.DEFINE_string("split", "test", "Which split.")
_CSV = flags.DEFINE_string("csv", None, "Also write image id, chosen labels and true labels to this file.")
_SHEET = flags.DEFINE_string("sheet", None, "Also draw the first images with their labels to this PNG file.")
run_flags.define_run_flags()
command_line.define_dataclass_flags(base.Config)


def main() -> None:
    run = run_flags.open_run()
    from msmm.core.errors import UserError
    from msmm.training import baseline_tasks, stages, table_rows

    method, variant, quantity = _METHOD.value, table_rows.VARIANTS[_MODEL.value], _QUANTITY.value
    if quantity:
        if method or variant.counter == "truth" or variant.scorer == "cnn_head":
            name = f"--method={method}" if method else f"--model={_MODEL.value!r}"
            raise UserError(
                f"--quantity needs a model with a regressor, as MS-CNN or MS-CNN+Tags, not {name}"
            )
        variant = table_rows.counting(variant)
    if _ENGINE.value and (method or _MODEL.value != table_rows.COMPLETE):
        raise UserError(f"--engine runs the finished model, which is --model={table_rows.COMPLETE}")
    needed = (method,) if method else variant.stages
    if _JOINT.value:
        if method or variant.scorer == "cnn_head":
            raise UserError("--joint has the rows of Table I but CNN, and no compared methods")
        needed, run = ("joint",), run.of_joint()
    for stage in needed:
        if not run.stage_record(stage):
            flag = "method" if method else "stage"
            raise UserError(
                f"{run.directory} has no finished {flag} {stage}: python -m msmm.train --{flag}={stage}"
            )
    given = [field.name for field in dataclasses.fields(base.Config) if flags.FLAGS[field.name].present]
    if not (method or _JOINT.value):  # with those that they build on
        needed = [stage for stage in stages.STAGES if run.stage_record(stage)]
    run = run.as_trained(needed, given)
    truth = run.split(_SPLIT.value)
    if _ENGINE.value:
        chosen, figures = _by_engine(run, truth, quantity)
    elif method:
        chosen, figures = baseline_tasks.measure(run, method, _SPLIT.value)
    else:
        chosen, figures = table_rows.measure(run, variant, _SPLIT.value, quantity)
    name = (method or _MODEL.value) + (f", quantity {quantity}" if quantity else "")
    split = f"{run.dataset.name}/{_SPLIT.value}"
    print(f"{name} on {split}, {len(chosen)} images, seed {run.seed}")
    for name, value in figures.items():
        print(f"{name:>24}  {value:.2f}" if isinstance(value, float) else f"{name:>24}  {value}")
    if _CSV.value:
        _write_csv(_CSV.value, run, truth, chosen)
    if _SHEET.value:
        _write_sheet(_SHEET.value, run, truth, chosen)


def _by_engine(run, truth, quantity: str | None):
    """What the model directory says of a split by an engine: labels, bool [N, C], and the figures."""
    import numpy as np

    from msmm.inference.agreement import count_borderline
    from msmm.scoring.borderline import BFLOAT16_ROUNDING, ROUNDING
    from msmm.scoring.metrics import annotation_metrics, quantity_metrics

    model, said = engines.load(run.model_directory, _ENGINE.value, _ENGINE_PRECISION.value), []
    tags = [[t for t, there in zip(run.dataset.tags, row, strict=True) if there] for row in truth.tags]
    for images in run.images(_SPLIT.value).ordered(32):
        said += model.annotate(images, tags[len(said) : len(said) + len(images)], quantity or "regression")
    chosen = np.array([np.isin(run.dataset.labels, annotation.labels) for annotation in said])
    counts = chosen.sum(axis=1) if quantity else np.array([annotation.quantity for annotation in said])
    figures = annotation_metrics(truth.labels, chosen) | quantity_metrics(truth.counts, counts)
    tolerance = BFLOAT16_ROUNDING if _ENGINE_PRECISION.value == "bfloat16" else ROUNDING
    borderline = count_borderline(model, said, tags, quantity or "regression", tolerance)
    return chosen, figures | {"labels on the border": borderline}


def _write_csv(path: str, run, truth, chosen) -> None:
    from msmm.photos.formats import no_formula

    def names(row):
        return ";".join(label for label, there in zip(run.dataset.labels, row, strict=True) if there)

    with files.atomic_write(path) as partial, open(partial, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image_id", "labels", "ground_truth"])
        for image_id, said, true in zip(truth.ids, chosen, truth.labels, strict=True):
            writer.writerow([no_formula(cell) for cell in (image_id, names(said), names(true))])
    print(f"wrote {path}")


def _write_sheet(path: str, run, truth, chosen, count: int = 24) -> None:
    import numpy as np

    from msmm.core.contact_sheet import contact_sheet
    from msmm.training.log import label_lines

    rows = np.arange(min(count, len(chosen)))
    captions = [label_lines(truth.labels[i], chosen[i], run.dataset.labels) for i in rows]
    with files.atomic_write(path) as partial:
        contact_sheet(list(run.images(_SPLIT.value).take(rows)), captions, columns=6).save(partial)
    print(f"wrote {path} (green right, blue not in the ground truth, grey missed)")


if __name__ == "__main__":
    command_line.run(main)
