"""Training on features, maps or tags of one's own: every stage and method that needs no image."""

import numpy as np
import pytest

from msmm.baselines.loading import load_baselines
from msmm.configs import replace_flat
from msmm.configs.base import Config
from msmm.core.errors import UserError
from msmm.data import records
from msmm.quantities.registry import COUNTING_RULES
from msmm.scoring.metrics import annotation_metrics
from msmm.scoring.predictions import Predictions, choose_labels
from msmm.training import (
    baseline_tasks,
    frozen_features,
    stages,
    table_predictions,
    table_rows,
)
from msmm.training.run import Run
from msmm.training.stage_table import paper_stages
from msmm.training.table_rows import COMPLETE
from tests.conftest import TINY
from tfrecords_tools.datasets.arrays import Arrays
from tfrecords_tools.packing import builder

N, C, T, D, MAP = 240, 6, 12, 8, (3, 3, 8)
SETTINGS = {name: value for name, value in TINY.items() if name.startswith(("textual", "batch"))}
SETTINGS |= {f"{stage}_epochs": 12 for stage in ("visual", "textual", "classifier", "quantity")}
SETTINGS |= {"visual_learning_rate": 0.05, "classifier_learning_rate": 0.05, "quantity_learning_rate": 0.001}

pytestmark = pytest.mark.usefixtures("small_networks")


@pytest.fixture(scope="session")
def content():
    """Returns arrays whose features and tags each tell most of the labels."""
    rng = np.random.default_rng(0)
    labels = rng.random((N, C)) < np.linspace(0.15, 0.6, C)
    labels[:, 0] |= ~labels.any(axis=1)
    features = labels @ rng.normal(size=(C, D)) + 0.1 * rng.normal(size=(N, D))
    maps = features[:, None, None] + rng.normal(size=(N, *MAP))
    tags = np.zeros((N, T), bool)
    tags[:, :C] = labels & (rng.random((N, C)) < 0.7)
    tags[:, C:] = rng.random((N, T - C)) < 0.2
    split = np.array(["train"] * 180 + ["test"] * 60)
    return {"labels": labels, "features": features, "maps": maps, "tags": tags, "split": split}


@pytest.fixture
def make_run(content, tmp_path):
    """Returns a function that packs some of the arrays and makes a run on them."""

    def make(*given, **settings):
        name = "_".join(given)
        np.savez(tmp_path / f"{name}.npz", **{k: content[k] for k in ("labels", "split", *given)})
        builder.pack(Arrays, name, tmp_path / "data", arrays=tmp_path / f"{name}.npz", overwrite=True)
        dataset = records.open_dataset(tmp_path / "data", name)
        return Run(tmp_path / "runs" / name, dataset, replace_flat(Config(), SETTINGS | settings))

    return make


SLOW = [pytest.param(given, marks=pytest.mark.slow) for given in (("maps", "tags"), ("features",))]


@pytest.fixture(params=[("features", "tags"), ("tags",), *SLOW], ids="+".join)
def run(request, make_run):
    return make_run(*request.param)


def test_every_stage_and_counting_rule_runs_without_images(run):
    names = paper_stages(run.dataset.arrays)
    on_features = {"visual", "quantity_visual"} if run.dataset.arrays else set()
    assert {*names} == {"textual", "classifier", "quantity"} | on_features
    for name in names:
        stages.train(run, name)
    truth = run.split("test").labels
    by_prior = np.repeat(run.split("train").labels.mean(axis=0, keepdims=True), len(truth), axis=0)
    prior = annotation_metrics(truth, choose_labels(Predictions(by_prior), k=3))["H-F1"]
    rows = table_rows.rows_of(names)
    assert (COMPLETE in rows) and ("CNN" not in rows) and ("MS-CNN" in rows) == bool(on_features)
    for name, row in rows.items():
        figures = table_predictions.measure_row(run, row)[1]
        if name == COMPLETE:
            assert figures["H-F1"] > prior + 5
    for rule in COUNTING_RULES:
        chosen, _ = table_predictions.measure_row(run, rows[COMPLETE], counting_rule=rule)
        assert chosen.shape == truth.shape and chosen.any(axis=1).all()
    assert table_predictions.save_model(run) is None


