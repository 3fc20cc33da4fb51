"""Runs experiments.review_curve as a process on a run with finished stages."""

import shutil

import pytest

from tests.msmm.core.command_line_test import refused
from tests.msmm.core.command_line_test import run_with_tensorflow as run


@pytest.mark.slow
def test_the_curve_of_a_run_is_written(trained_run, data_dir, tmp_path):
    (tmp_path / "data").symlink_to(data_dir)
    shutil.copytree(trained_run.workdir, tmp_path / "runs" / "scenes")
    result = run(
        "experiments.review_curve", "--labelled=20", "--corrections=30,10", "--draws=2", cwd=tmp_path
    )
    assert result.returncode == 0, result.stderr
    folder = tmp_path / "runs/scenes/review_curve"
    assert {path.name for path in folder.iterdir()} >= {"review_curve.csv", "review_curve.svg"}
    text = (folder / "review_curve.md").read_text()
    assert "10 corrections, least sure first over no corrections" in text and "20 labelled of" in text


def test_malformed_corrections_are_refused(tmp_path):
    line = refused(run("experiments.review_curve", "--corrections=50,many", cwd=tmp_path))
    assert "expected --corrections as 50,100,200. Received: '50,many'" in line
