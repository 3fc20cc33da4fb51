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
    command += ["--image_size=32", "--steps=1", "--repeats=1", f"--precision={precision}"]
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
