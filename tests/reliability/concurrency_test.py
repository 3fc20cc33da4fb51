"""Two concurrent commands on the same files: one is refused with a message, or both succeed."""

import json
import pathlib
import shutil
import time

import pytest

from tests.commands import error_line, kill
from tests.conftest import TINY
from tests.reliability import snapshots
from tests.reliability.disk_full_test import COMMANDS, NUM_PHOTOS, inputs  # noqa: F401 - a fixture


@pytest.fixture
def directory(tmp_path, inputs):  # noqa: F811
    return pathlib.Path(shutil.copytree(inputs, tmp_path / "work"))


def wait_until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.slow
def test_second_training_of_a_seed_is_refused_until_the_first_is_killed(commands, directory):
    command = (
        "msmm.train",
        "--stage=textual",
        *(f"--{n}={v}" for n, v in TINY.items() if n != "textual_epochs"),
    )
    first = commands.start(directory, *command, "--textual_epochs=5000", "--patience=5000")
    wait_until((directory / "runs/scenes/seed0/textual/state.npz").exists)
    line = error_line(commands.run(directory, *command, "--textual_epochs=5000", "--patience=5000"))
    assert f"process {first[0]} is at work in runs/scenes/seed0: wait for it, or choose another" in line
    other = commands.run(directory, *command, "--textual_epochs=1", "--seed=1")
    assert other.status == 0, other
    kill(first)
    assert commands.wait(first).status < 0
    assert (directory / "runs/scenes/seed0/lock").read_text().strip() == str(first[0])
    result = commands.run(directory, *command, "--textual_epochs=1", "--restart")
    assert result.status == 0, result


def test_second_annotation_to_the_same_file_is_refused(commands, directory):
    from msmm.photos.annotation_lines import JSON
    from msmm.photos.outputs import File

    with File(str(directory / "out.jsonl"), JSON, "model", overwrite=False):
        line = error_line(commands.run(directory, *COMMANDS["json"]))
        assert "another process writes out.jsonl: wait for it, or name another --output" in line
    result = commands.run(directory, *COMMANDS["json"])
    assert result.status == 0, result
    assert len((directory / "out.jsonl").read_text().splitlines()) == NUM_PHOTOS


def test_second_gallery_in_the_same_folder_is_refused(commands, directory):
    from msmm.photos.gallery import Gallery

    with Gallery(str(directory / "gallery"), "A model", overwrite=False):
        assert "another process writes the gallery gallery" in error_line(
            commands.run(directory, *COMMANDS["html"])
        )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pack", "xmp", "export"])
def test_two_concurrent_commands_end_with_the_files_of_one(commands, directory, tmp_path, name):
    """Covers packs, sidecars of two annotations, and exports, of which one may find the other's output."""
    alone = shutil.copytree(directory, tmp_path / "alone" / "work")
    assert commands.run(alone, *COMMANDS[name]).status == 0
    for _ in range(3):
        both = [commands.start(directory, *COMMANDS[name]) for _ in range(2)]
        results = [commands.wait(process) for process in both]
        assert all(one.status in (0, 1, 2) and "Traceback" not in one.stderr for one in results), results
        assert any(one.status == 0 for one in results) or name == "xmp", results
        result = commands.run(directory, *COMMANDS[name])
        assert result.status == 0 or "already" in result.stderr, result
        snapshots.assert_same(directory, alone)
        for made in ("packed", "exported"):
            shutil.rmtree(directory / made, ignore_errors=True)
        for sidecar in directory.glob("photos/*.xmp"):
            sidecar.unlink()


@pytest.mark.slow
def test_evaluation_during_training_reads_only_finished_stages(commands, directory, trained_run):
    shutil.copytree(trained_run.workdir, directory / "runs/scenes")
    settings = [f"--{name}={value}" for name, value in TINY.items()]
    alone = commands.run(directory, "msmm.evaluate", *settings)
    assert alone.status == 0, alone
    shutil.rmtree(directory / "runs/scenes/features")
    training = commands.start(directory, "msmm.train", "--method=warp", "--warp_epochs=50", *settings)
    wait_until((directory / "runs/scenes/seed0/warp").exists)
    evaluating = [commands.start(directory, "msmm.evaluate", *settings) for _ in range(2)]
    assert [commands.wait(one).stdout for one in evaluating] == [alone.stdout] * 2
    kill(training)
    commands.wait(training)
    assert not [
        name
        for name in snapshots.file_names(directory / "runs/scenes/features")
        if snapshots.UNFINISHED.search(name)
    ]
    json.loads((directory / "runs/scenes/run.json").read_text())
