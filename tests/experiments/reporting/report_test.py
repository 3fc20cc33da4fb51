import csv
import dataclasses
import html.parser
import io
import re

import numpy as np
import pytest

from experiments.reporting import published, report
from experiments.reporting.claims import Claim, Outcome, measure_claim
from experiments.reporting.report import Report
from experiments.reporting.table import LENGTHS, Row, Table
from msmm.scoring.bootstrap import metric_gain
from msmm.scoring.metrics import METRICS, annotation_metrics

CLAIM = Claim("tags help", "IV-B (2)", "with", "without")
HOSTILE = "<script>alert('x')</script> & \"a|b\" **c** \x1b[31m`d`\n# e \\| {title}"
# Calculated by hand in the tests of msmm.scoring.metrics: C-P 35, C-R 40, C-F1 37.33, I-* 62.5, H-F1 46.74.
TRUTH = np.array([[1, 1, 0, 0, 0], [1, 0, 1, 0, 0], [1, 0, 1, 1, 0], [0, 1, 0, 0, 0]], bool)
CHOSEN = np.array([[1, 0, 1, 0, 0], [1, 0, 0, 0, 0], [1, 1, 1, 0, 0], [1, 1, 0, 0, 0]], bool)
PRINTED = ["35.00", "40.00", "37.33", "62.50", "62.50", "62.50", "46.74"]


def one_table(*rows, columns=METRICS, **kwargs):
    return Report("Title", [Table("Measured: here", rows, columns, **kwargs)])


def row(name, *values, column="H-F1", **kwargs):
    return Row(name, [{column: value} for value in values], **kwargs)


