"""Compares training in one process with the paper's stages, at equal budget (beyond the paper).

    python -m experiments.joint                                on scenes
    python -m experiments.joint --seeds=3 --dataset=openclipart_noleak --config=openclipart \\
        --backbone=efficientnet_lite0_imagenet.keras           the trunk frozen in both

Staged is Algorithm 1. Joint is stage joint with as many passes over the images as stages finetune and visual
had together; where the trunk is frozen, as many as visual. It is trained twice: with its default settings,
and without dropout of features and moving average of weights. It trains in runs/<dataset>/joint/ and uses
finished stages.
"""

from msmm import run_flags
from msmm.core import command_line

run_flags.define_experiment_flags()

COLUMNS = {
    "Upper bound": "Upper bound",
    "MS-CNN+Tags+LQP": "MS-CNN +Tags+LQP",
    "MS-CNN+LQP": "MS-CNN +LQP",
    "MS-CNN+Tags": "MS-CNN +Tags",
    "MS-CNN": "MS-CNN",
}
AS_ANNOTATE = {"MS-CNN+Tags+LQP": "tags, default quantity", "MS-CNN+LQP": "pixels, default quantity"}
CHOICES = {"Joint": {}, "Joint, no dropout, last weights": {"joint_dropout": 0.0, "joint_ema": 0.0}}


def main() -> None:
    runs = run_flags.open_runs()
    from experiments.reporting.table import Row, Table
    from experiments.sections.study import Section, train_and_measure

    staged = train_and_measure(runs)
    rows = [Row("Staged (Algorithm 1)", [_measure_staged(run) for run in runs])]
    for name, fields in CHOICES.items():
        print(f"\n{name}", flush=True)
        rows.append(Row(name, [_train_joint(run, fields) for run in runs]))
    notes = [
        "H-F1 (%) of each row of Table I, and with the default quantity of `annotate`. Quantity accuracy (%) "
        "is that of the regressor. Passes are those of trunk and fusion over the training images. Seconds "
        "are of training, without maps and features, which are computed once."
    ]
    columns = (*COLUMNS.values(), *AS_ANNOTATE.values(), "quantity accuracy", "passes", "seconds")
    heading = f"Measured: one process or stages, {staged.description}"
    table = Table(heading, rows, columns, "Training", notes=notes)
    title = f"Joint training on {staged.run.dataset.name}"
    page = staged.make_report(title, [Section([table])], command_line.command())
    staged.publish(page, "joint_training")


def _measure_staged(run) -> dict:
    """Measures the model of the stages of a run."""
    from msmm.training.stage_table import PAPER_STAGES

    seconds = sum(run.stage_record(stage)["seconds"] for stage in PAPER_STAGES)
    return _measure_rows(run) | {"passes": _staged_passes(run), "seconds": seconds}


def _train_joint(run, fields: dict) -> dict:
    """Trains stage joint for as many passes as the run's stages had, and measures its model."""
    from msmm.configs import replace_flat
    from msmm.training import frozen_features
    from msmm.training.run import Run
    from msmm.training.stages import adopt_stages, train

    config = replace_flat(run.config, {"joint_epochs": _staged_passes(run), **fields})
    name = ",".join(f"{field}={value:g}" for field, value in fields.items()) or "as set"
    other = Run(run.workdir / "joint" / name, run.dataset, config, run.seed, run.features_directory)
    adopt_stages(other, run)
    train(other, "joint")
    record = other.stage_record("joint")
    row = _measure_rows(other.with_joint_parts())
    if config.finetune.trunk:
        frozen_features.discard_maps(other.with_joint_parts())
    return row | {"passes": len(record["history"]), "seconds": record["seconds"]}


def _staged_passes(run) -> int:
    """Returns the passes over the training images by stages finetune and visual."""
    from msmm.training.stage_table import ON_PIXELS, PAPER_STAGES

    stages = [stage for stage in PAPER_STAGES if stage in ON_PIXELS]
    if not run.config.finetune.trunk:
        stages.remove("finetune")
    return sum(len(run.stage_record(stage)["history"]) for stage in stages)


def _measure_rows(run) -> dict:
    """Returns H-F1 of the rows of Table I and of the defaults of `annotate`, column -> percent."""
    from msmm.quantities.registry import BEST
    from msmm.training.table_predictions import measure_row
    from msmm.training.table_rows import COMPLETE, TABLE_ROWS

    measured = {name: measure_row(run, TABLE_ROWS[name])[1] for name in COLUMNS}
    values = {column: measured[name]["H-F1"] for name, column in COLUMNS.items()}
    for name, column in AS_ANNOTATE.items():
        values[column] = measure_row(run, TABLE_ROWS[name], counting_rule=BEST)[1]["H-F1"]
    return values | {"quantity accuracy": measured[COMPLETE]["Accuracy"]}


if __name__ == "__main__":
    command_line.run(main)
