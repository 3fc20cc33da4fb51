"""Runs the decoding benchmark of the recurrent baselines on a few images."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT


@pytest.mark.slow
def test_decoding_table_has_every_recurrent_baseline_and_beam_width():
    command = [sys.executable, "-m", "experiments.decoding_speed", "--num_images=300", "--num_classes=9"]
    result = subprocess.run([*command, "--feature_size=5"], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].startswith("300 images, 9 classes, features of 5 numbers; ")
    rows = [[cell.strip().replace(",", "") for cell in line.strip("|").split("|")] for line in lines[4:]]
    assert [(name, beam) for name, _, beam, *_ in rows] == [
        (name, beam) for name in ("CNN-RNN [27]", "RIA [26]", "SR-CNN-RNN [24]") for beam in "15"
    ]
    for _, parameters, _, speed, growth, peak in rows:
        assert int(parameters) > 10**6 and int(speed) > 0
        assert 0 <= int(growth) < int(peak)
