"""Two commands at once in one place: one waits its turn in words, or both end well."""

import json
import pathlib
import shutil
import time

import pytest

from tests.conftest import TINY
from tests.reliability import whole
from tests.reliability.disk_full_test import DOORS, NUM_PHOTOS, inputs  # noqa: F401 - a fixture
from tests.reliability.doors import kill, said


@pytest.fixture
def home(tmp_path, inputs):  # noqa: F811
    return pathlib.Path(shutil.copytree(inputs, tmp_path / "home"))


def until(there, seconds=60):
    deadline = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_second_training_is_told_of_the_first_and_a_killed_ones_lock_is_none(doors, home):
    command = (
        "msmm.train",
        "--stage=textual",
        *(f"--{n}={v}" for n, v in TINY.items() if n != "textual_epochs"),
    )
    first = doors.start(home, *command, "--textual_epochs=5000", "--patience=5000")
    until((home / "runs/scenes/seed0/textual/state.npz").exists)
    line = said(doors.run(home, *command, "--textual_epochs=5000", "--patience=5000"))
    assert f"process {first[0]} is at work in runs/scenes/seed0: wait for it, or choose another" in line
    other = doors.run(home, *command, "--textual_epochs=1", "--seed=1")
    assert other.status == 0, other
    kill(first)
    assert doors.wait(first).status < 0
    assert (home / "runs/scenes/seed0/lock").read_text().strip() == str(first[0])
    ended = doors.run(home, *command, "--textual_epochs=1", "--restart")
    assert ended.status == 0, ended


def test_a_second_annotation_to_the_same_file_is_told(doors, home):
    from msmm.photos.outputs import JSON, File

    with File(str(home / "out.jsonl"), JSON, "model", overwrite=False):
        line = said(doors.run(home, *DOORS["json"]))
        assert "another process writes out.jsonl: wait for it, or name another --output" in line
    ended = doors.run(home, *DOORS["json"])
    assert ended.status == 0, ended
    assert len((home / "out.jsonl").read_text().splitlines()) == NUM_PHOTOS


def test_a_second_gallery_in_the_same_folder_is_told(doors, home):
    from msmm.photos.gallery import Gallery

    with Gallery(str(home / "gallery"), "A model", overwrite=False):
        assert "another process writes the gallery gallery" in said(doors.run(home, *DOORS["html"]))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pack", "xmp", "export"])
def test_two_at_once_end_as_one(doors, home, tmp_path, name):
    """Packs, and the sidecars of two annotations; of two exports one may find the other's there."""
    alone = shutil.copytree(home, tmp_path / "alone" / "home")
    assert doors.run(alone, *DOORS[name]).status == 0
    for _ in range(3):
        both = [doors.start(home, *DOORS[name]) for _ in range(2)]
        ended = [doors.wait(one) for one in both]
        assert all(one.status in (0, 1, 2) and "Traceback" not in one.stderr for one in ended), ended
        assert any(one.status == 0 for one in ended) or name == "xmp", ended
        ended = doors.run(home, *DOORS[name])
        assert ended.status == 0 or "already" in ended.stderr, ended
        whole.assert_same(home, alone)
        for made in ("packed", "exported"):
            shutil.rmtree(home / made, ignore_errors=True)
        for sidecar in home.glob("photos/*.xmp"):
            sidecar.unlink()


@pytest.mark.slow
def test_evaluating_while_training_reads_what_is_finished(doors, home, trained_run):
    shutil.copytree(trained_run.workdir, home / "runs/scenes")
    settings = [f"--{name}={value}" for name, value in TINY.items()]
    alone = doors.run(home, "msmm.evaluate", *settings)
    assert alone.status == 0, alone
    shutil.rmtree(home / "runs/scenes/features")
    training = doors.start(home, "msmm.train", "--method=warp", "--warp_epochs=50", *settings)
    until((home / "runs/scenes/seed0/warp").exists)
    evaluating = [doors.start(home, "msmm.evaluate", *settings) for _ in range(2)]
    assert [doors.wait(one).stdout for one in evaluating] == [alone.stdout] * 2
    kill(training)
    doors.wait(training)
    assert not [name for name in whole.names(home / "runs/scenes/features") if whole.LEFT.search(name)]
    json.loads((home / "runs/scenes/run.json").read_text())
