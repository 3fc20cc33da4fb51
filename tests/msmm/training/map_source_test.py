"""Methods on maps train on a frozen trunk, from cached maps or from images, with tags and without."""

import gc
import os
import pathlib
import shutil

import keras
import numpy as np
import pytest

from msmm.baselines.loading import load_heads
from msmm.configs import replace_flat
from msmm.configs.scenes import Config
from msmm.core.errors import UserError
from msmm.scoring.metrics import annotation_metrics
from msmm.scoring.predictions import Predictions, choose_labels
from msmm.training import baseline_tasks, frozen_features, model_parts, stages, task_building
from msmm.training.run import Run
from tests.conftest import TINY

TINY_64 = {**TINY, "image_size": 64}
SMALL = {"query2label_width": 16, "query2label_hidden": 32}


@pytest.fixture(scope="module")
def trunk(dataset, tmp_path_factory):
    """A work directory with a trained trunk, whose M_5 has 2 × 2 places, and with stage textual."""
    run = Run(tmp_path_factory.mktemp("trunk"), dataset, replace_flat(Config(), TINY_64))
    for stage in ("finetune", "textual"):
        stages.train(run, stage)
    return run.workdir


@pytest.fixture
def make_run(trunk, dataset, tmp_path):
    """Returns a function that makes runs with that trunk."""

    def make(workdir="run", **settings):
        if not (tmp_path / workdir).exists():
            shutil.copytree(trunk, tmp_path / workdir)
        return Run(tmp_path / workdir, dataset, replace_flat(Config(), TINY_64 | settings))

    return make


@pytest.fixture
def run(make_run):
    """A run with heads of few epochs; the trunk is trained with the first of them."""
    epochs = {f"{name}_epochs": 2 for name in ("csra", "ml_decoder", "query2label")}
    return make_run(**epochs, **SMALL, csra_learning_rate=0.01)


QUICK = ("csra+tags",)


@pytest.mark.parametrize(
    "name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in load_heads()]
)
def test_a_head_trains_on_maps_and_is_measured(run, name):
    stages.train(run, name)
    record = run.stage_record(name)
    with_tags = name.endswith("+tags")
    assert set(record["inputs"]) == {"backbone", "cnn_head"} | (
        {"textual", "textual_head"} if with_tags else set()
    )
    head = name.removesuffix("+tags")
    settings = record["settings"]
    assert settings[f"{head}_epochs"] == 2
    assert not {"asymmetric_shift", f"{head}_trunk"} & settings.keys()  # not before these options existed
    predictions = baseline_tasks.predict_baseline(run, name)
    assert predictions.scores.shape == run.split("test").labels.shape
    figures = baseline_tasks.measure_baseline(run, name)[1]
    assert {"mAP", "I-F1 at p 0.5", "H-F1"} <= figures.keys()
    held_out = run.held_out_rows
    reloaded = baseline_tasks.predict_baseline(run, name, "train", held_out)
    truth = run.split("train").labels[held_out]
    h_f1 = annotation_metrics(truth, choose_labels(Predictions(reloaded.scores), k=run.config.k))["H-F1"]
    assert h_f1 == pytest.approx(record["held-out"]["H-F1"], abs=1e-6)


def test_cached_maps_and_images_give_the_same_training_and_freeze_the_trunk(make_run):
    results = []
    for workdir, gib in (("cached", 8.0), ("images", 0.0)):
        run = make_run(workdir, csra_epochs=2, csra_learning_rate=0.01, maps_cache_gib=gib)
        trunk = model_parts.trained_hash(run, "backbone")
        stages.train(run, "csra+tags")
        assert model_parts.weights_hash(model_parts.load_part(run, "backbone")) == trunk
        assert list(run.stage_record("csra+tags")["weights"]) == ["csra+tags"]
        assert bool(list(run.features_directory.glob("maps-*"))) == (gib > 0)
        scores = baseline_tasks.predict_baseline(run, "csra+tags").scores
        results.append((run.stage_record("csra+tags")["history"][0]["train"]["loss"], scores))
    (cached_loss, cached), (loss, scores) = results
    assert cached_loss == pytest.approx(loss, rel=1e-3)  # maps are cached in float16
    np.testing.assert_allclose(cached, scores, atol=2e-2)


@pytest.mark.slow
def test_a_head_reads_m_5_of_all_maps_where_these_are_cached(run):
    stages.train(run, "visual")
    whole = frozen_features.cached_maps(run, "train")
    caches = set(run.features_directory.iterdir())
    (last,) = frozen_features.cached_maps(run, "train", num_maps=1)
    assert set(run.features_directory.iterdir()) == caches
    np.testing.assert_array_equal(last[:], whole[-1][:])
    # A setting that allows one map, not five, reads none of the five: both splits decide alike.
    images = 2 * sum(map(run.dataset.num_examples, run.dataset.splits))  # mirrored ones too
    gib = images * last[:1].nbytes / 2**30
    fewer = Run(run.workdir, run.dataset, replace_flat(run.config, {"maps_cache_gib": gib}))
    (again,) = frozen_features.cached_maps(fewer, "train", num_maps=1)
    np.testing.assert_array_equal(again[:], last[:])
    frozen_features.discard_maps(run)
    (alone,) = frozen_features.cached_maps(run, "train", num_maps=1)
    np.testing.assert_array_equal(alone[:], last[:])
    directory = next(run.features_directory.glob("maps-train-*"))
    assert [path.name for path in directory.glob("*.npy")] == ["0.npy"]
    frozen_features.discard_maps(run)
    assert not list(run.features_directory.glob("maps-*"))


