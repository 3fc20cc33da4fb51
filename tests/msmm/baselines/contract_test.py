"""The contract of all baselines, on a small data set with a small backbone."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from msmm.baselines.loading import load_baselines
from msmm.configs import replace_flat
from msmm.configs.scenes import Config
from msmm.scoring.metrics import annotation_metrics
from msmm.scoring.predictions import Predictions, choose_labels
from msmm.training import baseline_tasks, frozen_features, model_parts, stages
from msmm.training.run import Run
from tests.conftest import TINY

BASELINES = load_baselines()
BY_STEPS = [name for name in BASELINES if name != "logistic"]  # which a solver fits
SETTINGS = {**TINY, "backbone": "resnet-1-1-1-1-w8", "finetune_epochs": 6, "finetune_learning_rate": 0.02}
SETTINGS |= {f"{name}_epochs": 8 for name in BY_STEPS}
SETTINGS |= {"softmax_learning_rate": 0.1, "warp_learning_rate": 0.01}
SETTINGS |= {"cnn_rnn_learning_rate": 0.003, "ria_learning_rate": 0.01, "sr_cnn_rnn_learning_rate": 0.01}
SETTINGS |= {f"{name}_epochs": 30 for name in ("cnn_rnn", "ria", "sr_cnn_rnn")}
SETTINGS |= {"patience": 8}

pytestmark = pytest.mark.usefixtures("small_networks")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    from msmm.data import records
    from tfrecords_tools.datasets import scenes

    directory = tmp_path_factory.mktemp("data")
    scenes.pack_scenes(directory, num_train=640, num_test=200, image_size=32)
    return records.open_dataset(directory, "scenes")


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture
def run(scenes, workdir):
    """A run whose work directory all baselines share, so that the trunk is trained once."""
    return Run(workdir / "run", scenes, replace_flat(Config(), SETTINGS))


QUICK = ("logistic", "tag_neighbour", "sinn", "sr_cnn_rnn")
EACH = [pytest.param(n, marks=[] if n in QUICK else [pytest.mark.slow]) for n in BASELINES]
FROZEN = [case for case in EACH if BASELINES[case.values[0]].trunk != "own"]


@pytest.mark.parametrize("name", EACH)
def test_a_baseline_beats_the_most_frequent_labels(run, name):
    stages.train(run, name)
    predictions = baseline_tasks.predict_baseline(run, name)
    truth = run.split("test").labels
    assert predictions.scores.shape == truth.shape
    assert predictions.scores.dtype == np.float32
    assert (predictions.scores < np.inf).all()
    assert (predictions.counts is not None) == baseline_tasks.create_baseline(run, name).predicts_quantity
    chosen, figures = baseline_tasks.measure_baseline(run, name)
    assert chosen.any(axis=1).all()
    if predictions.counts is None:
        assert (chosen.sum(axis=1) == run.config.k).all()
    else:
        np.testing.assert_array_equal(chosen.sum(axis=1), predictions.counts)
    prior = run.split("train").labels.mean(axis=0, keepdims=True).repeat(len(truth), axis=0)
    mean = round(float(run.split("train").counts.mean()))
    by_prior = choose_labels(Predictions(prior), k=run.config.k if predictions.counts is None else mean)
    assert figures["H-F1"] > annotation_metrics(truth, by_prior)["H-F1"] + 2
    emits_sequences = name in ("cnn_rnn", "ria", "sr_cnn_rnn")
    assert ("mAP" in figures) == ("mAP" in run.stage_record(name)["held-out"]) == (not emits_sequences)
    if not emits_sequences:
        present = truth.any(axis=0)
        expected = 100 * average_precision_score(truth[:, present], predictions.scores[:, present])
        assert figures["mAP"] == pytest.approx(expected, abs=1e-9)
    assert ("I-F1 at p 0.5" in figures) == (name in ("logistic", "sinn", "tag_neighbour"))


@pytest.mark.parametrize("name", EACH)
def test_a_loaded_baseline_reproduces_its_recorded_held_out_h_f1(run, name):
    stages.train(run, name)
    record = run.stage_record(name)
    chosen, _ = baseline_tasks.measure_baseline(run, name, "train")
    held_out = run.held_out_rows
    reloaded = annotation_metrics(run.split("train").labels[held_out], chosen[held_out])
    assert reloaded["H-F1"] == pytest.approx(record["held-out"]["H-F1"], abs=1e-6)


@pytest.mark.parametrize(
    "name",
    [n if n == "tag_neighbour" else pytest.param(n, marks=pytest.mark.slow) for n in BY_STEPS],
)
def test_interrupted_and_uninterrupted_training_give_the_same_weights(make_run, monkeypatch, name):
    settings = {f"{name}_epochs": 3}
    uninterrupted = make_run("uninterrupted", **settings)
    stages.train(uninterrupted, name)

    class Killed(BaseException):
        pass

    def interrupt_at_epoch_2(task):
        def batches(epoch):
            if epoch == 2:
                raise Killed
            return task.data.batches(epoch)

        return batches

    killed = make_run("killed", **settings)
    with monkeypatch.context() as patch:
        task = baseline_tasks.make_baseline_task
        patch.setattr(
            baseline_tasks,
            "make_baseline_task",
            lambda run, name: _replace_batches(task(run, name), interrupt_at_epoch_2),
        )
        with pytest.raises(Killed):
            stages.train(killed, name)
    stages.train(killed, name)
    assert killed.stage_record(name)["weights"] == uninterrupted.stage_record(name)["weights"]
    assert killed.stage_record(name)["history"][-1]["epoch"] == 3


def _replace_batches(task, make_batches):
    import dataclasses

    return dataclasses.replace(task, data=dataclasses.replace(task.data, batches=make_batches(task)))


@pytest.mark.parametrize("name", FROZEN)
def test_a_baseline_leaves_the_trunk_weights_unchanged(run, name):
    stages.train(run, "finetune")
    before = model_parts.weights_hash(model_parts.load_part(run, "backbone"))
    stages.train(run, name)
    assert model_parts.weights_hash(model_parts.load_part(run, "backbone")) == before
    assert list(run.features_directory.glob("cnn-train-*"))


def test_baselines_on_the_fine_tuned_trunk_share_cached_features(run):
    for name in ("logistic", *(n for n, m in BASELINES.items() if m.trunk == "finetuned")):
        baseline_tasks.create_baseline(run, name)
    assert len(list(run.features_directory.glob("cnn-train-*"))) == 1
    np.testing.assert_array_equal(
        baseline_tasks.create_baseline(run, "logistic").splits["test"].features,
        frozen_features.cnn_features(run, "test"),
    )
