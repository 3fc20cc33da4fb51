"""Two commands at once in one place: one waits its turn in words, or both end well."""

import json
import pathlib
import shutil
import time

import pytest

from tests.conftest import TINY
from tests.reliability import whole
from tests.reliability.commands import error_line, kill
from tests.reliability.disk_full_test import COMMANDS, NUM_PHOTOS, inputs  # noqa: F401 - a fixture


@pytest.fixture
def home(tmp_path, inputs):  # noqa: F811
    return pathlib.Path(shutil.copytree(inputs, tmp_path / "home"))


def until(there, seconds=60):
    deadline = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_second_training_is_told_of_the_first_and_a_killed_ones_lock_is_none(commands, home):
    command = (
        "msmm.train",
        "--stage=textual",
        *(f"--{n}={v}" for n, v in TINY.items() if n != "textual_epochs"),
    )
    first = commands.start(home, *command, "--textual_epochs=5000", "--patience=5000")
    until((home / "runs/scenes/seed0/textual/state.npz").exists)
    line = error_line(commands.run(home, *command, "--textual_epochs=5000", "--patience=5000"))
    assert f"process {first[0]} is at work in runs/scenes/seed0: wait for it, or choose another" in line
    other = commands.run(home, *command, "--textual_epochs=1", "--seed=1")
    assert other.status == 0, other
    kill(first)
    assert commands.wait(first).status < 0
    assert (home / "runs/scenes/seed0/lock").read_text().strip() == str(first[0])
    ended = commands.run(home, *command, "--textual_epochs=1", "--restart")
    assert ended.status == 0, ended


def test_a_second_annotation_to_the_same_file_is_told(commands, home):
    from msmm.photos.formats import JSON
    from msmm.photos.outputs import File

    with File(str(home / "out.jsonl"), JSON, "model", overwrite=False):
        line = error_line(commands.run(home, *COMMANDS["json"]))
        assert "another process writes out.jsonl: wait for it, or name another --output" in line
    ended = commands.run(home, *COMMANDS["json"])
    assert ended.status == 0, ended
    assert len((home / "out.jsonl").read_text().splitlines()) == NUM_PHOTOS


def test_a_second_gallery_in_the_same_folder_is_told(commands, home):
    from msmm.photos.gallery import Gallery

    with Gallery(str(home / "gallery"), "A model", overwrite=False):
        assert "another process writes the gallery gallery" in error_line(
            commands.run(home, *COMMANDS["html"])
        )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pack", "xmp", "export"])
def test_two_at_once_end_as_one(commands, home, tmp_path, name):
    """Packs, and the sidecars of two annotations; of two exports one may find the other's there."""
    alone = shutil.copytree(home, tmp_path / "alone" / "home")
    assert commands.run(alone, *COMMANDS[name]).status == 0
    for _ in range(3):
        both = [commands.start(home, *COMMANDS[name]) for _ in range(2)]
        ended = [commands.wait(one) for one in both]
        assert all(one.status in (0, 1, 2) and "Traceback" not in one.stderr for one in ended), ended
        assert any(one.status == 0 for one in ended) or name == "xmp", ended
        ended = commands.run(home, *COMMANDS[name])
        assert ended.status == 0 or "already" in ended.stderr, ended
        whole.assert_same(home, alone)
        for made in ("packed", "exported"):
            shutil.rmtree(home / made, ignore_errors=True)
        for sidecar in home.glob("photos/*.xmp"):
            sidecar.unlink()


@pytest.mark.slow
def test_evaluating_while_training_reads_what_is_finished(commands, home, trained_run):
    shutil.copytree(trained_run.workdir, home / "runs/scenes")
    settings = [f"--{name}={value}" for name, value in TINY.items()]
    alone = commands.run(home, "msmm.evaluate", *settings)
    assert alone.status == 0, alone
    shutil.rmtree(home / "runs/scenes/features")
    training = commands.start(home, "msmm.train", "--method=warp", "--warp_epochs=50", *settings)
    until((home / "runs/scenes/seed0/warp").exists)
    evaluating = [commands.start(home, "msmm.evaluate", *settings) for _ in range(2)]
    assert [commands.wait(one).stdout for one in evaluating] == [alone.stdout] * 2
    kill(training)
    commands.wait(training)
    assert not [name for name in whole.names(home / "runs/scenes/features") if whole.LEFT.search(name)]
    json.loads((home / "runs/scenes/run.json").read_text())
