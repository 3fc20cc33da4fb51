import dataclasses

import numpy as np
import pytest

from experiments.sections import ablations, study
from msmm.configs import openclipart, scenes
from msmm.scoring.metrics import annotation_metrics
from msmm.training.row_table import COMPLETE, TABLE_ROWS
from msmm.training.run import Run
from msmm.training.stages import STAGES
from msmm.training.table_rows import predict_raw_quantity, predict_row


def figures(table):
    return {row.name: row.seeds[0] for row in table.rows}


def top(scores, counts):
    """The best labels of each image, one image at a time."""
    chosen = np.zeros(scores.shape, bool)
    for row, (values, count) in enumerate(zip(scores, counts, strict=True)):
        ranking = sorted(range(len(values)), key=lambda j: (-values[j], j))
        chosen[row, ranking[: int(count)]] = True
    return chosen


def test_k_changes_the_length_of_the_lists_and_nothing_else(measured):
    (table,) = ablations.of_k(measured).tables
    found = figures(table)
    scores = predict_row(measured.run, TABLE_ROWS[COMPLETE]).scores
    assert list(found) == [f"k = {k}" + " (as set)" * (k == 3) for k in range(1, 9)] + [
        f"{COMPLETE}, predicted"
    ]
    for k, name in enumerate(list(found)[:8], start=1):
        expected = annotation_metrics(measured.truth, top(scores, [k] * len(scores)))
        assert found[name] == pytest.approx(expected)
    assert found["k = 3 (as set)"] == pytest.approx(measured.rows["MS-CNN+Tags"].figures[0])


def test_roundings_against_a_loop(measured):
    (table,) = ablations.of_rounding(measured).tables
    found = figures(table)
    scores = predict_row(measured.run, TABLE_ROWS[COMPLETE]).scores
    raw = predict_raw_quantity(measured.run, TABLE_ROWS[COMPLETE]).astype(float)
    rules = {
        "nearest, at least 1 (decision 21)": lambda x: max(1, int(np.floor(x + 0.5))),
        "nearest": lambda x: max(0, int(np.floor(x + 0.5))),
        "down, at least 1": lambda x: max(1, int(np.floor(x))),
        "up, at least 1": lambda x: max(1, int(np.ceil(x))),
    }
    truth = measured.truth.sum(axis=1)
    assert list(found) == list(rules)
    for name, rule in rules.items():
        counts = [min(rule(x), scores.shape[1]) for x in raw]
        expected = annotation_metrics(measured.truth, top(scores, counts))
        expected["Accuracy"] = 100 * sum(c == m for c, m in zip(counts, truth, strict=True)) / len(truth)
        assert found[name] == pytest.approx(expected)
    first = found["nearest, at least 1 (decision 21)"]
    assert {k: first[k] for k in ("H-F1", "Accuracy")} == pytest.approx(
        {k: measured.rows[COMPLETE].figures[0][k] for k in ("H-F1", "Accuracy")}
    )


@pytest.mark.parametrize("of", ["bn_decay", "weight_decay", "textual_dropout", "classifier_loss"])
@pytest.mark.parametrize("config", [scenes.Config(), openclipart.Config(), scenes.Config(weight_decay=0.01)])
def test_what_is_tried_contains_the_runs_own_choice_once(of, config):
    tried = list(ablations.settings(of, config).values())
    assert sum(all(getattr(config, k) == v for k, v in fields.items()) for fields in tried) == 1
    assert all(fields.keys() == tried[0].keys() for fields in tried)
    for fields in tried:
        dataclasses.replace(config, **fields)


def test_the_readings_of_09997_are_tried():
    config = openclipart.Config()
    decays = list(ablations.settings("bn_decay", config).values())
    assert {"bn_momentum": 0.9997, "bn_batches": 0} in decays
    assert {"bn_momentum": 0.9997, "bn_batches": config.bn_batches} in decays
    literal = ablations.settings("weight_decay", config)
    assert literal["0.9997"] == {"weight_decay": 0.9997} and literal["0.0003"] == {"weight_decay": 3e-4}


@pytest.mark.slow
def test_other_settings_train_only_what_depends_on_them(measured, tmp_path, capsys):
    import shutil

    shutil.copytree(measured.run.workdir, tmp_path / "run")
    run = Run(tmp_path / "run", measured.run.dataset, measured.run.config)
    own = study.finish([run])
    (table,) = ablations.of_settings("textual_dropout", own).tables
    said = capsys.readouterr().out
    assert "taken over" in said and "textual: epoch 1/2" in said and "visual: epoch" not in said
    found = figures(table)
    assert list(found) == ["0 (as set)", "0.5"]
    assert found["0 (as set)"]["MS-CNN +Tags+LQP"] == own.rows[COMPLETE].figures[0]["H-F1"]
    assert found["0 (as set)"]["CNN"] == found["0.5"]["CNN"]
    workdir = run.workdir / "ablation" / "textual_dropout" / "textual_dropout=0.5"
    config = dataclasses.replace(run.config, textual_dropout=0.5)
    there = Run(workdir, run.dataset, config, 0, run.features_directory)
    # What was taken over changes nothing: the same weights come from nothing.
    alone = study.finish([Run(tmp_path / "alone", run.dataset, config)])
    for stage in STAGES:
        assert there.stage_record(stage)["weights"] == alone.run.stage_record(stage)["weights"], stage
    assert found["0.5"]["MS-CNN +Tags+LQP"] == alone.rows[COMPLETE].figures[0]["H-F1"]


@pytest.mark.slow
def test_losses_of_the_classifier_train_it_alone(measured, tmp_path, capsys):
    import shutil

    shutil.copytree(measured.run.workdir, tmp_path / "run")
    own = study.finish([Run(tmp_path / "run", measured.run.dataset, measured.run.config)])
    (table,) = ablations.of_settings("classifier_loss", own).tables
    said = capsys.readouterr().out
    assert "classifier: epoch 1/2" in said and "quantity: epoch" not in said and "textual: epoch" not in said
    found = figures(table)
    first, *others = found.values()
    assert first["Upper bound"] == own.rows["Upper bound"].figures[0]["H-F1"]
    assert all(other["CNN"] == first["CNN"] for other in others)
    assert any(other["MS-CNN +Tags"] != first["MS-CNN +Tags"] for other in others)


def test_class_tags_are_compared_on_what_both_have(measured):
    (table,) = ablations.of_class_tags(measured, measured).tables
    found = figures(table)
    own = {column: measured.rows[name].figures[0]["H-F1"] for name, column in ablations._MODELS.items()}
    for name in ("with them", "without them, on what both have"):
        assert {k: found[name][k] for k in own} == pytest.approx(own)
    images = len(measured.truth)
    assert f"{images} test images are in both data sets, 0 only in the first, 0 only" in " ".join(table.notes)
