import subprocess
import sys

import pytest

from experiments.benchmarks.scaling import (
    METHODS,
    SHARED,
    Case,
    Cost,
    check_case,
    make_cases,
    table_row,
)
from msmm.baselines import loading
from msmm.core.errors import UserError
from msmm.training import stages
from msmm.training.stage_table import ON_PIXELS, PAPER_HEADS
from tests.conftest import ROOT
from tests.experiments.benchmark_training_test import parse_cells


def test_scaling_cases_change_one_size_at_a_time():
    all_cases = make_cases(
        Case("sinn", 10, 5, 7, 32, workers=1), images=[20, 40], classes=[], tags=[8], workers=[2]
    )
    assert [(case.images, case.classes, case.tags, case.workers) for case in all_cases] == [
        (10, 5, 7, 1),
        (20, 5, 7, 1),
        (40, 5, 7, 1),
        (10, 5, 8, 1),
        (10, 5, 7, 2),
    ]


def test_table_row_combines_the_costs_of_all_workers():
    costs = [Cost(10.0, 9.0, 300.0, 200.0, 1.5), Cost(11.0, 8.0, 400.0, 100.0, 1.5)]
    case = Case("finetune", 1000, 5, 7, 32, workers=2)
    sizes = ["finetune", "1,000", "5", "7", "2"]
    assert table_row(case, costs) == [*sizes, "10.0", "17.0", "10,000", "400", "200", "1.5"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"workers": 0}, "expected 1 or more. Received: --workers=0"),
        ({"workers": 3, "batch_size": 2}, "cannot share batches of 2"),
        ({"workers": 2, "of": "joint"}, "finetune and visual alone"),
        ({"workers": 1, "of": "sinn"}, "finetune and visual alone"),
        ({"workers": 2, "recompute": True}, "single process"),
        ({"workers": 4}, "as many cores, and this process may choose from 2"),
    ],
)
def test_impossible_numbers_of_workers_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        check_case(
            Case(**{"of": "finetune", "images": 9, "classes": 2, "tags": 2, "feature_size": 32, **settings}),
            2,
        )
    check_case(Case("joint", 9, 2, 2, 32), 0)  # without workers no core is selected


def test_shared_stages_are_exactly_the_shareable_tasks(trained_run):
    for name in ON_PIXELS + PAPER_HEADS:
        assert stages.make_task(trained_run, name).data.shareable == (name in SHARED), name


@pytest.mark.slow
def test_two_workers_reach_the_same_loss_as_one():
    command = [sys.executable, "-m", "experiments.benchmark_scaling", "--backbone=resnet-1-1-1-1-w4"]
    command += ["--image_size=32", "--images=100", "--batch_size=16", "--feature_size=32", "--steps=3"]
    command += ["--workers=1,2", "--of=finetune", "--of=visual"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in result.stdout.splitlines()[4:]]
    assert [(row[0], row[4]) for row in rows] == [(of, n) for of in ("finetune", "visual") for n in "12"]
    for one, two in zip(rows[::2], rows[1::2], strict=True):
        assert float(two[-1]) == pytest.approx(float(one[-1]), rel=1e-4)  # statistics per part: 1e-2


def test_scaling_benchmark_covers_every_baseline_whose_steps_train_on_features():
    on_features = {name for name, method in loading.load_baselines().items() if method.trunk != "own"}
    assert set(METHODS) == on_features - {"logistic"}


@pytest.mark.slow
def test_own_memory_grows_by_annotations_but_not_by_features():
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
    own = {(row[0].strip(), row[1].strip()): float(row[-2].replace(",", "")) for row in rows}
    assert len(own) == 4 and parse_cells(result.stdout)
    # 28,000 more rows: 1,081 bytes of tags and labels each, 29 MiB in all; the features would take 109 MiB.
    for name in ("classifier", "sinn"):
        assert own[name, "32,000"] - own[name, "4,000"] < 75
