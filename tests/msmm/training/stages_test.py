"""Algorithm 1 on a small data set: training, frozen parts, reuse and refusal of each stage."""

import dataclasses
import json
import shutil

import keras
import numpy as np
import pytest

from msmm.configs import replace_flat
from msmm.core.errors import UserError
from msmm.core.files import read_json
from msmm.training import (
    batch_norm_statistics,
    model_parts,
    stage_tasks,
    stages,
    table_predictions,
    task_building,
)
from msmm.training.run import Run
from msmm.training.stage_table import PAPER_PARTS, PAPER_STAGES, STAGE_OF_PART, STAGES
from msmm.training.state import Progress, load_state, save_state
from msmm.training.table_rows import TABLE_ROWS
from tests.msmm.training.common import read_weights


def test_every_finished_stage_has_a_complete_record(trained_run):
    for stage in PAPER_STAGES:
        record = trained_run.stage_record(stage)
        assert 1 <= record["best_epoch"] <= len(record["history"]) == 2
        assert record["weights"].keys() == set(STAGES[stage].parts)
        assert not (trained_run.stage_directory(stage) / "state.npz").exists()
        for part, digest in record["weights"].items():
            assert model_parts.weights_hash(model_parts.load_part(trained_run, part)) == digest


def test_training_the_heads_leaves_ms_cnn_and_mlp_unchanged(copied_run):
    frozen = [part for part, stage in STAGE_OF_PART.items() if stage in ("finetune", "visual", "textual")]
    before = {part: model_parts.weights_hash(model_parts.load_part(copied_run, part)) for part in frozen}
    old = copied_run.stage_record("classifier")["weights"], copied_run.stage_record("quantity")["weights"]
    other = Run(
        copied_run.workdir,
        copied_run.dataset,
        replace_flat(copied_run.config, {"classifier_epochs": 1, "quantity_epochs": 1}),
    )
    for stage in ("classifier", "quantity"):
        stages.train(other, stage, restart=True)
    assert (
        copied_run.stage_record("classifier")["weights"],
        copied_run.stage_record("quantity")["weights"],
    ) != old
    assert {
        part: model_parts.weights_hash(model_parts.load_part(copied_run, part)) for part in frozen
    } == before


@pytest.mark.parametrize("maps_cache_gib", [0.0, 8.0])
def test_stage_visual_leaves_the_trunk_unchanged(copied_run, make_run, maps_cache_gib, monkeypatch):
    """Checks the model that trains, not the one saved before."""
    run = make_run(maps_cache_gib=maps_cache_gib)
    digest = run.stage_record("finetune")["weights"]["backbone"]
    loaded = []
    load = model_parts.load_part
    monkeypatch.setattr(
        model_parts, "load_part", lambda r, p: loaded.append((p, load(r, p))) or loaded[-1][1]
    )
    shutil.rmtree(run.features_directory)
    stages.train(run, "visual", restart=True)
    backbones = [model for part, model in loaded if part == "backbone"]
    assert backbones and all(model_parts.weights_hash(model) == digest for model in backbones)


def test_fine_tuning_changes_the_trunk_and_its_statistics(trained_run):
    fresh = task_building.build_fresh_parts(trained_run, "finetune", "backbone")[0]
    trained = model_parts.load_part(trained_run, "backbone")
    moved = {a.path for a, b in zip(fresh.weights, trained.weights, strict=True) if not np.array_equal(a, b)}
    assert moved == {v.path for v in fresh.weights}


def test_a_frozen_trunk_keeps_its_initial_weights(make_run):
    run = make_run(finetune_trunk=False)
    fresh = model_parts.weights_hash(task_building.build_fresh_parts(run, "finetune", "backbone")[0])
    stages.train(run, "visual")
    assert run.stage_record("finetune")["weights"]["backbone"] == fresh
    # The trunk is not among the trained parts, so it is not saved after every epoch.
    assert "backbone" not in stage_tasks.make_finetune_task(run).build()[1]
    assert model_parts.weights_hash(model_parts.load_part(run, "backbone")) == fresh


