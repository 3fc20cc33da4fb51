"""Measures a trained model on a split of its data set: eq. 6-7, average precision and label quantities.

python -m msmm.evaluate                                the complete model on the test split of `scenes`
python -m msmm.evaluate --model=MS-CNN                 a row of Table I
python -m msmm.evaluate --method=warp                  a baseline of Tables III and IV
python -m msmm.evaluate --method=csra --quantity=best     a modern head, with a counting rule
python -m msmm.evaluate --quantity=best                the counting rule that held-out images choose
python -m msmm.evaluate --engine=auto                  the finished model, run as by msmm.annotate
python -m msmm.evaluate --joint                        the model that stage joint trained
python -m msmm.evaluate --dataset=my_photos --csv=annotations.csv --sheet=annotations.png

Settings are those that the stages were trained with, unless a flag changes them.
"""

import csv

from absl import flags

from msmm import run_flags
from msmm.configs.baselines import baseline_implementations
from msmm.configs.modern import head_methods
from msmm.core import command_line, files
from msmm.core.errors import UserError
from msmm.inference import engines
from msmm.quantities.registry import BEST, COUNTING_RULES
from msmm.training.stage_table import JOINT, STAGES
from msmm.training.table_rows import COMPLETE, TABLE_ROWS, add_counter

_MODEL = flags.DEFINE_enum("model", COMPLETE, TABLE_ROWS, "Which row of Table I.")
_METHOD = flags.DEFINE_enum(
    "method", None, [*baseline_implementations(), *head_methods()], "A baseline instead."
)
_JOINT = flags.DEFINE_boolean("joint", False, "The rows of Table I, except CNN, of the model of stage joint.")
_QUANTITY = flags.DEFINE_enum(
    "quantity",
    None,
    [*COUNTING_RULES, BEST],
    "The counting rule; fitted on held-out images. [as in the paper's row]",
)
_ENGINE = flags.DEFINE_enum(
    "engine",
    None,
    [engines.AUTO, *engines.ENGINES],
    "Measure the finished model run by this engine. [trained parts, in float32]",
)
_ENGINE_PRECISION = flags.DEFINE_enum(
    "engine_precision", "float32", engines.PRECISIONS, "The engine's precision."
)
_SPLIT = flags.DEFINE_string("split", "test", "Which split.")
_CSV = flags.DEFINE_string("csv", None, "Also write image id, chosen labels and true labels to this file.")
_SHEET = flags.DEFINE_string("sheet", None, "Also draw the first images with their labels to this PNG file.")
run_flags.define_run_flags()
run_flags.define_setting_flags()


def main() -> None:
    run = run_flags.open_run()
    from msmm.training import baseline_tasks, head_predictions, table_predictions

    method, row, counting_rule = _METHOD.value, TABLE_ROWS[_MODEL.value], _QUANTITY.value
    head = method if method in head_methods() else None
    if counting_rule and not head:
        if method or row.counter == "truth" or row.scorer == "cnn_head":
            name = f"--method={method}" if method else f"--model={_MODEL.value!r}"
            raise UserError(
                f"--quantity needs a model with a regressor, as MS-CNN or MS-CNN+Tags, not {name}"
            )
        row = add_counter(row)
    if _ENGINE.value and (method or _MODEL.value != COMPLETE):
        raise UserError(f"--engine runs the finished model, which is --model={COMPLETE}")
    needed: tuple = (method,) if method else row.stages
    if _JOINT.value:
        if method or row.scorer == "cnn_head":
            raise UserError("--joint has the rows of Table I but CNN, and no compared methods")
        needed, run = (JOINT,), run.with_joint_parts()
    for stage in needed:
        if not run.stage_record(stage):
            flag = "method" if method else "stage"
            raise UserError(
                f"{run.directory} has no finished {flag} {stage}: python -m msmm.train --{flag}={stage}"
            )
    if counting_rule and head:
        run.finished_record(head_predictions.counting_stage(run, head))
    if head or not (method or _JOINT.value):  # with the stages that they build on
        finished = (stage for stage in STAGES if stage != JOINT and run.stage_record(stage))
        needed = (*finished, *[head] * bool(head))
    run = run.with_recorded_settings(needed, run_flags.given_settings())
    truth = run.split(_SPLIT.value)
    if _ENGINE.value:
        chosen, figures = _measure_engine(run, truth, counting_rule)
    elif head and counting_rule:
        chosen, figures = head_predictions.measure_head(run, head, counting_rule, _SPLIT.value)
    elif method:
        chosen, figures = baseline_tasks.measure_baseline(run, method, _SPLIT.value)
    else:
        chosen, figures = table_predictions.measure_row(run, row, _SPLIT.value, counting_rule)
    name = (method or _MODEL.value) + (f", quantity {counting_rule}" if counting_rule else "")
    split = f"{run.dataset.name}/{_SPLIT.value}"
    print(f"{name} on {split}, {len(chosen)} images, seed {run.seed}")
    for name, value in figures.items():
        print(f"{name:>24}  {value:.2f}" if isinstance(value, float) else f"{name:>24}  {value}")
    if _CSV.value:
        _write_csv(_CSV.value, run, truth, chosen)
    if _SHEET.value:
        _write_sheet(_SHEET.value, run, truth, chosen)


def _measure_engine(run, truth, counting_rule: str | None):
    """Returns the labels that an engine chooses with the finished model, bool [N, C], and the figures."""
    import numpy as np

    from msmm.inference.agreement import count_borderline
    from msmm.scoring.borderline import BFLOAT16_ROUNDING, ROUNDING
    from msmm.scoring.metrics import annotation_metrics, quantity_metrics
    from msmm.scoring.ranking_metrics import ranking_metrics

    model = engines.load(run.model_directory, str(_ENGINE.value), _ENGINE_PRECISION.value)
    outputs: list = []
    tags = [_names(run.dataset.tags, row) for row in truth.tags]
    for images in run.images(_SPLIT.value).ordered(32):
        batch_tags = tags[len(outputs) : len(outputs) + len(images)]
        outputs += model.annotate(images, batch_tags, counting_rule or "regression")
    chosen = np.array([np.isin(run.dataset.labels, output.labels) for output in outputs])
    counts = chosen.sum(axis=1) if counting_rule else np.array([output.quantity for output in outputs])
    probabilities = np.stack([output.probabilities for output in outputs])
    figures = annotation_metrics(truth.labels, chosen) | ranking_metrics(truth.labels, probabilities)
    figures |= quantity_metrics(truth.counts, counts)
    tolerance = BFLOAT16_ROUNDING if _ENGINE_PRECISION.value == "bfloat16" else ROUNDING
    borderline = count_borderline(model, outputs, tags, counting_rule or "regression", tolerance)
    return chosen, figures | {"labels on the border": borderline}


def _write_csv(path: str, run, truth, chosen) -> None:
    from msmm.photos.annotation_lines import no_formula

    with files.atomic_write(path) as partial, open(partial, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image_id", "labels", "ground_truth"])
        for image_id, *rows in zip(truth.ids, chosen, truth.labels, strict=True):
            cells = [image_id, *(";".join(_names(run.dataset.labels, row)) for row in rows)]
            writer.writerow([no_formula(cell) for cell in cells])
    print(f"wrote {path}")


def _names(vocabulary, row) -> list[str]:
    """Returns the names of a vocabulary that a row [C] bool contains."""
    return [vocabulary[i] for i in row.nonzero()[0]]


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
