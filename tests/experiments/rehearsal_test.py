"""Draws small raw files, rehearses short commands in place of the steps, and the first real steps (slow)."""

import io
import pathlib
import random
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from experiments.benchmarks import nus_wide_rows, nus_wide_tree, rehearsal_steps
from experiments.benchmarks.rehearsal_run import Rehearsal
from experiments.benchmarks.rehearsal_steps import Step
from experiments.benchmarks.watching import OVER, run_watched
from msmm.core.errors import UserError
from tests.conftest import ROOT
from tfrecords_tools.datasets import nus_wide
from tfrecords_tools.packing.raw_dataset import Settings

IDENTITY = {"rows": 100, "seed": 0}


def python(code):
    """Returns a command, after `python -m`, that runs code."""
    return ("timeit", "-n1", "-r1", code)


@pytest.fixture
def tree(monkeypatch):
    monkeypatch.setattr(nus_wide_tree, "BODIES", 12)
    monkeypatch.setattr(nus_wide_tree, "GROUP", 50)
    return nus_wide_tree.draw_tree(rows=900, classes=20, tags=60, seed=3)


def test_packer_reads_the_drawn_labels_and_tags(tree, tmp_path):
    nus_wide_tree.write_tree(tree, tmp_path)
    zips = {"ConceptsList.zip", "Groundtruth.zip", "ImageList.zip", "NUS_WID_Tags.zip"}
    assert {path.name for path in tmp_path.iterdir()} == zips | {"Flickr", "drawing.json"}
    raw = nus_wide.NusWide(raw_dir=tmp_path)
    contents = raw.read(Settings())
    assert contents.num_rows == {"train": 540, "test": 360} and contents.labels == tree.concepts
    for split, part in nus_wide.SPLITS.items():
        for row, labels, tags in zip(
            raw.rows(split), tree.labels[part].toarray(), tree.tags[part].toarray(), strict=True
        ):
            assert row.labels == tuple(tree.concepts[i] for i in np.flatnonzero(labels))
            assert row.tags == tuple(f"tag{i:05d}" for i in np.flatnonzero(tags))


def test_photographs_differ_and_some_are_missing_or_broken(tree, tmp_path):
    nus_wide_tree.write_tree(tree, tmp_path)
    files = {path: path.read_bytes() for path in tmp_path.rglob("*.jpg")}
    assert len(files) == pytest.approx(900 * (1 - nus_wide_tree.SHARES["missing"]), abs=40)
    notices = sum(content.startswith(b"GIF8") for content in files.values())
    assert notices == pytest.approx(900 * nus_wide_tree.SHARES["notice"], abs=18)
    assert b"" in files.values() and nus_wide_tree.PAGE in files.values()
    photographs = [content for content in files.values() if content.startswith(b"\xff\xd8")]
    assert len(set(photographs)) == len(photographs) > 700
    whole = next(content for content in photographs if content.endswith(b"\xff\xd9"))
    assert Image.open(io.BytesIO(whole)).convert("RGB").getextrema()[0][1] > 150


def test_sizes_of_photographs_are_spread_around_30_kib():
    sizes = np.log([len(content) for content in nus_wide_tree.draw_photographs(60, seed=0)])
    assert np.exp(np.median(sizes)) == pytest.approx(nus_wide_tree.MEDIAN_BYTES, rel=0.25)
    assert 0.25 < sizes.std() < 0.7


