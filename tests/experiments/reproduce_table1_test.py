"""Runs experiments.reproduce_table1 as a process on a run with finished stages."""

import csv
import re
import shutil

import pytest

from msmm.training import table_predictions
from msmm.training.table_rows import TABLE_ROWS
from tests.conftest import TINY
from tests.msmm.core.command_line_test import refused
from tests.msmm.core.command_line_test import run_with_tensorflow as run


@pytest.fixture(scope="module")
def finished(trained_run, data_dir, tmp_path_factory):
    directory = tmp_path_factory.mktemp("table1")
    (directory / "data").symlink_to(data_dir)
    shutil.copytree(trained_run.workdir, directory / "runs" / "scenes")
    settings = [f"--{name}={value}" for name, value in TINY.items()]
    result = run("experiments.reproduce_table1", *settings, cwd=directory)
    assert result.returncode == 0, result.stderr
    return directory, result.stdout


def test_reproduce_table1_does_not_retrain_finished_stages(finished):
    assert "finetune: finished earlier" in finished[1] and "epoch 1/" not in finished[1]


def test_reproduce_table1_prints_the_table_and_the_paths_of_its_outputs(finished):
    directory, output = finished
    for name in TABLE_ROWS:
        assert re.search(rf"^{re.escape(name)} +(yes|no) +(yes|no) ", output, re.MULTILINE)
    paths = dict(re.findall(r"^(report|model): +(\S+)", output, re.MULTILINE))
    assert (directory / paths["report"]).is_file() and (directory / paths["model"] / "model.keras").is_file()
    assert "tensorboard --logdir=runs/scenes" in output
    assert not list((directory / "runs/scenes/features").glob("maps-*"))  # gigabytes on real data


def test_table1_csv_contains_the_metrics_and_claims_of_the_run(finished, trained_run):
    with open(finished[0] / "runs/scenes/table1/table1.csv", newline="") as file:
        rows = {
            row["row"]: row
            for row in csv.DictReader(file)
            if row["table"].startswith("Measured: the rows of Table I, scenes")
        }
    assert list(rows) == list(TABLE_ROWS)
    for name, variant in TABLE_ROWS.items():
        figures = table_predictions.measure_row(trained_run, variant)[1]
        for metric in ("C-P", "C-R", "C-F1", "I-P", "I-R", "I-F1", "H-F1"):
            assert float(rows[name][metric]) == pytest.approx(figures[metric], abs=1e-9)
    with open(finished[0] / "runs/scenes/table1/table1_claims.csv", newline="") as file:
        claims = list(csv.DictReader(file))
    assert len(claims) == 5
    for claim in claims:
        gain = float(rows[claim["better"]]["H-F1"]) - float(rows[claim["worse"]]["H-F1"])
        assert float(claim["gain"]) == pytest.approx(gain, abs=1e-9)
        low, high = float(claim["low"]), float(claim["high"])
        expected = "supported" if low > 0 else "contradicted" if high < 0 else "undecided"
        assert claim["verdict"] == expected


def test_results_page_is_rebuilt_from_the_reports(finished):
    directory, _ = finished
    page = directory / "docs" / "results.md"
    page.parent.mkdir()
    blocks = [
        f"<!-- results: scenes/table1/table1.md | {heading} -->\n<!-- end of results -->"
        for heading in ("Measured: the rows of Table I, scenes", "The paper's claims, as measured")
    ]
    page.write_text("# Results\n\nBefore.\n\n" + "\n\nBetween.\n\n".join(blocks) + "\n")
    (directory / "README.md").write_text("No block.\n")
    before = page.read_text()
    check = refused(run("experiments.results_pages", "--check", cwd=directory))
    assert "docs/results.md differ" in check and page.read_text() == before
    result = run("experiments.results_pages", cwd=directory)
    assert result.returncode == 0 and "rebuilt docs/results.md" in result.stdout
    text = page.read_text()
    report = (directory / "runs/scenes/table1/table1.md").read_text()
    sections = dict(section.split("\n", 1) for section in report.split("## ")[1:])
    for heading, rows in (("Measured: the rows of Table I", 8), ("The paper's claims, as measured", 7)):
        (section,) = (text for title, text in sections.items() if title.startswith(heading))
        lines = [line for line in section.splitlines() if line.startswith("| ")]
        assert len(lines) == rows and all(line in text for line in lines)
    assert "Before." in text and "Between." in text and "no training noise" in text
    assert run("experiments.results_pages", "--check", cwd=directory).returncode == 0
    page.write_text(text.replace("MS-CNN", "MS-DNN", 1))
    refused(run("experiments.results_pages", "--check", cwd=directory))
