"""Reports from measured rows, with fabricated labels so that every number is known."""

import csv
import fractions
import io

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from experiments.reporting import claims, published, report
from experiments.sections import comparison, study, tables
from experiments.sections.study import MeasuredRow, Section, Study
from msmm.scoring.metrics import METRICS, annotation_metrics
from msmm.training.baseline_tasks import SOURCES
from msmm.training.table_predictions import predict_probabilities
from msmm.training.table_rows import TABLE_ROWS, TAGS_ONLY
from tests.experiments.reporting.report_test import Page, markdown_rows


def exact_metrics(truth, chosen):
    """Returns the metrics of Eq. 6-7 as exact fractions, counted image by image."""
    n, c = truth.shape
    correct = [sum(int(truth[i, j] and chosen[i, j]) for i in range(n)) for j in range(c)]
    predicted = [sum(int(chosen[i, j]) for i in range(n)) for j in range(c)]
    given = [sum(int(truth[i, j]) for i in range(n)) for j in range(c)]

    def share(a, b):
        return fractions.Fraction(a, b) if b else fractions.Fraction(0)

    def f1(p, r):
        return share(2 * p * r, p + r)

    c_p = sum(share(a, b) for a, b in zip(correct, predicted, strict=True)) / c
    c_r = sum(share(a, b) for a, b in zip(correct, given, strict=True)) / c
    i_p, i_r = share(sum(correct), sum(predicted)), share(sum(correct), sum(given))
    values = (c_p, c_r, f1(c_p, c_r), i_p, i_r, f1(i_p, i_r), f1(f1(c_p, c_r), f1(i_p, i_r)))
    return dict(zip(METRICS, (100 * value for value in values), strict=True))


def flip_labels(truth, errors, seed):
    """Returns the ground truth with a share of flipped entries; every image keeps at least one label."""
    predicted = truth ^ (np.random.default_rng(seed).random(truth.shape) < errors)
    predicted[~predicted.any(axis=1), 0] = True
    return predicted


# Better rows have fewer errors, except that tags hurt here.
ERRORS = {
    "Upper bound": 0.02,
    "MS-CNN+Tags+LQP": 0.12,
    "MS-CNN+LQP": 0.04,
    "MS-CNN+Tags": 0.2,
    "MS-CNN": 0.16,
    "CNN": 0.3,
    "Tags (MLP alone)": 0.4,
}


@pytest.fixture(scope="module")
def fabricated(trained_run):
    truth = trained_run.split("test").labels
    rows = {}
    for i, (name, errors) in enumerate(ERRORS.items()):
        chosen = [flip_labels(truth, errors, (i, seed)) for seed in range(2)]
        metrics = [annotation_metrics(truth, one) for one in chosen]
        rows[name] = MeasuredRow(chosen, metrics, "Tags" in name, "LQP" in name, name == "Upper bound")
    return Study([trained_run, trained_run], rows)


@pytest.fixture(scope="module")
def page(fabricated):
    section = tables.components_section(fabricated, "I")
    return study.add_summary(fabricated.make_report("Title", [section], "a command"), fabricated, 3723)


def test_report_contains_known_metrics_to_the_last_digit(fabricated, page):
    for cells in (Page(report.as_html(page)).rows, markdown_rows(report.as_markdown(page))):
        rows = {row[0]: row[3:] for row in reversed(cells) if len(row) == 10 and "±" in row[-1]}
        assert set(rows) == set(ERRORS)
        for name, row in fabricated.rows.items():
            values = [exact_metrics(fabricated.truth, chosen) for chosen in row.chosen]
            for cell, metric in zip(rows[name], METRICS, strict=True):
                a, b = (float(v[metric]) for v in values)
                sd = abs(a - b) / 2**0.5
                assert cell.replace("*", "") == f"{(a + b) / 2:.2f} ± {sd:.2f}"