class Page(html.parser.HTMLParser):
    """Parses the table cells, tags and attributes of a page; asserts balanced tags."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.tags, self.attributes, self.text, self._open = [], [], [], "", []
        self.feed(text)
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta", "br"):
            self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")
        if tag == "br":
            self.rows[-1][-1] += " "

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if "style" not in self._open:
            self.text += data
        if {"th", "td"} & set(self._open):
            self.rows[-1][-1] += data


def markdown_rows(text):
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def csv_rows(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_every_report_format_contains_known_metrics_to_the_last_digit():
    ours = Row("full", [annotation_metrics(TRUTH, CHOSEN)], multi_modal=True, quantity=False)
    page = one_table(ours)
    line = next(line for line in report.as_text(page).splitlines() if line.startswith("full"))
    assert line.split() == ["full", "yes", "no", *PRINTED]
    assert markdown_rows(report.as_markdown(page))[2] == ["full", "yes", "no", *PRINTED]
    assert Page(report.as_html(page)).rows[1] == ["full", "yes", "no", *PRINTED]
    (parsed,) = csv_rows(report.as_csv(page))
    assert (parsed["row"], parsed["multi-modal"], parsed["LQP"]) == ("full", "yes", "no")
    assert {key: float(parsed[key]) for key in METRICS} == {
        key: annotation_metrics(TRUTH, CHOSEN)[key] for key in METRICS
    }


def test_several_seeds_are_reported_as_mean_and_sample_standard_deviation():
    page = one_table(row("a", 10.0, 13.0), columns=["H-F1"])  # mean 11.5, sd sqrt(2 * 1.5^2 / 1) = 2.1213
    assert re.search(r"^a +11\.50\n +± 2\.12$", report.as_text(page), re.M)
    assert "11.50 ± 2.12" in report.as_markdown(page)
    assert Page(report.as_html(page)).rows[1] == ["a", "11.50 ± 2.12"]
    lines = csv_rows(report.as_csv(page))
    values = {line["statistic"]: float(line["H-F1"]) for line in lines}
    assert values == {"mean": 11.5, "sd": pytest.approx(2.1213203), "run 1": 10, "run 2": 13}


def test_single_seed_is_reported_without_standard_deviation():
    page = one_table(row("a", 10.0), columns=["H-F1"])
    assert "±" not in report.as_text(page) + report.as_markdown(page) + report.as_html(page)
    assert [line["statistic"] for line in csv_rows(report.as_csv(page))] == ["mean"]


def test_best_value_is_highlighted_and_upper_bounds_are_not():
    page = one_table(
        row("bound", 99.0, upper_bound=True),
        row("a", 50.001),
        row("b", 50.004),
        row("c", 49.99),
        columns=["H-F1"],
    )
    text = report.as_text(page)
    assert re.search(r"^bound +99\.00$", text, re.M)
    assert re.search(r"^a +\*50\.00$", text, re.M), "equal as printed, so both are best"
    assert re.search(r"^b +\*50\.00$", text, re.M)
    assert re.search(r"^c +49\.99$", text, re.M)
    assert report.as_markdown(page).count("**50.00**") == 2
    assert "**99.00**" not in report.as_markdown(page)
    assert report.as_html(page).count("<b>") == 2
    tied = one_table(row("bound", 7.0, upper_bound=True), row("a", 7.0), row("b", 1.0), columns=["H-F1"])
    assert markdown_rows(report.as_markdown(tied))[2:4] == [["bound", "7.00"], ["a", "**7.00**"]]


def test_lowest_mse_is_highlighted_and_mean_lengths_are_not():
    rows = [
        Row("a", [{"MSE": 0.5, "Accuracy": 40.0, "mean predicted": 2.0}]),
        Row("b", [{"MSE": 0.4375, "Accuracy": 45.0, "mean predicted": 3.0}]),
    ]
    text = report.as_markdown(one_table(*rows, columns=("Accuracy", "MSE", "mean predicted")))
    assert markdown_rows(text)[2:] == [
        ["a", "40.00", "0.500", "2.00"],
        ["b", "**45.00**", "**0.438**", "3.00"],
    ]


def test_missing_value_is_a_dash():
    rows = [row("a", 1.0), Row("b", [{}])]
    assert markdown_rows(report.as_markdown(one_table(*rows, columns=["H-F1"])))[3] == ["b", "—"]
    assert csv_rows(report.as_csv(one_table(*rows, columns=["H-F1"])))[1]["H-F1"] == ""


def test_class_counts_are_integers_and_ground_truth_values_have_no_spread():
    measured = [annotation_metrics(TRUTH, CHOSEN), annotation_metrics(TRUTH, TRUTH)]
    (one,) = markdown_rows(report.as_markdown(one_table(Row("a", measured[:1]), columns=LENGTHS)))[2:]
    assert one == ["a", "2.00", "2.00", "2", "1"]
    (two,) = markdown_rows(report.as_markdown(one_table(Row("a", measured), columns=LENGTHS)))[2:]
    assert two == ["a", "2.00 ± 0.00", "2.00", "1.5 ± 0.7", "1"]


def test_size_that_is_equal_for_all_seeds_is_an_integer_without_spread():
    table = one_table(Row("a", [{"parameters": 393_040}] * 2), columns=["parameters"])
    assert markdown_rows(report.as_markdown(table))[2:] == [["a", "393040"]]
    table = one_table(Row("a", [{"parameters": 3}, {"parameters": 4}]), columns=["parameters"])
    assert markdown_rows(report.as_markdown(table))[2:] == [["a", "3.50 ± 0.71"]]


def hostile_report():
    table = Table(
        HOSTILE,
        [row(HOSTILE, 1.0, 2.0), row("b", 0.5, 0.6)],
        ["H-F1"],
        HOSTILE,
        {(HOSTILE, "H-F1"): HOSTILE},
        [HOSTILE],
    )
    outcome = Outcome(Claim(HOSTILE, HOSTILE, HOSTILE, HOSTILE), [1.0], (0.5, 1.5))
    return Report(HOSTILE, [table], [outcome], [(HOSTILE,) * 3], [HOSTILE], {HOSTILE: HOSTILE}, HOSTILE)


def test_hostile_names_are_escaped_in_every_format():
    shown = report.rendering.clean(HOSTILE)
    text = report.as_text(hostile_report())
    assert "\x1b" not in text and shown in text
    page = Page(report.as_html(hostile_report()))
    assert "script" not in page.tags
    assert page.rows[1][0] == shown
    assert "\x1b" not in report.rendering.clean(HOSTILE)
    for cells in markdown_rows(report.as_markdown(hostile_report())):
        assert len(cells) in (2, 3, 4)
        assert not re.search(r"(?<!\\)[<`]", " ".join(cells))
    names = {line["row"] for line in csv_rows(report.as_csv(hostile_report()))}
    assert names == {HOSTILE, "b"}, "CSV contains the name unchanged"
    assert csv_rows(report.claims_as_csv(hostile_report()))[0]["better"] == HOSTILE


def test_html_report_is_well_formed_and_loads_nothing():
    page = Page(report.as_html(full_report()))
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert not {"src", "href"} & {name for name, _ in page.attributes}
    assert ("content", "width=device-width, initial-scale=1") in page.attributes
    for text in ("python -m experiments.x", "keras 3.15.0", "0.03", "decision 5", "a note"):
        assert text in page.text


def full_report():
    names = ["Upper bound (Ours)", "MS-CNN+Tags+LQP", "MS-CNN+LQP", "MS-CNN+Tags", "MS-CNN", "CNN"]
    rng = np.random.default_rng(0)
    chosen = [{name: rng.random([40, 6]) < 0.3 for name in names} for _ in range(3)]
    truth = rng.random([40, 6]) < 0.3
    rows = [
        Row(name, [annotation_metrics(truth, seed[name]) for seed in chosen], "Tags" in name, "LQP" in name)
        for name in names
    ]
    return Report(
        "Table I",
        [Table("Measured: noise, 3 seeds", rows), *published.TABLES.values()],
        [measure_claim(claim, truth, chosen, published.TABLES["I"], 50) for claim in published.CLAIMS],
        [("learning rate", "0.03", "decision 5")],
        ["a note"],
        {"keras": "3.15.0"},
        "python -m experiments.x",
    )


def test_text_report_fits_80_columns():
    for line in report.as_text(full_report()).splitlines():
        assert len(line) <= 80, line


def test_text_columns_align_with_stars_and_footnote_marks():
    lines = report.as_text(Report("t", [published.TABLES["III"]])).splitlines()
    table = lines[lines.index("Published: Table III, NUS-WIDE") + 4 :][:10]
    assert len({tuple(match.start() for match in re.finditer(r"\.\d\d", line)) for line in table}) == 1


def test_inconsistent_published_cells_have_a_footnote():
    page = Report("t", [published.TABLES["II"]])
    for text in (report.as_text(page), report.as_markdown(page)):
        assert "63.02†" in text
        assert "† The printed P and R give 61.60" in text
        assert text.count("†") == 2
    assert "63.02<sup>†</sup>" in report.as_html(page)


def test_equal_footnotes_share_a_mark():
    marks = {("a", "H-F1"): "one", ("b", "H-F1"): "two", ("b", ""): "one"}
    text = report.as_markdown(one_table(row("a", 1.0), row("b", 2.0), columns=["H-F1"], marks=marks))
    assert markdown_rows(text)[2:] == [["a", "1.00†"], ["b†", "**2.00**‡"]]
    assert "- † one" in text and "- ‡ two" in text


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        ((0.2, 1.8), "supported"),
        ((-0.2, 2.2), "undecided"),
        ((-1.8, -0.2), "contradicted"),
        ((-2.2, 0.2), "undecided"),
        ((0.0, 0.0), "undecided"),
        ((0.0, 1.0), "undecided"),
        ((-1.0, 0.0), "undecided"),
    ],
)
def test_verdict_follows_from_the_interval(interval, verdict):
    assert Outcome(CLAIM, [1.0, -1.0], interval).verdict == verdict


def test_report_of_one_seed_notes_the_missing_training_noise():
    for gains, expected in (([1.0], True), ([1.0, 2.0], False)):
        page = dataclasses.replace(one_table(), outcomes=[Outcome(CLAIM, gains, (0.5, 1.5))])
        assert ("no training noise" in Page(report.as_html(page)).text) == expected


def noisy_case(flips, n=400, seeds=2):
    rng = np.random.default_rng(0)
    truth = rng.random([n, 6]) < 0.3
    return truth, [
        {name: truth ^ (rng.random([n, 6]) < p) for name, p in flips.items()} for _ in range(seeds)
    ]


@pytest.mark.parametrize(
    ("flips", "verdict"),
    [
        ({"with": 0.05, "without": 0.2}, "supported"),
        ({"with": 0.2, "without": 0.05}, "contradicted"),
    ],
)
def test_claim_is_measured_on_the_given_annotations(flips, verdict):
    truth, chosen = noisy_case(flips)
    outcome = measure_claim(CLAIM, truth, chosen, resamples=100)
    for seed, gain in zip(chosen, outcome.gains, strict=True):
        better, worse = (annotation_metrics(truth, seed[name])["H-F1"] for name in ("with", "without"))
        assert gain == pytest.approx(better - worse)
    gain = metric_gain(
        truth, [seed["without"] for seed in chosen], [seed["with"] for seed in chosen], resamples=100
    )
    assert outcome.interval == gain.interval
    assert outcome.verdict == verdict
    assert outcome.published is None


def test_verdict_for_equally_good_methods_is_undecided():
    truth, chosen = noisy_case({"with": 0.1, "without": 0.1}, n=100)
    assert measure_claim(CLAIM, truth, chosen).verdict == "undecided"


def test_published_gain_is_taken_from_the_given_table():
    claim = published.CLAIMS[0]
    truth, chosen = noisy_case({claim.better: 0.1, claim.worse: 0.2}, n=50)
    assert measure_claim(claim, truth, chosen, published.TABLES["I"], 10).published == 10.42
    assert measure_claim(claim, truth, chosen, published.TABLES["II"], 10).published == 6.18
    assert measure_claim(claim, truth, chosen, published.TABLES["III"], 10).published is None


def test_claims_table_has_gain_interval_and_verdict():
    outcome = Outcome(CLAIM, [1.0, 2.0], (-0.004, 2.5), 8.74)
    page = dataclasses.replace(one_table(), outcomes=[outcome])
    expected = [
        "tags help (IV-B (2)) with over without",
        "+1.50 ± 0.71 (+0.00 to +2.50)",
        "+8.74",
        "undecided",
    ]
    assert Page(report.as_html(page)).rows[-1] == expected
    assert markdown_rows(report.as_markdown(page))[-1] == expected
    (parsed,) = csv_rows(report.claims_as_csv(page))
    assert float(parsed["gain"]) == 1.5 and float(parsed["low"]) == -0.004 and float(parsed["high"]) == 2.5
    assert parsed["verdict"] == "undecided" and float(parsed["published"]) == 8.74


def test_csv_report_contains_the_published_numbers():
    lines = csv_rows(report.as_csv(Report("t", list(published.TABLES.values()))))
    rows = [(table, row) for table in published.TABLES.values() for row in table.rows]
    assert len(lines) == len(rows) == 34
    for line, (table, expected) in zip(lines, rows, strict=True):
        assert (line["table"], line["row"]) == (table.heading, expected.name)
        assert {c: float(line[c]) for c in table.columns} == expected.seeds[0]


def test_report_files_are_written_to_the_given_folder(tmp_path):
    page = full_report()
    paths = report.write_report(page, tmp_path / "new" / "folder", "table1")
    assert [path.name for path in paths] == ["table1.html", "table1.md", "table1.csv", "table1_claims.csv"]
    assert paths[0].read_text(encoding="utf-8") == report.as_html(page)
    assert paths[2].read_bytes().decode() == report.as_csv(page)
    assert [p.name for p in report.write_report(one_table(row("a", 1.0)), tmp_path, "x")] == [
        "x.html",
        "x.md",
        "x.csv",
    ]
