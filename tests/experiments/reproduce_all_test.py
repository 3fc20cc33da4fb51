"""Runs experiments.reproduce_all as a process: after kills it continues and ends with the same report."""

import csv
import html.parser
import re
import subprocess
import sys
import time

import pytest

from tests.conftest import TINY
from tests.msmm.core.command_line_test import process, refused, run

COMMAND = "experiments.reproduce_all"


def reproduce_all(directory):
    command = [sys.executable, "-m", COMMAND, *settings()]
    return subprocess.run(command, capture_output=True, timeout=1800, **process(directory))


def settings():
    from msmm.configs.baselines import baseline_implementations

    return [
        f"--{name}={value}"
        for name, value in (
            TINY | {f"{n}_epochs": 1 for n in baseline_implementations() if n != "logistic"}
        ).items()
    ]


@pytest.fixture(scope="module")
def uninterrupted(data_dir, tmp_path_factory):
    """Returns the directory and the output of an uninterrupted run of the command."""
    directory = tmp_path_factory.mktemp("uninterrupted")
    (directory / "data").symlink_to(data_dir)
    result = reproduce_all(directory)
    assert result.returncode == 0, result.stderr
    return directory, result.stdout


def measured_numbers(directory):
    """Returns all measured numbers except times, which differ between runs."""
    with open(directory / "runs/scenes/report/report.csv", newline="") as file:
        rows = [row for row in csv.reader(file) if "time" not in row[0]]
    claims = (directory / "runs/scenes/report/report_claims.csv").read_text()
    return rows, claims


@pytest.mark.slow
def test_reproduce_all_killed_repeatedly_ends_with_the_same_report(uninterrupted, data_dir, tmp_path):
    (tmp_path / "data").symlink_to(data_dir)
    seed, report = tmp_path / "runs/scenes/seed0", tmp_path / "runs/scenes/report"
    points = [
        seed / "finetune/state.npz",
        seed / "model/model.json",
        seed / "warp/stage.json",
        report / "report.html",
    ]
    for point in points:
        command = subprocess.Popen(
            [sys.executable, "-m", COMMAND, *settings()], stdout=subprocess.DEVNULL, **process(tmp_path)
        )
        while not point.exists():
            assert command.poll() is None, point
            time.sleep(0.002)
        command.kill()
        command.wait()
    result = reproduce_all(tmp_path)
    assert result.returncode == 0, result.stderr
    assert "epoch 1/" not in result.stdout, "every stage was trained before the last kill"
    assert measured_numbers(tmp_path) == measured_numbers(uninterrupted[0])
    names = {path.name for path in report.iterdir()}
    assert names == {path.name for path in (uninterrupted[0] / "runs/scenes/report").iterdir()}
    drawn = ("quantities", "classes", "average_precision", "reliability", "loss_curves")
    for picture in (*(f"{name}.svg" for name in drawn), "figure6.png"):
        assert (report / picture).read_bytes() == (
            uninterrupted[0] / f"runs/scenes/report/{picture}"
        ).read_bytes()


class Links(html.parser.HTMLParser):
    """Collects everything that a page would load."""

    def __init__(self, text):
        super().__init__()
        self.loads = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.loads += [value for name, value in attrs if name in ("src", "href", "srcset", "data")]
        assert tag not in ("script", "link", "iframe", "object")


@pytest.mark.slow
def test_report_page_is_complete_and_loads_nothing(uninterrupted):
    directory, output = uninterrupted
    page = (directory / "runs/scenes/report/report.html").read_text()
    loads = Links(page).loads
    assert len(loads) == 2 and all(value.startswith("data:image/png;base64,") for value in loads)
    assert "url(" not in page.replace("url(#", "") and page.count("<svg") == 6
    for heading in ("Summary", "Published: Table I,", "Published: Table III,", "Published: Table V,",
                    "Published: IV-D3", "Learning curves", "Label quantities", "Classes: F1",
                    "Classes: average precision", "Reliability", "Figure 5",
                    "Figure 6", "Settings", "Versions", "Command"):  # fmt: skip
        assert re.search(rf"<h2>[^<]*{heading}", page), heading
    assert (
        "Published: Table II," not in page
        and "MSCOCO" not in re.sub(r"<pre>.*", "", page).split("Settings")[0]
    )
    for command in ("reproduce_all", "reproduce_table1", "reproduce_table3", "reproduce_table5", "timing"):
        assert f"python -m experiments.{command} --backbone" in page
    assert "report:      runs/scenes/report/report.html" in output


@pytest.mark.slow
def test_markdown_report_links_existing_pictures(uninterrupted):
    folder = uninterrupted[0] / "runs/scenes/report"
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", (folder / "report.md").read_text())
    assert len(pictures) == 8 and all((folder / picture).is_file() for picture in pictures)


def test_class_tags_ablation_requires_a_second_data_set(tmp_path):
    output = refused(run("experiments.ablation", "--of=class_tags", cwd=tmp_path))
    assert "expected --dataset_without with --of=class_tags" in output
    output = refused(run("experiments.ablation", "--of=k", "--dataset_without=x", cwd=tmp_path))
    assert "only then" in output
