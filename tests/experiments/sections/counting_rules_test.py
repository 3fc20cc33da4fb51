"""The comparison of counting rules on a run with finished stages."""

import csv
import dataclasses

import numpy as np
import pytest

from experiments.reporting import report
from experiments.sections import counting_rules
from msmm.quantities.registry import load_counting_rule
from msmm.scoring.bootstrap import metric_gain
from msmm.scoring.metrics import annotation_metrics
from msmm.scoring.predictions import choose_labels
from msmm.scoring.ranking_metrics import RANKING_METRICS
from msmm.training import frozen_features, model_parts, table_predictions
from msmm.training.run import Run
from msmm.training.table_rows import COMPLETE, TABLE_ROWS


@pytest.fixture(scope="module")
def section(measured):
    return counting_rules.counting_rules_section(measured)


def rows(table):
    return {row.name: row.seeds[0] for row in table.rows}


@pytest.mark.parametrize(("table", "name"), [(0, "MS-CNN"), (2, "MS-CNN+Tags")])
def test_counting_rule_table_has_every_rule_and_the_upper_bound(section, measured, table, name):
    measured_rows = rows(section.tables[table])
    assert list(measured_rows) == [*counting_rules.TITLES.values(), counting_rules.BOUND]
    run = measured.run
    for estimator, title in counting_rules.TITLES.items():
        figures = table_predictions.measure_row(run, TABLE_ROWS[name], counting_rule=estimator)[1]
        # All rules choose from one ranking, so the table has no ranking metrics.
        expected = {key: value for key, value in figures.items() if key not in RANKING_METRICS}
        assert measured_rows[title] == pytest.approx(expected)
    top, bound = (
        measured.rows[row].metrics[0] for row in (name, "Upper bound" if "Tags" in name else COMPLETE)
    )
    assert measured_rows["top k"]["H-F1"] == pytest.approx(top["H-F1"])
    if "Tags" in name:
        assert measured_rows[counting_rules.BOUND]["H-F1"] == pytest.approx(bound["H-F1"])
    assert (
        measured_rows[counting_rules.BOUND]["Accuracy"] == 100 and section.tables[table].rows[-1].upper_bound
    )


def test_counting_rule_gains_are_row_differences_with_bootstrap_intervals(section, measured):
    assert len(section.outcomes) == 2 * (len(counting_rules.TITLES) - 1 + len(counting_rules.SIMPLE))
    for outcome in section.outcomes:
        name = outcome.claim.name.split(", ")[1]
        table = rows(section.tables[{"MS-CNN": 0, "MS-CNN+Tags": 2}[name]])
        gain = table[outcome.claim.better]["H-F1"] - table[outcome.claim.worse]["H-F1"]
        assert outcome.gains[0] == pytest.approx(gain)
    by_title = {title: estimator for estimator, title in counting_rules.TITLES.items()}
    outcome = section.outcomes[-1]
    better, worse = (
        choose_labels(
            table_predictions.predict_row(
                measured.run, TABLE_ROWS["MS-CNN+Tags"], counting_rule=by_title[title]
            )
        )
        for title in (outcome.claim.better, outcome.claim.worse)
    )
    assert outcome.interval == pytest.approx(metric_gain(measured.truth, [worse], [better]).interval)


def test_rules_by_calibration_size_use_that_many_held_out_images(section, measured):
    few = section.tables[1:4:2]
    for table, name in zip(few, counting_rules.CLASSIFIERS, strict=True):
        assert table.columns == ["5 images", "10 images"]  # ten images are held out
        for row in table.rows:
            estimator = {title: key for key, title in counting_rules.TITLES.items()}[row.name]
            figures = table_predictions.measure_row(measured.run, TABLE_ROWS[name], counting_rule=estimator)[
                1
            ]
            assert row.seeds[0]["10 images"] == pytest.approx(figures["H-F1"])
    outputs = counting_rules.ClassifierOutputs.compute(measured.run, "MS-CNN+Tags")
    values = []
    for draw in range(counting_rules.DRAWS):
        some = np.random.default_rng(draw).permutation(10)[:5]
        fitted = load_counting_rule("threshold").fit(outputs.held_out.take(some))
        chosen = choose_labels(fitted.apply(outputs.probabilities, outputs.raw))
        values.append(annotation_metrics(measured.truth, chosen)["H-F1"])
    assert rows(few[1])["one threshold"]["5 images"] == pytest.approx(np.mean(values))


def test_predictions_without_tags_use_zero_tags(section, measured):
    measured_rows, run = rows(section.tables[4]), measured.run
    figures = table_predictions.measure_row(run, TABLE_ROWS["MS-CNN+LQP"])[1]
    assert measured_rows["MS-CNN, regression (the paper's)"]["H-F1"] == pytest.approx(figures["H-F1"])
    assert measured_rows[f"MS-CNN+Tags, {counting_rules.BOUND}"]["Accuracy"] == 100
    f_t = model_parts.load_part(run, "textual").predict_on_batch(
        np.zeros((1, len(run.dataset.tags)), np.float32)
    )
    feature = np.concatenate([frozen_features.visual_features(run, "test")[7:8], f_t], axis=1)
    scores, raw = counting_rules.predict_without_tags(run)
    logits = model_parts.load_part(run, "classifier").predict_on_batch(feature)[0].astype(np.float64)
    np.testing.assert_allclose(scores[7], 1 / (1 + np.exp(-logits)), rtol=1e-4)
    np.testing.assert_allclose(
        raw[7], model_parts.load_part(run, "quantity").predict_on_batch(feature)[0, 0], rtol=1e-4
    )


def test_choice_of_the_counting_rule_ignores_test_labels(measured, section):
    """Permuted test labels change neither the chosen counting rule nor its predicted lengths."""
    run = Run(measured.run.workdir, measured.run.dataset, measured.run.config)  # loads its own splits
    labels = run.split("test").labels
    labels[:] = np.random.default_rng(0).permutation(labels)
    study = dataclasses.replace(measured, runs=[run])
    repeated = counting_rules.counting_rules_section(study)
    assert repeated.notes == section.notes
    lengths = [
        [row["mean predicted"] for row in list(rows(s.tables[2]).values())[:-1]] for s in (repeated, section)
    ]
    assert lengths[0] == lengths[1]
    assert rows(repeated.tables[2])["top k"]["H-F1"] != rows(section.tables[2])["top k"]["H-F1"]


def test_counting_rule_report_has_claims_and_figures(section, measured, tmp_path):
    page = measured.make_report(
        "How many labels?", [section], "command", claims_heading=counting_rules.CLAIMS_HEADING
    )
    paths = report.write_report(page, tmp_path, "quantity")
    assert {"gains_with_tags.svg", "held_out_without_tags.svg", "quantity.html"} <= {p.name for p in paths}
    text = (tmp_path / "quantity.md").read_text()
    assert counting_rules.CLAIMS_HEADING in text and "The paper's claims" not in text
    with open(tmp_path / "quantity_claims.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == len(section.outcomes)
    svg = (tmp_path / "gains_with_tags.svg").read_text()
    assert all(
        title in svg for name, title in counting_rules.TITLES.items() if name not in ("regression", "top_k")
    )