def test_csv_report_keeps_full_precision(fabricated, page):
    lines = list(csv.DictReader(io.StringIO(report.as_csv(page))))
    for name, row in fabricated.rows.items():
        for i, chosen in enumerate(row.chosen, start=1):
            values = exact_metrics(fabricated.truth, chosen)
            (line,) = [
                line
                for line in lines
                if (line["row"], line["statistic"]) == (name, f"run {i}") and line["H-F1"]
            ]
            for metric in METRICS:
                assert float(line[metric]) == pytest.approx(float(values[metric]), abs=1e-10)


def test_contradicted_claims_are_reported(page):
    verdicts = {(o.claim.better, o.claim.worse): o.verdict for o in page.outcomes}
    assert verdicts == {
        ("MS-CNN+Tags+LQP", "MS-CNN+Tags"): "supported",
        ("MS-CNN+LQP", "MS-CNN"): "supported",
        ("MS-CNN+Tags+LQP", "MS-CNN+LQP"): "contradicted",
        ("MS-CNN+Tags", "MS-CNN"): verdicts["MS-CNN+Tags", "MS-CNN"],
        ("MS-CNN", "CNN"): "supported",
    }
    assert verdicts["MS-CNN+Tags", "MS-CNN"] != "supported"
    summary = "\n".join(page.summary)
    counts = {verdict: list(verdicts.values()).count(verdict) for verdict in claims.VERDICTS}
    expected = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    assert f"Claims of the paper, of 5 measured: {expected}." in summary
    assert "Tags help, MS-CNN+Tags+LQP over MS-CNN+LQP by H-F1: contradicted." in summary
    assert "contradicted" in report.as_text(page)
    assert claims.ONE_SEED not in report.as_markdown(page).replace("\\", "")


def test_claim_gains_are_differences_of_the_rows(fabricated, page):
    for outcome in page.outcomes:
        pairs = zip(
            fabricated.rows[outcome.claim.better].chosen,
            fabricated.rows[outcome.claim.worse].chosen,
            strict=True,
        )
        for gain, (better, worse) in zip(outcome.gains, pairs, strict=True):
            expected = (
                exact_metrics(fabricated.truth, better)["H-F1"]
                - exact_metrics(fabricated.truth, worse)["H-F1"]
            )
            assert gain == pytest.approx(float(expected), abs=1e-10)


def test_summary_names_data_set_backbone_seeds_and_duration(fabricated, page):
    run = fabricated.run
    assert page.summary[0] == (
        "scenes (100 training and 40 test images, 24 classes, 1000 tags), "
        "resnet-1-1-1-1-w4 at 32 px, 2 seeds."
    )
    assert "this command 1 h 2 min 3 s" in "\n".join(page.summary)
    assert run.dataset.fingerprint[:16] in page.summary[-1]


def test_measured_and_published_rows_are_in_separate_tables(page):
    measured = [table for table in page.tables if table.heading.startswith("Measured")]
    assert [t for t in page.tables if t not in measured] == [published.TABLES["I"]]


def test_sections_are_combined_into_one_report(fabricated):
    figure = report.Figure("A heading", report.Picture("dot", "a dot", b"\x89PNG"), ["about it"])
    sections = [Section(notes=["first"]), Section(figures=[figure], notes=["second"])]
    page = fabricated.make_report("Title", sections, "python -m x\npython -m y")
    assert page.notes[:2] == ["first", "second"] and page.figures == [figure]
    html = report.as_html(page)
    assert 'src="data:image/png;base64,iVBORw=="' in html and "python -m x\npython -m y" in html
    assert "img-src data:" in html and "default-src 'none'" in html
    assert "![a dot](dot.png)" in report.as_markdown(page)


