import math
import pathlib
import re

import pytest

from experiments.reporting import published
from experiments.reporting.published import (
    CLAIMS,
    INCONSISTENT,
    TABLES,
    K,
)
from experiments.reporting.table import QUANTITY
from msmm.scoring.metrics import METRICS
from tfrecords_tools.datasets import mscoco, nus_wide

PAPERS = {"NUS-WIDE": nus_wide.PAPER, "MSCOCO": mscoco.PAPER}
PAPER = pathlib.Path(__file__).parents[2].parent / "shared" / "design" / "paper.md"


def row(table, name):
    return next(row for row in TABLES[table].rows if row.name == name)


def mean_true_labels(row, k=K):
    """Returns bounds of the mean true labels per image, by a published row with k predictions per image.

    Eq. 6 gives I-P/I-R = mean/k exactly; the bounds follow from numbers printed to ±0.005.
    """
    i_p, i_r = row.values("I-P")[0], row.values("I-R")[0]
    return k * (i_p - 0.005) / (i_r + 0.005), k * (i_p + 0.005) / (i_r - 0.005)


def value(table, name, column):
    return row(table, name).values(column)[0]


def harmonic(x, y):
    return 2 * x * y / (x + y)


def test_published_tables_equal_the_text_of_the_paper():
    if not PAPER.exists():
        pytest.skip("the paper's text is not beside the project")
    text = re.sub(r"</?b>", "", PAPER.read_text(encoding="utf-8"))
    parts = re.split(r"^TABLE (\w+)\b", text, flags=re.M)[1:]
    seen = 0
    for number, part in zip(parts[::2], parts[1::2], strict=True):
        table = TABLES[number]
        assert re.search(r"NUS-WIDE|MSCOCO", part)[0] in table.heading  # the caption comes first
        for expected in table.rows:
            cells = next(line for line in part.splitlines() if line.startswith(expected.name + "\t"))
            flags, numbers = re.findall(r"\b(?:yes|no)\b", cells), re.findall(r"\d+\.\d+", cells)
            assert [float(n) for n in numbers] == list(expected.seeds[0].values())
            if table.columns == METRICS:
                given = (expected.multi_modal, expected.quantity)
                assert flags == [{True: "yes", False: "no"}[flag] for flag in given]
            seen += 1
    assert seen == 6 + 6 + 10 + 8 + 2 + 2


def test_published_rows_have_the_columns_of_their_table():
    for number, table in TABLES.items():
        assert table.columns == (QUANTITY if number in ("V", "VI") else METRICS)
        assert all(tuple(row.seeds[0]) == table.columns for row in table.rows)
        assert sum(row.upper_bound for row in table.rows) == (number not in ("V", "VI"))


def test_tables_three_and_four_repeat_rows_of_tables_one_and_two():
    for short, long in (("I", "III"), ("II", "IV")):
        assert row(short, "Upper bound (Ours)") == row(long, "Upper bound (Ours)")
        assert row(short, "MS-CNN+Tags+LQP").seeds == row(long, "Ours").seeds


def test_inconsistent_published_cells_are_exactly_the_known_ones():
    """F1 grows with P and R, so rounding allows the interval between their rounded-down and -up values."""
    rows = {
        (number, row.name): row.seeds[0]
        for number in ("I", "II", "III", "IV")
        for row in TABLES[number].rows
        if number in ("I", "II") or not (row.upper_bound or row.name == "Ours")
    }
    assert len(rows) == 26
    wrong = {}
    for position, values in rows.items():
        one_decimal = all(round(100 * values[column]) % 10 == 0 for column in METRICS[:6])
        coarse = 0.05 if one_decimal else 0.005
        for first, second, column in (
            ("C-P", "C-R", "C-F1"),
            ("I-P", "I-R", "I-F1"),
            ("C-F1", "I-F1", "H-F1"),
        ):
            own = 0.005 if column == "H-F1" else coarse
            low = harmonic(values[first] - coarse, values[second] - coarse) - own
            high = harmonic(values[first] + coarse, values[second] + coarse) + own
            if not low <= values[column] <= high:
                wrong[(*position, column)] = (values[column], harmonic(values[first], values[second]))
    assert set(wrong) == {
        ("II", "MS-CNN", "I-F1"),
        ("III", "SINN [25]", "C-F1"),
        ("IV", "CNN+WARP [39]", "I-F1"),
    }
    for finding in INCONSISTENT:
        printed, recomputed = wrong.pop((finding.table, finding.row, finding.column))
        assert finding.printed == printed
        assert finding.recomputed == pytest.approx(recomputed, abs=0.005)
        assert (finding.row, finding.column) in TABLES[finding.table].marks
    assert not wrong


