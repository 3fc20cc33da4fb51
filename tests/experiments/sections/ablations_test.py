import numpy as np
import pytest

from experiments.sections import ablations
from experiments.sections.study import train_and_measure
from msmm.configs import flatten, openclipart, replace_flat, scenes
from msmm.scoring.metrics import annotation_metrics
from msmm.training.run import Run
from msmm.training.stage_table import PAPER_STAGES
from msmm.training.table_predictions import predict_raw_quantity, predict_row
from msmm.training.table_rows import COMPLETE, TABLE_ROWS


def rows_of(table):
    return {row.name: row.seeds[0] for row in table.rows}


def choose_top(scores, counts):
    """Returns the `counts` best labels of each image, one image at a time."""
    chosen = np.zeros(scores.shape, bool)
    for row, (values, count) in enumerate(zip(scores, counts, strict=True)):
        ranking = sorted(range(len(values)), key=lambda j: (-values[j], j))
        chosen[row, ranking[: int(count)]] = True
    return chosen


def test_k_changes_only_the_number_of_labels(measured):
    (table,) = ablations.fixed_length_section(measured).tables
    rows = rows_of(table)
    scores = predict_row(measured.run, TABLE_ROWS[COMPLETE]).scores
    assert list(rows) == [f"k = {k}" + " (as set)" * (k == 3) for k in range(1, 9)] + [
        f"{COMPLETE}, predicted"
    ]
    for k, name in enumerate(list(rows)[:8], start=1):
        expected = annotation_metrics(measured.truth, choose_top(scores, [k] * len(scores)))
        assert rows[name] == pytest.approx(expected)
    top_3 = measured.rows["MS-CNN+Tags"].metrics[0]
    assert rows["k = 3 (as set)"] == pytest.approx({name: top_3[name] for name in rows["k = 3 (as set)"]})


def test_rounding_rules_equal_a_plain_loop(measured):
    (table,) = ablations.rounding_section(measured).tables
    rows = rows_of(table)
    scores = predict_row(measured.run, TABLE_ROWS[COMPLETE]).scores
    raw = predict_raw_quantity(measured.run, TABLE_ROWS[COMPLETE]).astype(float)
    rules = {
        "nearest, at least 1 (decision 21)": lambda x: max(1, int(np.floor(x + 0.5))),
        "nearest": lambda x: max(0, int(np.floor(x + 0.5))),
        "down, at least 1": lambda x: max(1, int(np.floor(x))),
        "up, at least 1": lambda x: max(1, int(np.ceil(x))),
    }
    truth = measured.truth.sum(axis=1)
    assert list(rows) == list(rules)
    for name, rule in rules.items():
        counts = [min(rule(x), scores.shape[1]) for x in raw]
        expected = annotation_metrics(measured.truth, choose_top(scores, counts))
        expected["Accuracy"] = 100 * sum(c == m for c, m in zip(counts, truth, strict=True)) / len(truth)
        assert rows[name] == pytest.approx(expected)
    first = rows["nearest, at least 1 (decision 21)"]
    assert {k: first[k] for k in ("H-F1", "Accuracy")} == pytest.approx(
        {k: measured.rows[COMPLETE].metrics[0][k] for k in ("H-F1", "Accuracy")}
    )


@pytest.mark.parametrize("of", ["bn_decay", "weight_decay", "textual_dropout", "classifier_loss"])
@pytest.mark.parametrize("config", [scenes.Config(), openclipart.Config(), scenes.Config(weight_decay=0.01)])
def test_compared_settings_contain_the_settings_of_the_run_once(of, config):
    compared = list(ablations.list_settings(of, config).values())
    assert sum(all(flatten(config)[k] == v for k, v in fields.items()) for fields in compared) == 1
    assert all(fields.keys() == compared[0].keys() for fields in compared)
    for fields in compared:
        replace_flat(config, fields)


def test_interpretations_of_the_decay_0_9997_are_compared():
    config = openclipart.Config()
    decays = list(ablations.list_settings("bn_decay", config).values())
    assert {"bn_momentum": 0.9997, "bn_batches": 0} in decays
    assert {"bn_momentum": 0.9997, "bn_batches": config.bn_batches} in decays
    literal = ablations.list_settings("weight_decay", config)
    assert literal["0.9997"] == {"weight_decay": 0.9997} and literal["0.0003"] == {"weight_decay": 3e-4}


@pytest.mark.slow
def test_changed_setting_retrains_only_dependent_stages(measured, tmp_path, capsys):
    import shutil

    shutil.copytree(measured.run.workdir, tmp_path / "run")
    run = Run(tmp_path / "run", measured.run.dataset, measured.run.config)
    own = train_and_measure([run])
    (table,) = ablations.settings_section("textual_dropout", own).tables
    output = capsys.readouterr().out
    assert "copied from" in output and "textual: epoch 1/2" in output and "visual: epoch" not in output
    rows = rows_of(table)
    assert list(rows) == ["0 (as set)", "0.5"]
    assert rows["0 (as set)"]["MS-CNN +Tags+LQP"] == own.rows[COMPLETE].metrics[0]["H-F1"]
    assert rows["0 (as set)"]["CNN"] == rows["0.5"]["CNN"]
    workdir = run.workdir / "ablation" / "textual_dropout" / "textual_dropout=0.5"
    config = replace_flat(run.config, {"textual_dropout": 0.5})
    variant = Run(workdir, run.dataset, config, 0, run.features_directory)
    # Training from the start gives the same weights as copied stages.
    alone = train_and_measure([Run(tmp_path / "alone", run.dataset, config)])
    for stage in PAPER_STAGES:
        assert variant.stage_record(stage)["weights"] == alone.run.stage_record(stage)["weights"], stage
    assert rows["0.5"]["MS-CNN +Tags+LQP"] == alone.rows[COMPLETE].metrics[0]["H-F1"]


@pytest.mark.slow
def test_changed_classifier_loss_retrains_only_the_classifier(measured, tmp_path, capsys):
    import shutil

    shutil.copytree(measured.run.workdir, tmp_path / "run")
    own = train_and_measure([Run(tmp_path / "run", measured.run.dataset, measured.run.config)])
    (table,) = ablations.settings_section("classifier_loss", own).tables
    output = capsys.readouterr().out
    assert (
        "classifier: epoch 1/2" in output
        and "quantity: epoch" not in output
        and "textual: epoch" not in output
    )
    rows = rows_of(table)
    first, *others = rows.values()
    assert first["Upper bound"] == own.rows["Upper bound"].metrics[0]["H-F1"]
    assert all(other["CNN"] == first["CNN"] for other in others)
    assert any(other["MS-CNN +Tags"] != first["MS-CNN +Tags"] for other in others)


def test_class_tags_are_compared_on_shared_images_and_classes(measured):
    (table,) = ablations.class_tags_section(measured, measured).tables
    rows = rows_of(table)
    own = {column: measured.rows[name].metrics[0]["H-F1"] for name, column in ablations._MODELS.items()}
    for name in ("with them", "without them, on shared images and classes"):
        assert {k: rows[name][k] for k in own} == pytest.approx(own)
    images = len(measured.truth)
    assert f"{images} test images are in both data sets, 0 only in the first, 0 only" in " ".join(table.notes)
