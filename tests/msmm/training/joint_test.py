"""Stage joint: trained and frozen parts, and its model; other losses of the classifier."""

import itertools
import shutil

import keras
import numpy as np
import pytest

from msmm.core.errors import UserError
from msmm.inference import model_dir
from msmm.training import (
    compiling,
    frozen_features,
    joint,
    model_parts,
    stages,
    table_predictions,
    task_building,
)
from msmm.training.recompute import Segments
from msmm.training.stage_table import PAPER_STAGES, STAGES
from msmm.training.table_rows import COMPLETE, TABLE_ROWS


@pytest.fixture(scope="module")
def joint_run(dataset, tmp_path_factory):
    from msmm.configs import replace_flat
    from msmm.configs.scenes import Config
    from msmm.training.run import Run
    from tests.conftest import TINY

    run = Run(
        tmp_path_factory.mktemp("runs") / "joint",
        dataset,
        replace_flat(Config(), {**TINY, "joint_epochs": 3}),
    )
    stages.train(run, "joint")
    return run


def test_stage_joint_trains_all_parts(joint_run):
    record = joint_run.stage_record("joint")
    names = {*STAGES["joint"].parts, "joining", "weighting"}
    assert record["weights"].keys() == names and record["inputs"] == {}
    task = joint.make_joint_task(joint_run)
    fresh = task.build()[1]
    for name in names - {"joining"}:  # which has no weights but the dropout's seed
        assert model_parts.weights_hash(fresh[name]) != record["weights"][name], name
        if name != "weighting":
            assert (
                model_parts.weights_hash(model_parts.load_part(joint_run.with_joint_parts(), name))
                == record["weights"][name]
            )
    assert not joint_run.stage_record("finetune")


def test_outputs_of_the_joint_network_equal_those_of_its_parts(joint_run):
    """Compares the training network, without dropout, with its parts on cached features."""
    run = joint_run.with_joint_parts()
    network, fresh = joint.make_joint_task(joint_run).build()
    for name in STAGES["joint"].parts:
        fresh[name].set_weights(model_parts.load_part(run, name).get_weights())
    tags = run.split("test").tags.astype(np.float32)
    outputs = network.predict_on_batch([next(run.images("test").ordered(64)), tags])
    classes = len(run.dataset.labels)
    for part, columns in (("classifier", slice(0, classes)), ("quantity", slice(classes, classes + 1)),
                          ("visual_head", slice(classes + 1, 2 * classes + 1)),
                          ("quantity_visual", slice(2 * classes + 1, 2 * classes + 2))):  # fmt: skip
        expected = table_predictions.predict_head(run, part, "test")
        scale = np.abs(expected).max()
        np.testing.assert_allclose(outputs[:, columns], expected, rtol=0.01, atol=0.01 * scale)


@pytest.mark.slow
def test_the_joint_model_annotates_as_its_run(joint_run):
    run = joint_run.with_joint_parts()
    directory = table_predictions.save_model(run)
    assert directory == joint_run.directory / "joint_model"
    model = model_dir.load(directory)
    rows = np.flatnonzero(run.split("test").tags.any(axis=1))[:8]
    tags = [[run.dataset.tags[i] for i in np.flatnonzero(t)] for t in run.split("test").tags[rows]]
    annotations = model.annotate(run.images("test").take(rows), tags, quantity="regression")
    expected = table_predictions.predict_row(run, TABLE_ROWS[COMPLETE])
    probabilities = np.stack([annotation.probabilities for annotation in annotations])
    np.testing.assert_allclose(probabilities, expected.scores[rows], atol=0.01)


def test_the_held_out_metric_uses_the_counting_rule_of_the_model(joint_run):
    task = joint.make_joint_task(joint_run)
    rng = np.random.default_rng(0)
    truth = task.evaluation.ground_truth
    outputs = rng.normal(size=(len(truth), 2 * truth.shape[1] + 6)).astype(np.float32)
    outputs[:, truth.shape[1]] = truth.sum(axis=1) + 0.3  # rounds to the truth
    chosen = task.evaluation.choose_labels(None, outputs)
    np.testing.assert_array_equal(chosen.sum(axis=1), truth.sum(axis=1))
    assert task.evaluation.measure(None, outputs)["Accuracy"] == 100
    outputs[:, : truth.shape[1]] = truth * 2.0 - 1
    np.testing.assert_array_equal(task.evaluation.choose_labels(None, outputs), truth)
    assert task.evaluation.measure(None, outputs)["I-F1"] == pytest.approx(100)