@pytest.mark.skipif(
    not pathlib.Path("/proc/self/fd").exists(), reason="the system lists no open files in /proc"
)
def test_discarded_maps_are_closed_and_leave_the_disk(make_run):
    run = make_run(csra_epochs=1)
    stages.train(run, "csra+tags")
    baseline_tasks.predict_baseline(run, "csra+tags")
    frozen_features.discard_maps(run)
    gc.collect()
    targets = [os.readlink(path) for path in pathlib.Path("/proc/self/fd").iterdir() if path.is_symlink()]
    own = [target for target in targets if target.startswith(str(run.features_directory))]
    assert not [target for target in own if "/maps-" in target and target.endswith("(deleted)")]


def test_training_maps_are_mirrored_as_in_stage_visual(make_run):
    run = make_run(flip=True)
    method = baseline_tasks.create_baseline(run, "csra")
    source = baseline_tasks.MapSource(run, "csra", method)
    views = task_building.load_map_views(run, 1)
    assert len(views) == 2
    for inputs, rows in source.batches(3, 1, np.random.default_rng(0)):
        (expected,) = task_building.take_maps(views, rows, 3, 1)
        np.testing.assert_array_equal(inputs[0], expected)
        plain = views[0][0][rows].astype(np.float32)
        assert (expected != plain).any() and any((e == p).all() for e, p in zip(expected, plain, strict=True))


def test_the_settings_of_the_asymmetric_loss_are_recorded_where_it_is_used(make_run):
    run = make_run(csra_epochs=1, csra_loss="asymmetric", asymmetric_shift=0.1)
    stages.train(run, "csra")
    assert run.stage_record("csra")["settings"]["asymmetric_shift"] == 0.1
    with pytest.raises(UserError, match=r"asymmetric_shift=0\.1, and now asymmetric_shift=0\.2"):
        stages.train(make_run(csra_epochs=1, csra_loss="asymmetric", asymmetric_shift=0.2), "csra")


TRAINED = {
    "csra_trunk": "trained",
    "csra_learning_rate": 1e-3,
    "csra_epochs": 3,
    "finetune_crop": 0.6,
    "finetune_randaugment": 3,
    "finetune_cutout": 0.3,
}


@pytest.mark.parametrize("name", [pytest.param("csra", marks=pytest.mark.slow), "csra+tags"])
def test_a_head_trains_a_trunk_of_its_own(make_run, name):
    run = make_run(**TRAINED)
    before = model_parts.trained_hash(run, "backbone")
    stages.train(run, name)
    record = run.stage_record(name)
    losses = [epoch["train"]["loss"] for epoch in record["history"]]
    assert losses[-1] < losses[0]
    assert list(record["weights"]) == [f"{name}_backbone", name]
    # No other stage's trunk is read or changed.
    assert set(record["inputs"]) == ({"textual", "textual_head"} if name.endswith("+tags") else set())
    assert model_parts.trained_hash(run, "backbone") == before != record["weights"][f"{name}_backbone"]
    assert record["settings"]["finetune_randaugment"] == 3 and "bn_batches" in record["settings"]
    assert record["settings"]["csra_trunk"] == "trained"
    assert not list(run.features_directory.glob("maps-*"))

    # Held-out images predicted by the saved trunk and head give the figures of the training.
    held_out = run.held_out_rows
    reloaded = baseline_tasks.predict_baseline(run, name, "train", held_out)
    truth = run.split("train").labels[held_out]
    h_f1 = annotation_metrics(truth, choose_labels(Predictions(reloaded.scores), k=run.config.k))["H-F1"]
    assert h_f1 == pytest.approx(record["held-out"]["H-F1"], abs=1e-6)
    with pytest.raises(UserError, match="finetune_cutout"):
        stages.train(make_run(**TRAINED | {"finetune_cutout": 0.5}), name)


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{"csra_epochs": 3}, TRAINED], ids=["frozen", "trained"])
def test_an_interrupted_head_ends_with_the_same_weights(make_run, settings):
    whole, part = make_run("whole", **settings), make_run("part", **settings)
    stages.train(whole, "csra")

    class Killed(BaseException):
        pass

    class Kill(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise Killed

    with pytest.raises(Killed):
        stages.train(part, "csra", callbacks=[Kill()])
    stages.train(part, "csra")
    assert part.stage_record("csra")["weights"] == whole.stage_record("csra")["weights"]
