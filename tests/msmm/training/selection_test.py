"""The kept epoch of a stage is the best by the held-out figure that the setting `selection` names."""

import json
import shutil

import numpy as np
import pytest

from msmm.configs.base import Config
from msmm.core import checksums
from msmm.core.errors import UserError
from msmm.scoring.metrics import annotation_metrics
from msmm.training import selection, stages

FIGURES = {"loss": "loss", "map": "mAP", "h_f1": "H-F1"}
LONG = {"textual_epochs": 6, "textual_learning_rate": 0.5, "patience": 1}


@pytest.mark.parametrize("name", FIGURES)
def test_the_kept_epoch_is_the_first_best_by_the_recorded_figure(make_run, name):
    run = make_run(selection=name, **LONG)
    stages.train(run, "textual")
    record = run.stage_record("textual")
    values = [epoch["held-out"][FIGURES[name]] for epoch in record["history"]]
    best = int(np.argmin(values) if name == "loss" else np.argmax(values))
    assert record["best_epoch"] == 1 + best and record["settings"]["selection"] == name
    assert record["held-out"] == pytest.approx(record["history"][best]["held-out"], rel=1e-5)
    rates = [epoch["train"]["learning rate"] for epoch in record["history"]]
    assert min(rates) < rates[0] / 2  # a patience of 1 waits for the drop


def test_a_stage_of_another_selection_is_refused(make_run):
    run = make_run(**LONG)
    stages.train(run, "textual")
    with pytest.raises(UserError, match="selection=map, and now selection=loss"):
        stages.train(make_run(selection="loss", **LONG), "textual")


def test_a_stage_from_before_the_setting_was_selected_by_h_f1(make_run, capsys):
    run = make_run(**LONG)
    stages.train(run, "textual")
    directory = run.stage_directory("textual")
    record = json.loads((directory / "stage.json").read_text())
    del record["settings"]["selection"]
    (directory / "stage.json").write_text(json.dumps(record))
    checksums.write(directory, [path.name for path in directory.iterdir() if path.suffix in (".json", ".h5")])
    with pytest.raises(UserError, match="selection=h_f1, and now selection=map: --restart"):
        stages.train(run, "textual")
    stages.train(make_run(selection="h_f1", **LONG), "textual")
    assert "textual: finished earlier" in capsys.readouterr().out


def test_regressors_do_not_depend_on_the_selection(trained_run, make_run, capsys):
    other = make_run(selection="loss")
    shutil.copytree(trained_run.workdir, other.workdir, dirs_exist_ok=True)
    settings = stages.recorded_settings(other, "quantity")
    assert "selection" not in settings and settings == stages.recorded_settings(trained_run, "quantity")
    assert "selection" in stages.recorded_settings(other, "classifier")


def test_map_selects_by_another_figure_where_there_is_none():
    truth = np.eye(3, dtype=bool)
    by_loss = {"select": "loss", "smaller_is_better": True}
    by_map = Config(selection="map")
    assert selection.select_by(by_map, truth) == {"select": "mAP", "smaller_is_better": False}
    assert selection.select_by(by_map, truth, scores_labels=False)["select"] == "H-F1"
    assert selection.select_by(by_map, np.zeros((3, 3), bool), scores_labels=False) == by_loss
    assert selection.select_by(by_map, np.zeros((3, 3), bool)) == by_loss
    assert selection.select_by(Config(selection="loss"), truth) == by_loss
    assert selection.select_by(Config(selection="h_f1"), truth, False)["select"] == "H-F1"
    with pytest.raises(UserError, match="expected selection of loss, map, h_f1"):
        Config(selection="accuracy")


def test_held_out_figures_have_map_where_it_is_defined():
    rng = np.random.default_rng(0)
    truth, scores = rng.random((20, 4)) < 0.4, rng.random((20, 4))
    figures = selection.held_out_figures(truth, scores > 0.5, scores)
    assert figures["H-F1"] == annotation_metrics(truth, scores > 0.5)["H-F1"]
    assert list(figures) == ["C-F1", "I-F1", "H-F1", "mAP"]
    assert "mAP" not in selection.held_out_figures(truth, scores > 0.5)
    assert "mAP" not in selection.held_out_figures(np.zeros_like(truth), scores > 0.5, scores)