@pytest.mark.slow
@pytest.mark.parametrize("maps_cache_gib", [0.0, 8.0])
def test_stage_joint_leaves_a_frozen_trunk_unchanged(make_run, maps_cache_gib):
    run = make_run(finetune_trunk=False, maps_cache_gib=maps_cache_gib, joint_epochs=1, finetune_epochs=1)
    initial = model_parts.weights_hash(task_building.build_fresh_parts(run, "finetune", "backbone")[0])
    stages.train(run, "joint")
    record = run.stage_record("joint")
    assert record["weights"]["backbone"] == initial == record["inputs"]["backbone"]
    assert (frozen_features.cached_maps(run, "train") is None) == (maps_cache_gib == 0)
    assert table_predictions.measure_row(run.with_joint_parts(), TABLE_ROWS["MS-CNN"])[1]["H-F1"] >= 0


@pytest.mark.slow
@pytest.mark.parametrize("finetune_trunk", [True, False])
def test_stage_joint_with_recompute_takes_the_same_steps(make_run, finetune_trunk):
    """Compares losses and statistics, on images and on the cached maps of a frozen trunk."""
    results, segments = [], []
    for recompute in (False, True):
        run = make_run(finetune_trunk=finetune_trunk, finetune_epochs=1, recompute=recompute)
        for stage in stages.stage_of(run, "joint").needs:
            stages.train(run, stage)
        task = joint.make_joint_task(run)
        model, trained = compiling.build_compiled(task, run.config, 1e-5)
        losses = [loss for loss, _ in itertools.islice(compiling.local_steps(task, model)(0), 3)]
        moved = [v for name in ("multi_scale", "backbone") if name in trained
                 for v in trained[name].non_trainable_variables]  # fmt: skip
        results.append([np.array(losses), *map(keras.ops.convert_to_numpy, moved)])
        segments.append(sum(isinstance(layer, Segments) for layer in model._flatten_layers()))
    assert segments == [0, 1 + finetune_trunk]
    for plain, again in zip(*results, strict=True):
        np.testing.assert_allclose(again, plain, rtol=1e-3, atol=1e-3 * np.abs(plain).max())


def test_joint_settings_affect_only_stage_joint(joint_run, make_run):
    run = make_run(joint_epochs=3)
    shutil.copytree(joint_run.workdir, run.workdir, dirs_exist_ok=True)
    other = make_run(joint_epochs=3, joint_dropout=0.1)
    with pytest.raises(UserError, match="joint_dropout"):
        stages.train(other, "joint")
    stages.train(other, "textual")
    assert not any(name.startswith("joint") for name in other.stage_record("textual")["settings"])


def test_stages_of_the_paper_record_no_settings_of_extensions(trained_run):
    """Stages that finished before an extension was added stay finished and unchanged."""
    for stage in PAPER_STAGES:
        names = trained_run.stage_record(stage)["settings"]
        beyond = ("asymmetric", "joint", "groups", "precision", "bias_init")
        assert not any(name.startswith(beyond) or name.endswith("_loss") for name in names), stage


@pytest.mark.parametrize("loss", ["asymmetric", "asymmetric_detached"])
def test_the_asymmetric_loss_trains_the_classifier_and_is_recorded(trained_run, make_run, capsys, loss):
    names = {"classifier_loss", "asymmetric_gamma_negative"}
    copy = make_run()
    shutil.copytree(trained_run.workdir, copy.workdir, dirs_exist_ok=True)
    assert not names & copy.stage_record("classifier")["settings"].keys()  # not recorded for it
    other = make_run(classifier_loss=loss, asymmetric_gamma_negative=2.0)
    with pytest.raises(UserError, match="asymmetric_gamma_negative=None, and now"):
        stages.train(other, "classifier")
    stages.train(other, "quantity")
    assert "finished earlier" in capsys.readouterr().out  # the regressor does not depend on it
    old = copy.stage_record("classifier")["weights"]
    stages.train(other, "classifier", restart=True)
    record = copy.stage_record("classifier")
    assert record["settings"]["classifier_loss"] == loss and record["weights"] != old


def test_stage_joint_refuses_groups(make_run):
    with pytest.raises(UserError, match="no branch for groups"):
        stages.train(make_run(groups=True), "joint")
