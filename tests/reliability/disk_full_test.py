"""A full disk, files that may not grow, places that cannot be written: one line, nothing lost, and on.

A small file system is mounted where that is allowed, and filled but for a few bytes; everywhere else the
limit on the size of a file (RLIMIT_FSIZE) makes the same writers fail.
"""

import errno
import os
import pathlib
import random
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from msmm.core.errors import UserError
from tests.conftest import TINY
from tests.reliability import whole
from tests.reliability.commands import error_line

SETTINGS = [f"--{name}={value}" for name, value in TINY.items()]
COMMANDS = {
    "pack": ("tfrecords_tools.pack", "--dataset=scenes", "--data_dir=packed", "--num_train=60",
             "--num_test=20", "--image_size=32", "--workers=1"),
    "train": ("msmm.train", "--stage=textual", *SETTINGS),
    "export": ("msmm.export", "--model=model", "--output=exported", "--check_images=3"),
    "xmp": ("msmm.annotate", "photos", "--model=model", "--format=xmp", "--workers=1"),
    "json": ("msmm.annotate", "photos", "--model=model", "--format=json", "--output=out.jsonl",
             "--workers=1"),
    "csv": ("msmm.annotate", "photos", "--model=model", "--format=csv", "--output=new/out.csv",
            "--workers=1"),
    "html": ("msmm.annotate", "photos", "--model=model", "--format=html", "--output=gallery", "--workers=1"),
}  # fmt: skip
KEPT = ("out.jsonl.partial", "new/out.csv.partial")  # from where annotating goes on
NUM_PHOTOS = 120
QUICK = ("train", "xmp")


@pytest.fixture(scope="session")
def inputs(tmp_path_factory, data_dir, model_directory):
    home = tmp_path_factory.mktemp("inputs") / "home"
    (home / "photos").mkdir(parents=True)
    for i in range(NUM_PHOTOS):
        Image.new("RGB", (40, 30), tuple(random.Random(i).choices(range(256), k=3))).save(
            home / f"photos/{i:03d}.jpg"
        )
    shutil.copytree(model_directory, home / "model")
    shutil.copytree(data_dir, home / "data")
    return home


@pytest.fixture(scope="session")
def well(commands, inputs, tmp_path_factory):
    """The home after a command that nothing hindered, by the command's name."""
    made = {}

    def run(name):
        if name not in made:
            made[name] = tmp_path_factory.mktemp("well") / "home"
            shutil.copytree(inputs, made[name])
            ended = commands.run(made[name], *COMMANDS[name])
            assert ended.status == 0, ended
        return made[name]

    return run


def fill(disk: pathlib.Path, room: int) -> pathlib.Path:
    """Fills a file system but for `room` bytes, with the file that is returned."""
    filler = disk / "filler"
    with open(filler, "wb", buffering=0) as file:
        block = 1 << 20
        while block:
            try:
                if file.write(bytes(block)) < block:
                    block //= 16
            except OSError:
                block //= 16
    os.truncate(filler, filler.stat().st_size - room)
    return filler


def after_failing(home: pathlib.Path, before: set[str]) -> None:
    """What was there is there and whole, and nothing half is."""
    whole.check(home)
    now = whole.names(home)
    assert before <= now
    assert not [name for name in now if whole.LEFT.search(name) and name not in KEPT]


@pytest.mark.parametrize(
    ("name", "room"),
    [
        *(pytest.param(name, 24 << 10, id=name) for name in QUICK),
        *(
            pytest.param(name, kib << 10, marks=pytest.mark.slow, id=f"{name}-{kib}")
            for name in COMMANDS
            for kib in (0, 24, 60)
        ),
    ],
)
def test_a_full_disk_is_said_in_one_line_and_with_room_all_goes_on(
    commands, small_disk, tmp_path, inputs, well, name, room
):
    home = small_disk(tmp_path / "disk")
    shutil.copytree(inputs, home, dirs_exist_ok=True)
    before = whole.names(home)
    filler = fill(home, room)
    ended = commands.run(home, *COMMANDS[name])
    if ended.status:  # else there was room enough
        line = error_line(ended)
        assert "No space left on device for " in line and "run the same command again" in line, line
        filler.unlink()
        after_failing(home, before)
        ended = commands.run(home, *COMMANDS[name])
        assert ended.status == 0, ended
    else:
        assert room, "no room was enough"
        filler.unlink()
    whole.assert_same(home, well(name))


@pytest.mark.parametrize(
    ("name", "largest"),
    [
        ("train", 2000),
        *(
            pytest.param(name, size, marks=pytest.mark.slow)
            for name in set(COMMANDS) - {"xmp", "html"}
            for size in (1500, 3000)  # standard error is such a file too
        ),
    ],
)
def test_a_file_that_may_not_grow_is_said_too(commands, tmp_path, inputs, well, name, largest):
    home = shutil.copytree(inputs, tmp_path / "home")
    before = whole.names(home)
    ended = commands.run(home, *COMMANDS[name], largest_file=largest)
    line = error_line(ended)
    assert "File too large" in line and "ulimit -f" in line, line
    after_failing(home, before)
    ended = commands.run(home, *COMMANDS[name])
    assert ended.status == 0, ended
    whole.assert_same(home, well(name))