def test_the_head_of_stage_visual_starts_from_cnn_head(trained_run):
    _, trained = stages.make_task(trained_run, "visual").build()
    for a, b in zip(
        read_weights(trained["visual_head"]),
        read_weights(model_parts.load_part(trained_run, "cnn_head")),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("fusion", ["last_map", pytest.param("pooled", marks=pytest.mark.slow)])
def test_a_control_of_the_fusion_starts_from_cnn_and_serves_the_later_stages(copied_run, make_run, fusion):
    control = make_run("control", visual_fusion=fusion)
    assert stages.adopt_stages(control, copied_run) == ["finetune", "textual"]
    stages.train(control, "classifier")
    assert control.stage_record("visual")["settings"]["visual_fusion"] == fusion
    task = stage_tasks.make_visual_task(control)
    head = task.build()[1]["visual_head"].get_weights()
    cnn = model_parts.load_part(control, "cnn_head").get_weights()
    np.testing.assert_array_equal(head[0][-len(cnn[0]) :], cnn[0])
    assert not head[0][: -len(cnn[0])].any() and (len(head[0]) > len(cnn[0])) == (fusion == "pooled")
    assert table_predictions.measure_row(control, TABLE_ROWS["MS-CNN+Tags"])[1]["H-F1"] > 0


def test_a_stage_first_trains_the_stages_that_it_needs(trained_run, capsys):
    finished = read_json(trained_run.workdir / "finished.json")
    assert finished == {
        "quantity_visual": ["finetune", "visual", "quantity_visual"],
        "classifier": ["finetune", "visual", "textual", "classifier", "quantity_visual"],
        "quantity": list(PAPER_STAGES),
    }
    stages.train(trained_run, "visual")
    assert "visual: finished earlier" in capsys.readouterr().out


def test_restart_trains_again_to_the_same_weights(make_run):
    run = make_run()
    stages.train(run, "textual")
    first = run.stage_record("textual")
    stages.train(run, "textual", restart=True)
    again = run.stage_record("textual")
    assert again["weights"] == first["weights"]
    assert again["seconds"] != first["seconds"]  # it trained again


def test_different_seeds_give_different_weights_and_held_out_rows(make_run):
    a, b = make_run(seed=0), make_run(seed=1)
    for run in (a, b):
        stages.train(run, "textual")
    assert a.directory != b.directory
    assert a.stage_record("textual")["weights"] != b.stage_record("textual")["weights"]
    assert set(a.held_out_rows) != set(b.held_out_rows)


def test_recorded_settings_decide_the_held_out_rows(trained_run, dataset):
    other = Run(trained_run.workdir, dataset, replace_flat(trained_run.config, {"held_out": 2}))
    assert len(other.held_out_rows) < len(trained_run.held_out_rows)  # cached from here on
    recorded = other.with_recorded_settings(["textual"])
    np.testing.assert_array_equal(recorded.held_out_rows, trained_run.held_out_rows)
    np.testing.assert_array_equal(recorded.train_rows, trained_run.train_rows)


def test_changed_settings_are_refused_only_by_dependent_stages(make_run):
    stages.train(make_run(), "textual")
    stages.train(make_run(visual_epochs=9), "textual")
    with pytest.raises(UserError, match=r"textual_epochs=2, and now textual_epochs=3: --restart"):
        stages.train(make_run(textual_epochs=3), "textual")


def test_a_stage_is_trained_again_when_its_inputs_have_changed(copied_run, make_run, capsys):
    inputs = copied_run.stage_record("quantity_visual")["inputs"]
    changed = make_run(visual_learning_rate=0.0005)
    stages.train(changed, "visual", restart=True)
    capsys.readouterr()
    stages.train(changed, "quantity_visual")
    assert "quantity_visual: what it builds on has been trained again" in capsys.readouterr().out
    assert copied_run.stage_record("quantity_visual")["inputs"] != inputs


def test_a_work_directory_with_other_labels_is_refused(make_run, dataset):
    run = make_run()
    other = dataclasses.replace(dataset, labels=(*dataset.labels[:-1], "unicorn"))
    with pytest.raises(UserError, match="labels differ from those of 'scenes' now: choose another --workdir"):
        Run(run.workdir, other, run.config)
    other = dataclasses.replace(dataset, name="other")
    with pytest.raises(UserError, match="belongs to data set 'scenes'"):
        Run(run.workdir, other, run.config)


def test_too_few_training_images_for_a_held_out_set_are_refused(make_run):
    run = make_run()
    few = run.split("train")
    run.split = lambda name: dataclasses.replace(few, ids=few.ids[:9])
    with pytest.raises(UserError, match="has 9 training images: expected at least 10"):
        _ = run.train_rows


def test_damaged_weights_are_refused_with_their_file(copied_run):
    path = copied_run.stage_directory("textual") / "textual.weights.h5"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"textual\.weights\.h5 is damaged, .* train textual again with"):
        model_parts.load_part(copied_run, "textual")
    (path.parent / "SHA256SUMS").unlink()  # as earlier versions left it
    with pytest.raises(UserError, match=r"cannot load .*textual\.weights\.h5"):
        model_parts.load_part(copied_run, "textual")


