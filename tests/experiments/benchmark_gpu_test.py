import os
import subprocess
import sys

import pytest

from experiments.benchmarks import schedule
from msmm.configs.base import Config
from tests.architecture_test import SOURCE, imports
from tests.conftest import ROOT


def test_images_to_process_equal_a_manual_calculation():
    images = schedule.images_to_process(Config())
    training = 94_570 - 5_000
    assert images["visual"] == 20 * training and images["quantity_visual"] == 30 * training
    # 28 evaluations on images, 500 batches of 32 after each of 20 epochs, and both splits once.
    assert images["features"] == 28 * 5_000 + 20 * 16_000 + 149_905
    speed = dict.fromkeys(images, 1000.0)
    minutes = sum(images.values()) / 1000 / 60
    assert f": {minutes:,.1f} minutes (finetune 11.9, " in schedule.describe_schedule(speed, "jax")
    del speed["visual"], speed["quantity"]
    assert "not computed without visual, quantity" in schedule.describe_schedule(speed, "jax")


def test_gpu_benchmark_imports_no_tensorflow():
    imported, pending = set(), {"experiments.benchmark_gpu"}
    while pending:
        module = pending.pop()
        imported.add(module)
        if module != "msmm.core.command_line":  # some of its functions import TensorFlow for other commands
            pending |= imports(SOURCE[module]) - imported
    assert {"experiments.benchmarks.gpu_jobs", "msmm.models.multi_scale"} <= imported
    for module in imported - {"msmm.core.command_line"}:
        lines = SOURCE[module].read_text().splitlines()
        assert not [
            line for line in lines if line.strip().startswith(("import tensorflow", "from tensorflow"))
        ]


SMALL = ["--backbone=resnet-1-1-1-1-w4", "--image_size=32", "--batch_size=2", "--steps=1", "--repeats=1"]
SMALL += ["--nocompile", "--matrix_size=64"]


def run_benchmark(tmp_path, *arguments):
    command = [sys.executable, "-m", "experiments.benchmark_gpu", *SMALL, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout, [line for line in result.stdout.splitlines() if line.startswith("| ")][2:]


@pytest.mark.slow
def test_a_limit_of_minutes_begins_with_fine_tuning_and_says_what_was_skipped(tmp_path):
    pytest.importorskip("torch", reason="PyTorch is missing: pip install torch")
    output, rows = run_benchmark(tmp_path, "--minutes=0.001")
    assert len(rows) == 2 and rows[0].startswith("| finetune, ")  # Keras and PyTorch by hand
    assert rows[1].startswith("| finetune, PyTorch by hand")
    skipped = "visual, annotate, features, textual, classifier, quantity, quantity_visual"
    assert f"skipped, as no time was left: {skipped}" in output
    assert "not computed without visual" in output


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_every_gpu_benchmark_job_runs(backend, tmp_path):
    pytest.importorskip(backend)
    pytest.importorskip("torch")  # the plain PyTorch network
    output, rows = run_benchmark(tmp_path, f"--backend={backend}")
    assert len(rows) == 8 + 4  # all jobs, and the jobs on images written without Keras
    assert f"computed, not measured: the whole schedule on NUS-WIDE with {backend}" in output
