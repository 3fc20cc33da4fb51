"""Held-out images change nothing that a baseline counts, or learns in an epoch."""

import shutil

import numpy as np
import pytest

from msmm.baselines.loading import load_baselines
from msmm.configs import replace_flat
from msmm.data.input_pipeline import choose_held_out
from msmm.training import baseline_tasks, stages
from msmm.training.run import Run, Split

# One epoch, and one penalty: of several, held-out images rightly choose.
SETTINGS = {f"{name}_epochs": 1 for name in load_baselines() if name != "logistic"}
SETTINGS |= {"logistic_l2_largest": 0.1, "logistic_l2_smallest": 0.1}

pytestmark = pytest.mark.usefixtures("small_networks")


class RunWithOtherHeldOutImages(Run):
    """A run whose held-out images have every label and every tag."""

    def split(self, name: str) -> Split:
        split = super().split(name)
        if name != "train":
            return split
        labels, tags = split.labels.copy(), split.tags.copy()
        rows = choose_held_out(split.ids, self.config.held_out, self.seed)
        labels[rows] = tags[rows] = True
        return Split(split.ids, tags, labels)


@pytest.fixture
def both_runs(trained_run, tmp_path):
    """A run, and the same with other held-out images, each in a directory of its own."""
    config = replace_flat(trained_run.config, SETTINGS)
    runs = []
    for name, kind in (("plain", Run), ("other", RunWithOtherHeldOutImages)):
        shutil.copytree(trained_run.workdir, tmp_path / name)
        runs.append(kind(tmp_path / name, trained_run.dataset, config))
    labels = [run.split("train").labels for run in runs]
    assert (labels[0] != labels[1]).any(axis=1).sum() == len(runs[0].held_out_rows) == 10
    return runs


QUICK = ("logistic", "tag_neighbour")


@pytest.mark.parametrize(
    "name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in load_baselines()]
)
def test_held_out_images_change_no_weight(both_runs, name):
    for run in both_runs:
        stages.train(run, name)
    plain, other = (run.finished_record(name) for run in both_runs)
    assert plain["weights"] == other["weights"]
    assert plain["history"][0]["train"]["loss"] == other["history"][0]["train"]["loss"]
    assert plain["held-out"] != other["held-out"]


def test_held_out_images_change_no_order_no_relation_and_no_tag_filter(both_runs):
    for name in ("cnn_rnn", "ria", "sr_cnn_rnn"):
        plain, other = (baseline_tasks.create_baseline(run, name) for run in both_runs)
        np.testing.assert_array_equal(plain.order, other.order)
        assert plain.longest == other.longest < len(both_runs[0].dataset.labels)
    np.testing.assert_array_equal(plain.true_tags, other.true_tags)
    masks = [
        [
            layer.masks[sign]
            for layer in baseline_tasks.create_baseline(run, "sinn").build().layers
            if hasattr(layer, "masks")
            for sign in ("positive", "negative")
        ]
        for run in both_runs
    ]
    for ours, theirs in zip(*masks, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("pool", ["all", "train"])
def test_held_out_images_are_nobodys_neighbours(both_runs, pool):
    neighbours = []
    for run in both_runs:
        config = replace_flat(run.config, {"tag_neighbour_pool": pool})
        own = Run(run.workdir, run.dataset, config)
        own.split = run.split
        method = baseline_tasks.create_baseline(own, "tag_neighbour")
        rows = method.pool["train"]
        np.testing.assert_array_equal(rows, run.train_rows)
        assert set(method.pool) == ({"train", "test"} if pool == "all" else {"train"})
        features = np.concatenate([method.features(split)[rows] for split, rows in method.pool.items()])
        positions = method.neighbours["train"][run.held_out_rows].ravel()
        np.testing.assert_array_equal(method._pool_features(positions), features[positions])
        own_places = np.arange(len(run.train_rows))[:, None]
        assert (method.neighbours["train"][run.train_rows] != own_places).all()
        neighbours.append([method.neighbours["train"][run.train_rows], method.neighbours["test"]])
    for plain, other in zip(*neighbours, strict=True):
        np.testing.assert_array_equal(plain, other)
