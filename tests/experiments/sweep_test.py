"""Runs experiments.sweep as a process on a run with finished stages."""

import csv
import shutil

import numpy as np
import pytest

from experiments.sections import sweeping
from experiments.sections.sweeping import TrainingSplit, Trial, choose_trial, combine
from msmm.configs import replace_flat
from msmm.core.errors import UserError
from msmm.training.run import Run
from tests.conftest import TINY
from tests.msmm.core.command_line_test import refused
from tests.msmm.core.command_line_test import run_with_tensorflow as run


@pytest.fixture
def directory(trained_run, data_dir, tmp_path):
    (tmp_path / "data").symlink_to(data_dir)
    shutil.copytree(trained_run.workdir, tmp_path / "runs" / "scenes")
    return tmp_path


def sweep(directory, *arguments):
    settings = [f"--{name}={value}" for name, value in TINY.items()]
    return run("experiments.sweep", *settings, *arguments, cwd=directory)


@pytest.mark.slow
def test_sweep_chooses_settings_of_a_baseline_on_held_out_images(directory, trained_run):
    arguments = ["--of=tag_neighbour", "--learning_rate=1e-2,1e-4", "--epochs=1"]
    result = sweep(directory, *arguments)
    assert result.returncode == 0, result.stderr
    assert "finetune: finished earlier" in result.stdout and "finetune: epoch" not in result.stdout
    folder = directory / "runs/scenes/sweep/tag_neighbour"
    records = {}
    for value, name in ((1e-2, "0.01"), (1e-4, "0.0001")):
        settings = {"tag_neighbour_epochs": 1, "tag_neighbour_learning_rate": value}
        config = replace_flat(trained_run.config, settings)
        trial = Run(folder / f"tag_neighbour_learning_rate={name}", trained_run.dataset, config)
        records[name] = trial.stage_record("tag_neighbour")
    with open(directory / "runs/scenes/sweep_tag_neighbour/sweep_tag_neighbour.csv", newline="") as file:
        rows = {row["row"].removesuffix(" (as set)"): row for row in csv.DictReader(file)}
    for name, record in records.items():
        row = rows[f"tag_neighbour_learning_rate={name}"]
        assert float(row["H-F1"]) == record["held-out"]["H-F1"]
        assert float(row["loss"]) == record["held-out"]["loss"]
    best = max(records, key=lambda name: records[name]["held-out"]["H-F1"])
    assert f"Chosen: --tag_neighbour_learning_rate={best}, the highest mean H-F1" in result.stdout
    assert not (directory / "runs/scenes/seed0/tag_neighbour").exists(), (
        "a sweep does not train the run itself"
    )

    again = sweep(directory, *arguments)
    assert again.returncode == 0 and "epoch 1/" not in again.stdout, "all trials are finished"


def test_invalid_sweeps_are_refused_in_one_line(tmp_path):
    for arguments, message in (
        (["--of=ria", "--learning_rate=0.1"], "expected a setting with several values"),
        (["--of=ria", "--learning_rate=0.1,high"], "expected --ria_learning_rate as values of type float"),
        (["--of=ria", "--pool=all,train"], "expected a setting of ria, one of beam, epochs"),
        (["--of=riia", "--learning_rate=0.1,0.2"], "riia"),
        (["--of=ria", "--flip=yes,no"], "expected --flip as values of type bool"),
    ):
        assert message in refused(run("experiments.sweep", *arguments, cwd=tmp_path))


def test_training_split_view_refuses_test_images(dataset):
    view = TrainingSplit.of(dataset)
    assert view.splits == ("train",) and view.fingerprint == dataset.fingerprint
    assert view.num_examples("train") == dataset.num_examples("train")
    ids, _, labels = view.annotations("train")
    np.testing.assert_array_equal(labels, dataset.annotations("train")[2])
    assert len(ids) == len(labels)
    for read in (view.read, view.read_images, view.annotations, view.num_examples):
        with pytest.raises(RuntimeError, match="a sweep reads no test images"):
            read("test")


def make_trial(value, *h_f1, loss=1.0, fallbacks=()):
    records = [{"held-out": {"loss": loss, "H-F1": v}, "fallbacks": list(fallbacks)} for v in h_f1]
    return Trial({"ria_learning_rate": value}, records, False)


def test_trial_with_the_best_mean_over_seeds_is_chosen():
    trials = [make_trial(1e-4, 40.0, 44.0, loss=2.0), make_trial(1e-3, 50.0, 30.0, loss=1.0)]
    assert choose_trial(trials, "H-F1") is trials[0]
    assert choose_trial(trials, "loss") is trials[1]
    diverged = make_trial(1e-2, 90.0, 90.0, fallbacks=["loss was not finite at learning rate 0.01"])
    assert choose_trial([diverged, *trials], "H-F1") is trials[0]
    assert choose_trial([diverged], "H-F1") is diverged
    with pytest.raises(UserError, match="expected --by of loss, H-F1"):
        choose_trial(trials, "mAP")


def test_grid_combines_all_values():
    grid = {"a": [1, 2], "b": ["x", "y"]}
    assert combine(grid) == [{"a": a, "b": b} for a in (1, 2) for b in ("x", "y")]


def test_lead_of_the_best_trial_is_reported_with_its_spread_over_seeds():
    trials = [make_trial(1e-4, 40.0, 44.0), make_trial(1e-3, 41.0, 39.0), make_trial(1e-2, 1.0, 1.0)]
    (note,) = sweeping._spread_notes(trials, trials[0], "H-F1")
    assert note == "It is ahead of the next, ria_learning_rate=0.001, by 2 ± 4.24 over seeds."
