"""Training in one process against the paper's stages, at equal budget (beyond the paper).

    python -m experiments.joint                                on scenes
    python -m experiments.joint --seeds=3 --dataset=openclipart_noleak --config=openclipart \\
        --backbone=efficientnet_lite0_imagenet.keras           the trunk frozen in both

Staged is Algorithm 1. Joint is stage joint with as many passes over the images as the staged trunk and fusion
had (stages finetune and visual; visual alone where the trunk is frozen), once as it is and once without
dropout of features and mean of weights. It trains in runs/<dataset>/joint/ and uses finished stages.
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
    from experiments.reporting.report import Table
    from experiments.sections import study

    staged = study.finish(runs)
    rows = [_row("Staged (Algorithm 1)", [_staged(run) for run in runs])]
    for name, fields in CHOICES.items():
        print(f"\n{name}", flush=True)
        rows.append(_row(name, [_joint(run, fields) for run in runs]))
    notes = [
        "H-F1 (%) of each row of Table I, and with the default quantity of `annotate`; accuracy (%) "
        "of the regressor's quantity; passes over the training images of what trains trunk and fusion; "
        "seconds of training, without what is computed once (maps, features)."
    ]
    columns = (*COLUMNS.values(), *AS_ANNOTATE.values(), "quantity accuracy", "passes", "seconds")
    table = Table(f"Measured: one process or stages, {staged.what}", rows, columns, "Training", notes=notes)
    page = staged.report(
        f"Joint training on {staged.run.dataset.name}", [study.Section([table])], command_line.command()
    )
    study.publish(page, runs, "joint_training")


def _row(name: str, seeds: list[dict]):
    from experiments.reporting.report import Row

    return Row(name, seeds)


def _staged(run) -> dict:
    from msmm.training.stage_table import PAPER_STAGES

    seconds = sum(run.stage_record(stage)["seconds"] for stage in PAPER_STAGES)
    return _figures(run) | {"passes": _passes(run), "seconds": seconds}


def _joint(run, fields: dict) -> dict:
    """Trains stage joint for as many passes as the run's stages had, beside it, and measures its model."""
    from msmm.configs import replace_flat
    from msmm.training import frozen_features
    from msmm.training.run import Run
    from msmm.training.stages import adopt_stages, train

    config = replace_flat(run.config, {"joint_epochs": _passes(run), **fields})
    name = ",".join(f"{field}={value:g}" for field, value in fields.items()) or "as set"
    beside = Run(run.workdir / "joint" / name, run.dataset, config, run.seed, run.features_directory)
    adopt_stages(beside, run)
    train(beside, "joint")
    record = beside.stage_record("joint")
    figures = _figures(beside.with_joint_parts())
    if config.finetune.trunk:
        frozen_features.discard_maps(beside.with_joint_parts())
    return figures | {"passes": len(record["history"]), "seconds": record["seconds"]}


def _passes(run) -> int:
    stages = ("finetune", "visual") if run.config.finetune.trunk else ("visual",)
    return sum(len(run.stage_record(stage)["history"]) for stage in stages)


def _figures(run) -> dict:
    from msmm.quantities.registry import BEST
    from msmm.training.row_table import COMPLETE, TABLE_ROWS
    from msmm.training.table_rows import measure_row

    measured = {name: measure_row(run, TABLE_ROWS[name])[1] for name in COLUMNS}
    found = {column: measured[name]["H-F1"] for name, column in COLUMNS.items()}
    for name, column in AS_ANNOTATE.items():
        found[column] = measure_row(run, TABLE_ROWS[name], counting_rule=BEST)[1]["H-F1"]
    return found | {"quantity accuracy": measured[COMPLETE]["Accuracy"]}


if __name__ == "__main__":
    command_line.run(main)
