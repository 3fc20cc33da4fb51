"""Trainings that several tests compare with."""

import shutil

import pytest

from msmm.training.loop import fit_task
from tests.msmm.training.common import read_weights
from tests.msmm.training.toy_task import SETTINGS


@pytest.fixture(scope="module")
def train_uninterrupted(tmp_path_factory):
    """Returns a function (name, task, config) -> (weights, progress) that trains once for each name."""
    trained = {}

    def train(name, task, config):
        if name not in trained:
            model, _, progress = fit_task(task, config, tmp_path_factory.mktemp("uninterrupted"), SETTINGS)
            trained[name] = read_weights(model), progress
        return trained[name]

    return train


@pytest.fixture
def copied_run(trained_run, make_run):
    """A separate run in which every stage has finished."""
    run = make_run()
    shutil.copytree(trained_run.workdir, run.workdir, dirs_exist_ok=True)
    return run