def test_pictures_are_written_beside_the_markdown_report(fabricated, tmp_path):
    figure = report.Figure("A heading", report.Picture("a b", "dots", "<svg/>"))
    page = fabricated.make_report("Title", [Section(figures=[figure])], "")
    names = [path.name for path in report.write_report(page, tmp_path, "page")]
    assert names == ["page.html", "page.md", "page.csv", "a b.svg"]
    assert (tmp_path / "a b.svg").read_text() == "<svg/>"
    assert "(a%20b.svg)" in (tmp_path / "page.md").read_text()


def test_study_rows_equal_the_measured_table_rows(measured):
    from msmm.training import table_predictions

    for name, variant in (TABLE_ROWS | TAGS_ONLY).items():
        chosen, metrics = table_predictions.measure_row(measured.run, variant)
        np.testing.assert_array_equal(measured.rows[name].chosen[0], chosen)
        scores = table_predictions.predict_probabilities(measured.run, variant, "test")
        present = measured.truth.any(axis=0)
        mean_ap = 100 * average_precision_score(measured.truth[:, present], scores[:, present])
        half = annotation_metrics(measured.truth, scores > 0.5)
        ranking = {"mAP": mean_ap, "C-F1 at p 0.5": half["C-F1"], "I-F1 at p 0.5": half["I-F1"]}
        assert measured.rows[name].metrics[0] == pytest.approx(metrics | ranking)
    assert (measured.run.directory / "model" / "model.keras").is_file()


def test_class_table_has_the_frequency_and_average_precision_of_every_class(measured, capsys):
    table = study.class_table(measured, ("MS-CNN+Tags", "CNN"))
    run, truth = measured.run, measured.truth
    assert [row.name for row in table.rows] == list(run.dataset.labels)
    scores = predict_probabilities(run, TABLE_ROWS["CNN"], "test")
    for j, row in enumerate(table.rows):
        (values,) = row.seeds
        assert values["training images"] == run.split("train").labels[:, j].sum()
        assert values["test images"] == truth[:, j].sum()
        if truth[:, j].any():
            assert values["AP CNN"] == pytest.approx(
                100 * average_precision_score(truth[:, j], scores[:, j]), abs=1e-9
            )
        else:
            assert "AP CNN" not in values
    page = measured.make_report("Title", [Section(tables=[table])], "")
    study.publish(page, run.workdir, "classes")
    assert table.heading not in capsys.readouterr().out
    for ending in ("csv", "html"):
        assert table.heading in (run.workdir / f"classes/classes.{ending}").read_text()


def test_class_table_of_many_classes_has_groups_and_the_best_and_worst(measured, monkeypatch):
    """With five classes as many, the table shows the two best and the two worst and five groups."""
    whole = study.class_table(measured, ("MS-CNN+Tags",))
    monkeypatch.setattr("msmm.core.class_summary.MANY", 5)
    monkeypatch.setattr("msmm.core.class_summary.ENDS", 2)
    monkeypatch.setattr(study, "MANY", 5)
    table = study.class_table(measured, ("MS-CNN+Tags",))
    groups, shown = table.rows[:-4], table.rows[-4:]
    values = {row.name: row.seeds[0] for row in whole.rows}
    ranked = sorted((-v["AP MS-CNN+Tags"], n) for n, v in values.items() if "AP MS-CNN+Tags" in v)
    assert [-row.seeds[0]["AP MS-CNN+Tags"] for row in shown] == [ap for ap, _ in (*ranked[:2], *ranked[-2:])]
    assert all(row.seeds[0] == values[row.name] for row in shown)
    sizes = [int(row.name.split()[0]) for row in groups]
    assert sum(sizes) == len(values)
    total = sum(size * row.seeds[0]["training images"] for size, row in zip(sizes, groups, strict=True))
    assert total == pytest.approx(measured.run.split("train").labels.sum())


def test_every_trunk_of_a_compared_method_has_a_source_and_a_description():
    assert {method.trunk for method in comparison.BASELINES.values()} <= set(comparison.TRUNKS)
    assert set(comparison.TRUNKS) == set(SOURCES) - {"maps"}
