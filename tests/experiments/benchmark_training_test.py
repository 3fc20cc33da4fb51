import subprocess
import sys

import pytest

from tests.conftest import ROOT


def parse_cells(output: str) -> dict[str, list[str]]:
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in output.splitlines() if "|" in line
    ]
    return {row[0]: row[1:] for row in rows[2:]}


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_training_benchmark_times_every_stage_and_a_plain_fit(precision, tmp_path):
    command = [sys.executable, "-m", "experiments.benchmark_training", "--backbone=resnet-1-1-1-1-w4"]
    command += ["--image_size=32", "--steps=1", "--repeats=1", f"--precision={precision}", "--pytorch="]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    rows = parse_cells(result.stdout)
    assert list(rows) == [
        "plain fit of the whole network",
        "finetune",
        "visual, through the images",
        "visual, on kept maps",
        "classifier, through the images",
        "textual",
        "classifier",
        "quantity",
        "quantity_visual",
    ]
    speed = {name: float(row[0].replace(",", "")) for name, row in rows.items()}
    work = {name: float(row[2]) for name, row in rows.items()}
    for name, row in rows.items():
        plain = speed["plain fit of the whole network"]
        assert float(row[1].replace(",", "")) == pytest.approx(speed[name] / plain, rel=0.02)
    assert work["visual, on kept maps"] < work["visual, through the images"]


@pytest.mark.slow
def test_training_benchmark_times_pytorch_beside_the_stages_and_measures_memory(tmp_path):
    pytest.importorskip("torch", reason="PyTorch is missing: pip install torch")
    command = [sys.executable, "-m", "experiments.benchmark_training", "--backbone=resnet-1-1-1-1-w4"]
    command += [
        "--image_size=32",
        "--steps=1",
        "--repeats=1",
        "--memory",
        "--stages=textual,quantity_visual",
    ]
    result = subprocess.run(
        [*command, "--pytorch=eager", "--precision=bfloat16"], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    rows = parse_cells(result.stdout)
    names = ["plain fit of the whole network", "textual", "quantity_visual"]
    assert list(rows) == [row for name in names for row in (name, f"{name}, PyTorch eager")]
    for name in names:
        ours, theirs = rows[name], rows[f"{name}, PyTorch eager"]
        assert ours[2] == theirs[2] and float(theirs[0].replace(",", "")) > 0
        assert 0 < float(theirs[4].replace(",", "")) < 2000


def test_unknown_mode_of_pytorch_is_refused(tmp_path):
    command = [sys.executable, "-m", "experiments.benchmark_training", "--pytorch=lazy"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 2
    assert "expected --pytorch of eager, compiled. Received: 'lazy'" in result.stderr