@pytest.mark.parametrize(
    "name", ["train", *(pytest.param(n, marks=pytest.mark.slow) for n in COMMANDS if n != "train")]
)
def test_a_read_only_disk_is_said(commands, small_disk, tmp_path, inputs, name):
    home = small_disk(tmp_path / "disk")
    shutil.copytree(inputs, home, dirs_exist_ok=True)
    before = whole.names(home)
    subprocess.run(["mount", "-o", "remount,ro", str(home)], check=True)
    line = error_line(commands.run(home, *COMMANDS[name]))
    assert "Read-only file system" in line and "choose a place that can be written" in line, line
    assert whole.names(home) == before


@pytest.mark.parametrize(
    "name", ["train", *(pytest.param(n, marks=pytest.mark.slow) for n in ("pack", "export", "json", "html"))]
)
def test_a_directory_without_permission_is_said(commands, tmp_path, inputs, name):
    home = shutil.copytree(inputs, tmp_path / "home")
    before = whole.names(home)
    home.chmod(0o555)
    line = error_line(commands.run(home, *COMMANDS[name], user=0 if os.geteuid() else 65534))
    home.chmod(0o755)
    assert "Permission denied" in line and "see to its permissions" in line, line
    assert whole.names(home) == before


def test_sidecars_that_cannot_be_written_are_skipped_and_counted(commands, tmp_path, inputs):
    """Of a folder of someone else's photographs the others go on."""
    for folder in (tmp_path, *tmp_path.parents[:2]):  # for the other user
        folder.chmod(0o755)
    home = shutil.copytree(inputs, tmp_path / "home")
    (home / "photos" / "theirs").mkdir()
    (home / "photos" / "000.jpg").rename(home / "photos" / "theirs" / "000.jpg")
    home.chmod(0o777), (home / "photos").chmod(0o777), (home / "photos" / "theirs").chmod(0o555)
    ended = commands.run(home, *COMMANDS["xmp"], user=0 if os.geteuid() else 65534)
    assert ended.status == 1, ended
    assert f"{NUM_PHOTOS - 1} photographs annotated; 1 skipped" in ended.stderr
    assert len(list(home.glob("photos/*.xmp"))) == NUM_PHOTOS - 1


def test_a_full_standard_output_is_said(commands, inputs):
    command = ("msmm.annotate", "photos/001.jpg", "--model=model", "--workers=1")
    assert "No space left on device" in error_line(commands.run(inputs, *command, stdout="/dev/full"))


def test_features_are_refused_before_they_fill_the_disk_or_leave_nothing(small_disk, tmp_path):
    """Mapped files would have ended the process with a bus error."""
    from msmm.training.frozen_features import cache_arrays

    disk = small_disk(tmp_path / "disk", 4)

    def compute(rows=100, filling=False):
        for start in range(0, rows, 10):
            yield [np.full((10, 1 << 12), start, np.float32)]
            if filling and start == 50:
                fill(disk, 0)

    with pytest.raises(UserError, match=r"features maps need 15\.6 MiB in .*, where 4\.0 MiB are free \(or"):
        cache_arrays(disk / "features", "maps", {}, 1000, lambda: compute(1000), np.float32)
    assert list((disk / "features").iterdir()) == []
    with pytest.raises(OSError) as refused:
        cache_arrays(disk / "features", "maps", {}, 100, lambda: compute(filling=True), np.float32)
    assert refused.value.errno == errno.ENOSPC
    assert list((disk / "features").iterdir()) == []
    (disk / "filler").unlink()
    (kept,) = cache_arrays(disk / "features", "maps", {}, 100, compute, np.float32)
    np.testing.assert_array_equal(kept[:, 0], np.repeat(np.arange(0, 100, 10), 10))


def test_a_report_on_a_full_disk_leaves_the_old_one(small_disk, tmp_path):
    from experiments.reporting.report import Report, write_report
    from experiments.reporting.table import Row, Table

    disk = small_disk(tmp_path / "disk", 1)
    page = Report("Old", [Table("A", [Row("x", [{"C-P": 1.0}])])])
    paths = write_report(page, disk / "report", "page")
    before = {path: path.read_bytes() for path in paths}
    fill(disk, 0)
    with pytest.raises(OSError):
        write_report(Report("New", page.tables * 50), disk / "report", "page")
    assert {path: path.read_bytes() for path in (disk / "report").iterdir()} == before


def test_lines_that_cannot_be_added_to_leave_those_that_are_there(small_disk, tmp_path):
    """A copy of half of them would have been taken for all of them by the next run."""
    from msmm.photos.formats import JSON
    from msmm.photos.outputs import File

    disk = small_disk(tmp_path / "disk", 1)
    lines = "".join(f'{{"path": "{i}.jpg", "labels": [], "model": "model"}}\n' for i in range(5000))
    (disk / "out.jsonl").write_text(lines)
    filler = fill(disk, 64 << 10)
    with pytest.raises(OSError) as refused, File(str(disk / "out.jsonl"), JSON, "model", overwrite=False):
        pass
    assert refused.value.errno == errno.ENOSPC
    assert {path.name for path in disk.iterdir()} == {"out.jsonl", "filler"}
    filler.unlink()
    with File(str(disk / "out.jsonl"), JSON, "model", overwrite=False) as output:
        assert output.find_annotator("4999.jpg") and not output.find_annotator("5000.jpg")
    assert (disk / "out.jsonl").read_text() == lines
