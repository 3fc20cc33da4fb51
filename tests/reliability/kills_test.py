"""kill -9 at random moments of everything that writes, and on: the end is as if nothing had happened.

Moments are drawn from a seed as shares of what each command takes here, and told in a failure.
"""

import pathlib
import random
import shutil
import time

import pytest
from PIL import Image

from msmm.configs.baselines import baseline_implementations
from tests.conftest import TINY
from tests.reliability import whole
from tests.reliability.commands import Commands, kill

METHODS = tuple(baseline_implementations())
EPOCHS = {f"{trained}_epochs": 2 for trained in (*METHODS, "joint")}
SETTINGS = [f"--{name}={value}" for name, value in (TINY | EPOCHS).items()]
MODEL = "--model=runs/scenes/seed0/model"

# Every command that writes, with how often it is killed.
EVERYTHING = [
    (3, "tfrecords_tools.pack", "--dataset=scenes", "--num_train=100", "--num_test=40", "--image_size=32"),
    *((3, "msmm.train", f"--stage={stage}", *SETTINGS) for stage in ("finetune", "visual")),
    *((2, "msmm.train", f"--stage={stage}", *SETTINGS) for stage in ("textual", "classifier", "all")),
    (1, "msmm.train", "--stage=quantity_visual", *SETTINGS),
    (2, "msmm.train", "--stage=joint", *SETTINGS),
    *((2, "msmm.train", f"--method={m}", *SETTINGS) for m in METHODS),
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


def make_home(home: pathlib.Path) -> pathlib.Path:
    (home / "photos").mkdir(parents=True)
    for i in range(NUM_PHOTOS):
        colour = tuple(random.Random(i).randrange(256) for _ in range(3))
        Image.new("RGB", (48, 32), colour).save(home / f"photos/{i:03d}.jpg")
    return home


def uninterrupted(commands: Commands, home: pathlib.Path, plan) -> list[float]:
    """What each command takes, seconds."""
    seconds = []
    for _, command, *arguments in plan:
        started = time.monotonic()
        ended = commands.run(home, command, *arguments)
        assert ended.status == 0, ended
        seconds.append(time.monotonic() - started)
    return seconds


def interrupted(commands: Commands, home: pathlib.Path, plan, seconds, rng: random.Random) -> list[str]:
    """Kills each command as often as planned and then lets it end; returns what was killed and when."""
    told = []
    for (times, command, *arguments), duration in zip(plan, seconds, strict=True):
        for _ in range(times):
            before, moment = whole.finished(home), rng.uniform(0, 0.6) * duration
            started = commands.start(home, command, *arguments)
            time.sleep(moment)
            kill(started)
            if commands.wait(started).status < 0:
                told.append(f"{command} {arguments[0]} after {moment:.2f} of {duration:.2f} s")
            whole.check(home)
            after = whole.finished(home)
            assert {stage: after.get(stage) for stage in before} == before, ("a stage was lost", told)
        ended = commands.run(home, command, *arguments)
        assert ended.status == 0, (ended, told)
    return told


def compare(commands: tuple[Commands, Commands], homes: list[pathlib.Path], plan, seed: int) -> int:
    """Runs a plan in one home, and killed again and again in the other; returns how many kills there were."""
    seconds = uninterrupted(commands[0], homes[0], plan)
    told = interrupted(commands[1], homes[1], plan, seconds, random.Random(seed))
    files = whole.assert_same(*homes)
    assert not [name for name in whole.names(homes[1]) if whole.LEFT.search(name)], told
    print(f"{len(told)} kills in {sum(seconds):.0f} s of work, {files} files the same:", *told, sep="\n  ")
    return len(told)


@pytest.fixture
def homes(tmp_path):
    return [make_home(tmp_path / name / "home") for name in ("whole", "killed")]


def test_killed_once_each_a_pack_a_stage_and_an_annotation_end_as_if_never(commands, homes, model_directory):
    for home in homes:
        shutil.copytree(model_directory, home / "model")
    assert compare((commands, commands), homes, QUICK, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_killed_at_random_moments_everything_ends_as_if_never(tmp_path, homes, seed):
    with Commands(tmp_path / "a") as uninterrupted, Commands(tmp_path / "b") as interrupted:
        assert compare((uninterrupted, interrupted), homes, EVERYTHING, seed) >= 12
