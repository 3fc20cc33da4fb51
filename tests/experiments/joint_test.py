"""Runs experiments.joint as a process on a run with finished stages."""

import csv
import shutil

import pytest

from msmm.configs import replace_flat
from msmm.training import table_predictions
from msmm.training.run import Run
from msmm.training.table_rows import COMPLETE, TABLE_ROWS
from tests.conftest import TINY
from tests.msmm.core.command_line_test import run_with_tensorflow as run


@pytest.mark.slow
def test_joint_training_stays_within_the_passes_of_the_stages(trained_run, data_dir, tmp_path):
    (tmp_path / "data").symlink_to(data_dir)
    shutil.copytree(trained_run.workdir, tmp_path / "runs" / "scenes")
    settings = [f"--{name}={value}" for name, value in TINY.items()]
    result = run("experiments.joint", *settings, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    passes = sum(len(trained_run.stage_record(stage)["history"]) for stage in ("finetune", "visual"))
    with open(tmp_path / "runs/scenes/joint_training/joint_training.csv", newline="") as file:
        rows = {row["row"]: row for row in csv.DictReader(file) if row["table"].startswith("Measured")}
    staged, *joint = rows.values()
    assert int(float(staged["passes"])) == passes and len(joint) == 2
    assert all(0 < float(row["passes"]) <= passes for row in joint)
    measured = table_predictions.measure_row(trained_run, TABLE_ROWS[COMPLETE], counting_rule="best")[1]
    assert float(staged["tags, default quantity"]) == pytest.approx(measured["H-F1"], abs=0.01)
    plain = tmp_path / "runs/scenes/joint/joint_dropout=0,joint_ema=0"
    joint_settings = {"joint_epochs": passes, "joint_dropout": 0.0, "joint_ema": 0.0}
    config = replace_flat(trained_run.config, joint_settings)
    assert Run(plain, trained_run.dataset, config).stage_record("joint")
    again = run("experiments.joint", *settings, cwd=tmp_path)
    assert again.returncode == 0 and "joint: finished earlier" in again.stdout
    assert "epoch 1/" not in again.stdout