def test_an_interrupted_tree_is_completed_to_the_same_files(tree, tmp_path):
    nus_wide_tree.write_tree(tree, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    kept = tmp_path / "Flickr/group000"
    touched = kept.stat().st_mtime_ns
    for path in (tmp_path / "Flickr/group003").iterdir():
        path.unlink()
    (tmp_path / "Flickr/group003").rename(tmp_path / "Flickr/group003.partial-0123abcd")
    (tmp_path / "NUS_WID_Tags.zip").unlink()
    nus_wide_tree.write_tree(tree, tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert kept.stat().st_mtime_ns == touched


def test_another_tree_in_the_same_folder_is_refused(tree, tmp_path):
    nus_wide_tree.write_tree(tree, tmp_path)
    for other in ({"rows": 901}, {"classes": 21}, {"tags": 61}, {"seed": 4}):
        drawn = nus_wide_tree.draw_tree(**{"rows": 900, "classes": 20, "tags": 60, "seed": 3} | other)
        with pytest.raises(UserError, match=r"has a drawing of .*'rows': 900.*, not of .*: choose another"):
            nus_wide_tree.write_tree(drawn, tmp_path)


def test_tags_follow_zipf_and_belong_to_labels():
    rng = np.random.default_rng(0)
    labels = nus_wide_rows.draw_labels(20_000, 30, rng)
    tags = nus_wide_rows.draw_tags(labels, 300, rng)
    counts = np.diff(labels.indptr)
    assert (counts == 0).mean() == pytest.approx(nus_wide_rows.UNLABELLED, abs=0.02)
    frequency = np.asarray(tags.sum(axis=0)).ravel()
    assert frequency[:30].sum() > 5 * frequency[-30:].sum() > 0
    with_label = labels[:, [4]].toarray().ravel()
    shares = [tags[rows][:, [4]].mean() for rows in (with_label, ~with_label)]
    assert shares[0] > 2 * shares[1]


def test_watching_measures_memory_and_ends_what_takes_too_much(tmp_path):
    command = [sys.executable, "-c", "import time; x = b'1' * (300 * 2**20); time.sleep(1.5)"]
    cost = run_watched(command, tmp_path / "a.out")
    assert cost.status == 0 and 300 < cost.own < 400 and cost.peak >= cost.own
    assert run_watched(command, tmp_path / "b.out", memory=200).status == OVER
    children = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
    killed = run_watched([sys.executable, "-c", children], tmp_path / "c.out", kill_after=0.5)
    assert killed.status == -9 and killed.seconds < 20


def test_finished_steps_are_not_repeated_and_failed_ones_are(tmp_path):
    marks = tmp_path / "marks"
    code = f"open({str(marks)!r}, 'a').write('x')"
    good, bad = Step("good", python(code)), Step("bad", python("1 / 0"))
    Rehearsal(tmp_path, IDENTITY, 1e6).run([good, bad])
    again = Rehearsal(tmp_path, IDENTITY, 1e6)
    again.run([good, bad])
    assert marks.read_text() == "x"
    assert again.failed([good, bad]) == [f"bad: 1; see {tmp_path / 'logs/bad.err'}"]
    assert (tmp_path / "logs/bad.err").read_text().count("ZeroDivisionError") == 2
    with pytest.raises(UserError, match="choose another --folder"):
        Rehearsal(tmp_path, {**IDENTITY, "rows": 7}, 1e6)


def test_table_has_rows_disk_and_files_of_each_step(tmp_path):
    code = f"open({str(tmp_path / 'made')!r}, 'wb').write(bytes(3 * 2**20)); import time; time.sleep(.5)"
    steps = [Step("one", python(code))]
    rehearsal = Rehearsal(tmp_path, IDENTITY, 1e6)
    rehearsal.run(steps)
    text = rehearsal.write_tables(steps)
    assert (tmp_path / "table.md").read_text() == text
    columns, cells = (line.split(",") for line in (tmp_path / "table.csv").read_text().splitlines())
    row = dict(zip(columns, cells, strict=True))
    assert (row["step"], row["rows"], row["disk MiB"], row["files"]) == ("one", "100", "3", "1")
    assert float(row["rows/s"]) == pytest.approx(100 / float(row["s"]), rel=0.1)
    grown = rehearsal.write_tables(steps, smaller=rehearsal)
    assert "| × 1.00 | × 1.00 |" in grown


def test_a_killed_step_goes_on_and_its_result_is_compared(tmp_path):
    """The first run writes its number, so that a repetition that begins again gives another result."""
    code = "import pathlib, time; p = pathlib.Path({!r}); time.sleep(1); p.write_text({})"

    def step(folder, text):
        path = folder / "result"
        return Step("one", python(code.format(str(path), text)), result=lambda f: (f / "result").read_text())

    (tmp_path / "killed").mkdir()
    for text, same in (("'same'", True), ("str(p.exists())", False)):
        folder = tmp_path / text[:3].strip("'")
        (folder / "killed").mkdir(parents=True)
        undisturbed = step(folder, "'same'")
        rehearsal = Rehearsal(folder, IDENTITY, 1e6)
        rehearsal.run([undisturbed], [step(folder / "killed", text)])
        kill = rehearsal.kills["one"]
        assert kill["status"] == 0 and 0 < kill["after"] < rehearsal.steps["one"]["seconds"]
        assert kill["same"] is same
        assert ("| yes |" if same else "| NO |") in rehearsal.write_tables([undisturbed])


def test_a_tree_that_was_over_before_its_kill_is_deleted_too(tmp_path, monkeypatch):
    """Later steps read the first tree, and a second one takes gigabytes."""
    make = "import pathlib; pathlib.Path({!r}).mkdir(parents=True)"
    monkeypatch.setattr(random.Random, "uniform", lambda *_: 1e3)  # a moment that never comes
    folders = (tmp_path, tmp_path / "killed")
    whole, again = (Step("tree", python(make.format(str(folder / "tree")))) for folder in folders)
    rehearsal = Rehearsal(tmp_path, IDENTITY, 1e6)
    rehearsal.run([whole], [again])
    assert rehearsal.kills["tree"]["status"] == 0 and rehearsal.kills["tree"]["after"] is None
    assert (tmp_path / "tree").exists() and not (tmp_path / "killed/tree").exists()


def test_steps_are_every_stage_and_method_in_order(tmp_path):
    from msmm.configs.baselines import baseline_implementations
    from msmm.training.stage_table import PAPER_STAGES

    steps = rehearsal_steps.list_steps(tmp_path, tmp_path / "tree", ("--rows=100",), {"image_size": 32})
    names = [step.name for step in steps if not step.name.startswith("pack")]
    trained = [f"stage {stage}" for stage in PAPER_STAGES]
    trained += [f"method {method}" for method in baseline_implementations()]
    assert names == ["tree", *trained, "evaluate", "evaluate, best rule", "report"]
    assert all("--image_size=32" in step.command for step in steps if step.name in trained)


def test_a_rehearsal_that_would_fill_the_disk_is_refused(tmp_path):
    command = [sys.executable, "-m", "experiments.rehearsal", "--rows=4000000000", f"--folder={tmp_path}"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 2 and "expected 305,176 GiB of free disk" in result.stderr


@pytest.mark.slow
def test_rehearsal_of_the_first_steps_with_kills(tmp_path):
    command = [sys.executable, "-m", "experiments.rehearsal", "--rows=500", f"--folder={tmp_path}", "--kill"]
    command += ["--classes=12", "--tags=40", "--steps=tree,pack,stage textual"]
    for _ in range(2):  # the second one finds everything finished
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert result.returncode == 0, result.stdout + result.stderr
        lines = [line for line in result.stdout.splitlines() if line.startswith("|")][2:]
        cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
        names = [row[0] for row in cells if row[0] != "pack, Beam"]
        assert names == ["tree", "pack", "stage textual"]
        assert {row[-1] for row in cells} <= {"yes", "-"} and "yes" in {row[-1] for row in cells}
    table = pathlib.Path(tmp_path / "table.md").read_text()
    assert re.search(r"\| tree \| 500 \|", table)
    assert not (tmp_path / "killed/tree").exists()