def test_likely_misprints_explain_the_inconsistent_cells():
    assert harmonic(61.06, 65.12) == pytest.approx(63.02, abs=0.005)
    assert harmonic(58.30, 60.63) == pytest.approx(59.44, abs=0.005)


def test_fixed_length_rows_imply_three_labels_and_the_mean_label_count():
    fixed = {
        "NUS-WIDE": [row("I", name) for name in ("CNN", "MS-CNN", "MS-CNN+Tags")],
        "MSCOCO": [row("II", name) for name in ("CNN", "MS-CNN+Tags")],  # MS-CNN's I-R is misprinted
    }
    for data_set, rows in fixed.items():
        low = max(mean_true_labels(row)[0] for row in rows)
        high = min(mean_true_labels(row)[1] for row in rows)
        assert low <= high, "one test set, so one mean"
        assert low - 0.0005 <= PAPERS[data_set].labels_per_image["test"] <= high + 0.0005
        images = PAPERS[data_set].images["test"]
        totals = math.ceil(low * images), math.floor(high * images)
        assert totals == {"NUS-WIDE": (140_915, 140_927), "MSCOCO": (86_537, 86_559)}[data_set]
    misprinted = mean_true_labels(row("II", "MS-CNN"))
    assert misprinted[0] > mscoco.PAPER.labels_per_image["test"] + 0.1
    assert mean_true_labels(row("I", "CNN"), k=5)[0] > 4.2


def test_published_upper_bounds_have_equal_precision_and_recall():
    for table in ("I", "II"):
        bound = row(table, "Upper bound (Ours)")
        assert bound.values("I-P") == bound.values("I-R") == bound.values("I-F1")


def test_gains_quoted_in_the_paper_follow_from_its_tables():
    def gain(table, better, worse):
        return round(value(table, better, "H-F1") - value(table, worse, "H-F1"), 2)

    assert gain("I", "MS-CNN+Tags+LQP", "MS-CNN+Tags") == 10.42
    assert gain("II", "MS-CNN+Tags+LQP", "MS-CNN+Tags") == 6.18
    assert gain("I", "MS-CNN+Tags+LQP", "MS-CNN+LQP") == 8.74
    assert gain("II", "MS-CNN+Tags+LQP", "MS-CNN+LQP") == 4.86
    assert gain("I", "MS-CNN", "CNN") > 1 < gain("II", "MS-CNN", "CNN")
    for claim in CLAIMS:
        assert gain("I", claim.better, claim.worse) > 0 < gain("II", claim.better, claim.worse)


def test_numbers_in_the_notes_follow_from_the_published_tables():
    notes = {number: " ".join(lines) for number, lines in published.NOTES.items()}

    def ratio(table, name):
        return value(table, name, "I-P") / value(table, name, "I-R")

    for table, data_set in (("I", "NUS-WIDE"), ("II", "MSCOCO")):
        mean = sum(mean_true_labels(row(table, "MS-CNN+Tags"))) / 2
        for name in ("MS-CNN+Tags+LQP", "MS-CNN+LQP"):
            assert f"{mean / ratio(table, name):.3f}" in notes[table]
        assert f"{PAPERS[data_set].labels_per_image['test']:.3f}" in notes[table]
    for name in ("CNN+logistic [25]", "SINN [25]", "TagNeighbor [23]"):
        assert f"{ratio('III', name):.3f}".lstrip("0") in notes["III"]
    elsewhere = [3 * ratio("III", name) for name in ("CNN+WARP [39]", "CNN+softmax [39]", "CNN-RNN [27]")]
    assert (f"{min(elsewhere):.2f}", f"{max(elsewhere):.2f}") == ("2.41", "2.43")
    for name in ("CNN+WARP [39]", "CNN+softmax [39]"):
        assert f"{3 * ratio('IV', name):.2f}" in notes["IV"]
        assert f"{3 / ratio('IV', name):.2f}" in notes["IV"]
    assert f"{3 * ratio('IV', 'CNN+logistic [25]'):.2f}" in notes["IV"]
    assert f"{ratio('IV', 'CNN-RNN [27]'):.3f}" in notes["IV"]
    assert value("III", "SR-CNN-RNN [24]", "I-P") == value("IV", "SR-CNN-RNN [24]", "I-P") == 77.41
    for table in ("V", "VI"):
        for printed in TABLES[table].rows:
            mse = printed.values("MSE")[0]
            within_half = math.erf(0.5 / math.sqrt(2 * mse))
            assert f"{100 * within_half:.1f} %" in notes[table]
    assert value("V", "MS-CNN+Tags", "MSE") < 1 - value("V", "MS-CNN+Tags", "Accuracy") / 100
