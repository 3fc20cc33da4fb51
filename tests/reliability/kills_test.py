"""Sends SIGKILL to writing commands at random moments: running them again gives the undisturbed result.

Moments are drawn from a seed as shares of each command's measured duration. Failure messages list them.
"""

import pathlib
import random
import shutil
import time

import pytest
from PIL import Image

from msmm.configs.base import Config
from msmm.configs.baselines import baseline_implementations
from msmm.configs.settings import flat_settings
from tests.commands import Commands, kill
from tests.conftest import TINY
from tests.reliability import snapshots

BASELINES = tuple(baseline_implementations())
EPOCHS = {
    name: 2
    for name in (f"{trained}_epochs" for trained in (*BASELINES, "joint"))
    if name in flat_settings(Config())  # CNN+logistic is fitted to its optimum
}
SETTINGS = [f"--{name}={value}" for name, value in (TINY | EPOCHS).items()]
MODEL = "--model=runs/scenes/seed0/model"

# (number of kills, command, arguments) for every command that writes.
WRITING_COMMANDS = [
    (3, "tfrecords_tools.pack", "--dataset=scenes", "--num_train=100", "--num_test=40", "--image_size=32"),
    *((3, "msmm.train", f"--stage={stage}", *SETTINGS) for stage in ("finetune", "visual")),
    *((2, "msmm.train", f"--stage={stage}", *SETTINGS) for stage in ("textual", "classifier", "all")),
    (1, "msmm.train", "--stage=quantity_visual", *SETTINGS),
    (2, "msmm.train", "--stage=joint", *SETTINGS),
    *((2, "msmm.train", f"--method={m}", *SETTINGS) for m in BASELINES),
    (1, "msmm.evaluate", "--csv=annotations.csv", "--sheet=annotations.png", *SETTINGS),
    (3, "msmm.export", MODEL, "--output=exported", "--check_images=10"),
    (3, "msmm.annotate", "photos", MODEL, "--format=xmp", "--workers=1"),
    (2, "msmm.annotate", "photos", MODEL, "--format=json", "--output=annotations.jsonl", "--workers=1"),
    (2, "msmm.annotate", "photos", MODEL, "--format=html", "--output=gallery", "--workers=1"),
]  # fmt: skip
QUICK = [
    (1, "tfrecords_tools.pack", "--dataset=scenes", "--num_train=60", "--num_test=20", "--image_size=32"),
    (1, "msmm.train", "--stage=textual", *SETTINGS),
    (1, "msmm.annotate", "photos", "--model=model", "--format=xmp", "--workers=1"),
]  # fmt: skip
NUM_PHOTOS = 250


def make_directory(directory: pathlib.Path) -> pathlib.Path:
    (directory / "photos").mkdir(parents=True)
    for i in range(NUM_PHOTOS):
        colour = tuple(random.Random(i).randrange(256) for _ in range(3))
        Image.new("RGB", (48, 32), colour).save(directory / f"photos/{i:03d}.jpg")
    return directory


def run_undisturbed(commands: Commands, directory: pathlib.Path, plan) -> list[float]:
    """Runs a plan without kills; returns the duration of each command, seconds."""
    seconds = []
    for _, command, *arguments in plan:
        started = time.monotonic()
        result = commands.run(directory, command, *arguments)
        assert result.status == 0, result
        seconds.append(time.monotonic() - started)
    return seconds


def run_with_kills(
    commands: Commands, directory: pathlib.Path, plan, seconds, rng: random.Random
) -> list[str]:
    """Kills each command as often as planned and then lets it finish; returns a description of each kill."""
    kills = []
    for (times, command, *arguments), duration in zip(plan, seconds, strict=True):
        for _ in range(times):
            before, moment = snapshots.finishing_times(directory), rng.uniform(0, 0.6) * duration
            started = commands.start(directory, command, *arguments)
            time.sleep(moment)
            kill(started)
            if commands.wait(started).status < 0:
                kills.append(f"{command} {arguments[0]} after {moment:.2f} of {duration:.2f} s")
            snapshots.check_files(directory)
            after = snapshots.finishing_times(directory)
            assert {stage: after.get(stage) for stage in before} == before, ("a stage was lost", kills)
        result = commands.run(directory, command, *arguments)
        assert result.status == 0, (result, kills)
    return kills


def compare_runs(
    commands: tuple[Commands, Commands], directories: list[pathlib.Path], plan, seed: int
) -> int:
    """Runs a plan in one directory, and with kills in the other; returns the number of kills."""
    seconds = run_undisturbed(commands[0], directories[0], plan)
    kills = run_with_kills(commands[1], directories[1], plan, seconds, random.Random(seed))
    files = snapshots.assert_same(*directories)
    assert not [name for name in snapshots.file_names(directories[1]) if snapshots.UNFINISHED.search(name)], (
        kills
    )
    print(f"{len(kills)} kills in {sum(seconds):.0f} s of work, {files} files the same:", *kills, sep="\n  ")
    return len(kills)


@pytest.fixture
def directories(tmp_path):
    return [make_directory(tmp_path / name / "work") for name in ("undisturbed", "killed")]


@pytest.mark.slow
def test_pack_train_and_annotate_killed_once_end_with_the_files_of_undisturbed_runs(
    commands, directories, model_directory
):
    for directory in directories:
        shutil.copytree(model_directory, directory / "model")
    assert compare_runs((commands, commands), directories, QUICK, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_every_writing_command_killed_at_random_moments_ends_with_the_files_of_undisturbed_runs(
    tmp_path, directories, seed
):
    with Commands(tmp_path / "a") as first, Commands(tmp_path / "b") as second:
        assert compare_runs((first, second), directories, WRITING_COMMANDS, seed) >= 12