def test_given_features_are_f_v_and_maps_are_averaged(make_run, content):
    ids = {f"row-{i:07d}": i for i in range(N)}
    for given in (("features", "maps"), ("maps",), ("tags",)):
        run = make_run(*given)
        f_v = frozen_features.visual_features(run, "test")
        order = [ids[image_id] for image_id in run.split("test").ids]
        if "features" in given:
            expected = content["features"][order].astype(np.float32)
        elif "maps" in given:
            expected = content["maps"][order].astype(np.float16).astype(np.float32).mean(axis=(1, 2))
        else:
            expected = np.zeros((60, 1), np.float32)
        np.testing.assert_allclose(f_v, expected, atol=1e-6)
        assert frozen_features.concatenated_features.__name__  # f = [f_v, f_t] reads the same array


QUICK = ("logistic", "softmax", "tag_neighbour")


@pytest.mark.parametrize(
    "name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in load_baselines()]
)
def test_compared_methods_read_given_features(make_run, name):
    run = make_run("features", "tags", **({} if name == "logistic" else {f"{name}_epochs": 2}))
    stages.train(run, name)
    record = run.stage_record(name)
    assert record["inputs"] == {} and "backbone" not in record["settings"]
    predictions = baseline_tasks.predict_baseline(run, name)
    assert predictions.scores.shape == (60, C)
    assert baseline_tasks.measure_baseline(run, name)[0].any(axis=1).all()


@pytest.mark.slow
def test_methods_that_read_tags_run_on_tags_alone(make_run):
    run = make_run("tags", sinn_epochs=8, tag_neighbour_epochs=2, sr_cnn_rnn_epochs=2)
    for name, method in load_baselines().items():
        if method.multi_modal:
            stages.train(run, name)
            assert baseline_tasks.measure_baseline(run, name)[0].any(axis=1).all()
        else:
            with pytest.raises(UserError, match=f"^{name} reads no tags, and 'tags' has tags alone$"):
                stages.train(run, name)


def test_stages_that_need_images_or_features_say_so_in_one_line(make_run):
    run = make_run("tags")
    for stage in ("finetune", "joint"):
        with pytest.raises(
            UserError, match=f"^stage {stage} trains on images, and 'tags' was packed from arrays$"
        ):
            stages.train(run, stage)
    for stage in ("visual", "quantity_visual"):
        with pytest.raises(
            UserError, match=f"^stage {stage} reads features or maps, and 'tags' has tags alone$"
        ):
            stages.train(run, stage)
    with pytest.raises(UserError, match=r"has no images, which this needs$"):
        run.images("train")


def test_modern_heads_read_given_maps(make_run):
    run = make_run("maps", "tags", **{"csra_epochs": 10, "csra_learning_rate": 0.02})
    stages.train(run, "csra+tags")
    assert run.stage_record("csra+tags")["inputs"].keys() == {"textual", "textual_head"}
    figures = baseline_tasks.measure_baseline(run, "csra+tags")[1]
    truth = run.split("test").labels
    assert figures["mAP"] > 100 * truth.mean() + 10
    with pytest.raises(UserError, match=r"need .* GiB of disk: raise --maps_cache_gib, which is 0"):
        frozen_features.cached_maps(make_run("maps", "tags", maps_cache_gib=0.0), "train")
    for given in (("features", "tags"), ("tags",)):
        with pytest.raises(
            UserError, match=rf"csra.tags reads maps, and '{'_'.join(given)}' has {given[0]} alone"
        ):
            stages.train(make_run(*given), "csra+tags")
