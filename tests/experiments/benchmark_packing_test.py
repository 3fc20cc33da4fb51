"""Runs the packing benchmark on a few images."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.tfrecords_tools.packing.near_duplicates_test import drawing


def run_benchmark(*arguments):
    command = [sys.executable, "-m", "experiments.benchmark_packing", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.slow
def test_packing_benchmark_times_every_method_and_removes_its_files(tmp_path):
    for number in range(3):
        drawing(number).save(tmp_path / f"{number}.jpg")
    (tmp_path / "work").mkdir()
    result = run_benchmark(
        f"--images={tmp_path}",
        "--num_images=20",
        "--resize=60",
        "--repeats=1",
        f"--folder={tmp_path / 'work'}",
    )
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].startswith("20 images (3 different files)")
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[4:]]
    assert [row[0] for row in cells] == [
        "copy",
        "decode, resize, encode in a loop",
        "pack, verbatim",
        "pack, --resize=60",
    ]
    speeds = [float(row[1].replace(",", "")) for row in cells]
    for speed, row in zip(speeds, cells, strict=True):
        assert float(row[3]) == pytest.approx(speed / speeds[1], rel=0.05)
    assert list((tmp_path / "work").iterdir()) == []


@pytest.mark.slow
def test_packing_benchmark_refuses_a_folder_without_photographs(tmp_path):
    result = run_benchmark(f"--images={tmp_path}")
    assert result.returncode == 2
    assert "found none in --images" in result.stderr
