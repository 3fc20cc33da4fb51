"""Runs experiments.image_sizes as a process on a run with finished stages."""

import shutil

import pytest

from tests.msmm.core.command_line_test import refused
from tests.msmm.core.command_line_test import run_with_tensorflow as run


@pytest.mark.slow
def test_the_size_of_the_training_has_the_figures_of_the_stage(trained_run, data_dir, tmp_path):
    (tmp_path / "data").symlink_to(data_dir)
    shutil.copytree(trained_run.workdir, tmp_path / "runs" / "scenes")
    size = trained_run.config.image_size
    result = run("experiments.image_sizes", f"--sizes={size},{2 * size}", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    lines = [line for line in result.stdout.splitlines() if line.startswith("|")]
    rows = {cells[0]: cells[1:] for cells in ([c.strip() for c in x.strip("|").split("|")] for x in lines)}
    figures = trained_run.finished_record("finetune")["held-out"]
    assert rows[str(size)][:2] == [f"{figures['mAP']:.1f}", f"{figures['H-F1']:.1f}"]
    assert rows[str(2 * size)] != rows[str(size)]


def test_malformed_sizes_are_refused(tmp_path):
    line = refused(run("experiments.image_sizes", "--sizes=224,many", cwd=tmp_path))
    assert "expected --sizes of whole numbers from 32. Received: 224,many" in line
