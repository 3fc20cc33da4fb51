import collections

import numpy as np
import pytest

from experiments.reporting import published
from experiments.sections import tables
from msmm.configs import mscoco, nus_wide, scenes
from msmm.training.table_predictions import predict_raw_quantity, predict_row
from msmm.training.table_rows import COMPLETE, TABLE_ROWS


@pytest.fixture(scope="module")
def section(measured):
    return tables.quantity_section(measured, "V")


def rows_of(table):
    return {row.name: row.seeds[0] for row in table.rows}


def metrics_by_loop(truth, raw):
    """Returns accuracy and MSE, computed image by image."""
    correct = sum(max(1, int(np.floor(r + 0.5))) == m for m, r in zip(truth, raw, strict=True))
    return 100 * correct / len(truth), sum((r - m) ** 2 for m, r in zip(truth, raw, strict=True)) / len(truth)


def test_quantity_table_has_the_rows_of_the_paper(measured, section):
    ours, printed, _ = section.tables
    assert printed is published.TABLES["V"]
    assert [row.name for row in ours.rows] == [row.name for row in printed.rows]
    truth = [int(labels.sum()) for labels in measured.truth]
    for name, variant in (("MS-CNN", "MS-CNN+LQP"), ("MS-CNN+Tags", COMPLETE)):
        raw = predict_raw_quantity(measured.run, TABLE_ROWS[variant]).astype(float)
        row = rows_of(ours)[name]
        assert (row["Accuracy"], row["MSE"]) == pytest.approx(metrics_by_loop(truth, raw))
        assert row["variance of true"] == pytest.approx(np.var(truth))


def test_quantity_baselines_without_a_regressor_equal_a_plain_loop(measured, section):
    run = measured.run
    truth = [int(labels.sum()) for labels in measured.truth]
    train = [int(labels.sum()) for labels in run.split("train").labels[run.train_rows]]
    expected = {
        "mean of the training counts": [sum(train) / len(train)] * len(truth),
        "most common training count": [collections.Counter(sorted(train)).most_common(1)[0][0]] * len(truth),
    }
    for name in ("MS-CNN", "MS-CNN+Tags"):
        p = predict_row(run, TABLE_ROWS[name]).scores.astype(float)
        expected[f"Σp, {name}"] = [sum(row) for row in p]
        expected[f"count of p > 0.5, {name}"] = [sum(v > 0.5 for v in row) for row in p]
    rows = rows_of(section.tables[2])
    assert list(rows) == list(expected)
    for name, raw in expected.items():
        assert (rows[name]["Accuracy"], rows[name]["MSE"]) == pytest.approx(
            metrics_by_loop(truth, raw), rel=1e-5
        )


def test_constant_quantity_predictions_have_at_least_the_variance_as_mse(section):
    for name, row in rows_of(section.tables[2]).items():
        if "training" in name:
            assert row["MSE"] >= row["variance of true"]


def test_quantity_claims_cover_mse_and_accuracy_and_the_note_compares_45_percent(measured, section):
    assert [o.claim.metric for o in section.outcomes] == ["MSE", "Accuracy"]
    rows = rows_of(section.tables[0])
    accuracy = rows["MS-CNN+Tags"]["Accuracy"] - rows["MS-CNN"]["Accuracy"]
    assert section.outcomes[1].gains[0] == pytest.approx(accuracy)
    drop = rows["MS-CNN"]["MSE"] - rows["MS-CNN+Tags"]["MSE"]
    assert section.outcomes[0].gains[0] == pytest.approx(drop, rel=1e-5)
    lowest = min(row["Accuracy"] for row in rows.values())
    verdict = "above it." if lowest > 45 else "not above it."
    assert f"{lowest:.2f} %" in section.notes[0] and section.notes[0].endswith(verdict)


@pytest.mark.parametrize(
    ("config", "numbers"),
    [
        (nus_wide.Config(), ("I", "III", "V")),
        (mscoco.Config(k=4), ("II", "IV", "VI")),
        (scenes.Config(), ("I", "III", "V")),
    ],
)
def test_data_set_is_compared_with_its_published_tables(config, numbers, make_run):
    run = make_run()
    run.config = config
    assert tables.table_numbers(run) == numbers
    assert {published.TABLES[n].heading.partition(", ")[2] for n in numbers} == {
        "MSCOCO" if "II" in numbers else "NUS-WIDE"
    }


def test_every_table_of_the_paper_has_a_section_and_a_command():
    from tests.architecture_test import COMMANDS

    assert tables.SECTIONS.keys() == tables.FILES.keys() == published.TABLES.keys()
    assert {f"reproduce_{name}" for name in tables.FILES.values()} <= set(COMMANDS["experiments"])