def test_a_damaged_stage_is_trained_again_with_restart(copied_run):
    path = copied_run.stage_directory("textual") / "stage.json"
    text = path.read_text()
    path.write_text(text.replace('"best_epoch"', '"best_epoc"'))
    with pytest.raises(UserError, match=r"stage\.json is damaged, .* train textual again with --restart"):
        stages.train(copied_run, "textual")
    stages.train(copied_run, "textual", restart=True)
    assert copied_run.stage_record("textual")["weights"] == json.loads(text)["weights"]


def test_a_state_of_another_data_set_is_refused(copied_run):
    """The same settings, seed and shapes, but other records."""
    directory, settings = copied_run.stage_directory("textual"), {"seed": 0}
    state = directory / "state.npz"
    owner = {"settings": settings, "inputs": {"dataset": "another"}}
    save_state(state, {}, Progress(0.1), owner)
    with pytest.raises(UserError, match=r"state\.npz is of other data"):
        load_state(state, {"settings": settings, "inputs": {"dataset": "mine"}})


def test_batch_norm_statistics_are_re_estimated_as_plain_means():
    model = keras.Sequential([keras.Input((4,)), keras.layers.BatchNormalization(momentum=0.9997)])
    rng = np.random.default_rng(0)
    batches = [rng.normal(3, 2, (32, 4)).astype(np.float32) for _ in range(10)]
    batch_norm_statistics.reestimate(model, iter(batches), 6)
    layer = model.layers[0]
    np.testing.assert_allclose(
        layer.moving_mean, np.mean([b.mean(0) for b in batches[:6]], axis=0), rtol=1e-4
    )
    np.testing.assert_allclose(
        layer.moving_variance, np.mean([b.var(0) for b in batches[:6]], axis=0), rtol=1e-4
    )
    assert layer.momentum == 0.9997


def test_initial_weights_do_not_depend_on_models_built_before(make_run):
    from msmm.training import model_parts, task_building

    run = make_run()
    model_parts._map_shapes.cache_clear()
    first, again = (
        task_building.build_fresh_parts(run, "finetune", "backbone", "cnn_head") for _ in range(2)
    )
    assert [model_parts.weights_hash(p) for p in first] == [model_parts.weights_hash(p) for p in again]


def test_finished_stages_with_equal_settings_are_adopted(trained_run, make_run):
    run = make_run("same")
    assert stages.adopt_stages(run, trained_run) == list(PAPER_STAGES)
    for stage in PAPER_STAGES:
        assert run.stage_record(stage) == trained_run.stage_record(stage)
    for part in PAPER_PARTS:
        assert model_parts.weights_hash(model_parts.load_part(run, part)) == model_parts.trained_hash(
            trained_run, part
        )
    assert stages.adopt_stages(run, trained_run) == []


@pytest.mark.parametrize(
    ("settings", "adopted"),
    [
        ({"textual_dropout": 0.5}, ["finetune", "visual", "quantity_visual"]),
        ({"bn_batches": 7}, ["finetune", "textual"]),
        ({"k": 2}, []),
        ({"weight_decay": 0.0}, []),
        ({"quantity_epochs": 3}, ["finetune", "visual", "textual", "classifier"]),
        ({"seed": 1}, []),
    ],
)
def test_stages_with_other_settings_are_not_adopted(trained_run, make_run, settings, adopted):
    run = make_run("other", **settings)
    assert stages.adopt_stages(run, trained_run) == adopted
    assert not any(run.stage_directory(stage).exists() for stage in set(PAPER_STAGES) - set(adopted))


def test_a_stage_killed_during_removal_is_not_finished(copied_run, monkeypatch):
    def killed(directory):
        raise KeyboardInterrupt

    monkeypatch.setattr(stages, "remove", killed)
    with pytest.raises(KeyboardInterrupt):
        stages.train(copied_run, "textual", restart=True)
    assert (copied_run.stage_directory("textual") / "textual.weights.h5").exists()
    assert copied_run.stage_record("textual") is None


@pytest.mark.slow
def test_callbacks_are_used_only_in_the_named_stage(make_run):
    run, epochs = make_run(), []
    callback = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: epochs.append(sorted(logs)))
    stages.train(run, "quantity_visual", callbacks=[callback])
    names = ["learning_rate", "loss", "val_Accuracy", "val_MSE", "val_loss"]
    assert run.stage_record("finetune") and epochs == [names] * 2
