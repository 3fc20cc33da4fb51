import subprocess
import sys

import pytest

from experiments.scaling import METHODS, Case, cases
from msmm import methods
from tests.conftest import ROOT
from tests.experiments.benchmark_training_test import cells


def test_one_size_is_changed_at_a_time():
    found = cases(Case("sinn", 10, 5, 7, 32), [20, 40], [], [8])
    assert [(case.images, case.classes, case.tags) for case in found] == [
        (10, 5, 7),
        (20, 5, 7),
        (40, 5, 7),
        (10, 5, 8),
    ]


def test_every_method_on_features_can_be_measured():
    assert set(METHODS) == {name for name, method in methods.METHODS.items() if method.trunk != "own"}


@pytest.mark.slow
def test_own_memory_does_not_grow_with_the_images_but_by_their_annotations():
    command = [
        sys.executable,
        "-m",
        "experiments.benchmark_scaling",
        "--images=4000,32000",
        "--feature_size=512",
    ]
    command += [f"--of={name}" for name in ("classifier", "sinn")] + ["--steps=5"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    rows = [line.strip("|").split("|") for line in result.stdout.splitlines() if "000 |" in line]
    own = {(row[0].strip(), row[1].strip()): float(row[-1].replace(",", "")) for row in rows}
    assert len(own) == 4 and cells(result.stdout)
    # 28,000 more rows: 1,081 bytes of tags and labels each, 29 MiB; their features would be 109 MiB.
    for name in ("classifier", "sinn"):
        assert own[name, "32,000"] - own[name, "4,000"] < 75
