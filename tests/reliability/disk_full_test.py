"""Commands on a full disk, under a file size limit and in read-only folders: one error line, no data lost.

Tests mount a small file system where that is allowed and fill it except for a few bytes. Elsewhere the limit
on the size of a file (RLIMIT_FSIZE) makes the same writers fail.
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
from tests.commands import error_line
from tests.conftest import TINY
from tests.reliability import snapshots

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
KEPT = ("out.jsonl.partial", "new/out.csv.partial")  # from which a second run continues
NUM_PHOTOS = 120
QUICK = ("train", "xmp")


@pytest.fixture(scope="session")
def inputs(tmp_path_factory, data_dir, model_directory):
    directory = tmp_path_factory.mktemp("inputs") / "work"
    (directory / "photos").mkdir(parents=True)
    for i in range(NUM_PHOTOS):
        Image.new("RGB", (40, 30), tuple(random.Random(i).choices(range(256), k=3))).save(
            directory / f"photos/{i:03d}.jpg"
        )
    shutil.copytree(model_directory, directory / "model")
    shutil.copytree(data_dir, directory / "data")
    return directory


@pytest.fixture(scope="session")
def undisturbed(commands, inputs, tmp_path_factory):
    """Returns a function: name of a command -> directory after an undisturbed run of it."""
    cached = {}

    def run(name):
        if name not in cached:
            cached[name] = tmp_path_factory.mktemp("undisturbed") / "work"
            shutil.copytree(inputs, cached[name])
            result = commands.run(cached[name], *COMMANDS[name])
            assert result.status == 0, result
        return cached[name]

    return run


def fill(disk: pathlib.Path, free: int) -> pathlib.Path:
    """Fills a file system except for `free` bytes; returns the file that fills it."""
    filler = disk / "filler"
    with open(filler, "wb", buffering=0) as file:
        block = 1 << 20
        while block:
            try:
                if file.write(bytes(block)) < block:
                    block //= 16
            except OSError:
                block //= 16
    os.truncate(filler, filler.stat().st_size - free)
    return filler


def check_after_failure(directory: pathlib.Path, before: set[str]) -> None:
    """Checks that all earlier files exist and are complete, and that no partial file is left."""
    snapshots.check_files(directory)
    now = snapshots.file_names(directory)
    assert before <= now
    assert not [name for name in now if snapshots.UNFINISHED.search(name) and name not in KEPT]


@pytest.mark.parametrize(
    ("name", "free"),
    [
        *(pytest.param(name, 24 << 10, id=name) for name in QUICK),
        *(
            pytest.param(name, kib << 10, marks=pytest.mark.slow, id=f"{name}-{kib}")
            for name in COMMANDS
            for kib in (0, 24, 60)
        ),
    ],
)
def test_full_disk_is_one_error_line_and_the_command_succeeds_once_space_is_free(
    commands, small_disk, tmp_path, inputs, undisturbed, name, free
):
    directory = small_disk(tmp_path / "disk")
    shutil.copytree(inputs, directory, dirs_exist_ok=True)
    before = snapshots.file_names(directory)
    filler = fill(directory, free)
    result = commands.run(directory, *COMMANDS[name])
    if result.status:  # else the free space was enough
        line = error_line(result)
        assert "No space left on device for " in line and "run the same command again" in line, line
        filler.unlink()
        check_after_failure(directory, before)
        result = commands.run(directory, *COMMANDS[name])
        assert result.status == 0, result
    else:
        assert free, "the command succeeded without free space"
        filler.unlink()
    snapshots.assert_same(directory, undisturbed(name))


@pytest.mark.parametrize(
    ("name", "largest"),
    [
        ("train", 2000),
        *(
            pytest.param(name, size, marks=pytest.mark.slow)
            for name in sorted(set(COMMANDS) - {"xmp", "html"})
            for size in (1500, 3000)  # standard error is limited too
        ),
    ],
)
def test_file_size_limit_is_one_error_line_and_the_command_succeeds_without_it(
    commands, tmp_path, inputs, undisturbed, name, largest
):
    directory = shutil.copytree(inputs, tmp_path / "work")
    before = snapshots.file_names(directory)
    result = commands.run(directory, *COMMANDS[name], largest_file=largest)
    line = error_line(result)
    assert "File too large" in line and "ulimit -f" in line, line
    check_after_failure(directory, before)
    result = commands.run(directory, *COMMANDS[name])
    assert result.status == 0, result
    snapshots.assert_same(directory, undisturbed(name))


@pytest.mark.parametrize(
    "name", ["train", *(pytest.param(n, marks=pytest.mark.slow) for n in COMMANDS if n != "train")]
)
def test_read_only_disk_is_one_error_line(commands, small_disk, tmp_path, inputs, name):
    directory = small_disk(tmp_path / "disk")
    shutil.copytree(inputs, directory, dirs_exist_ok=True)
    before = snapshots.file_names(directory)
    subprocess.run(["mount", "-o", "remount,ro", str(directory)], check=True)
    line = error_line(commands.run(directory, *COMMANDS[name]))
    assert "Read-only file system" in line and "choose a place that can be written" in line, line
    assert snapshots.file_names(directory) == before


@pytest.mark.parametrize(
    "name", ["train", *(pytest.param(n, marks=pytest.mark.slow) for n in ("pack", "export", "json", "html"))]
)
def test_directory_without_write_permission_is_one_error_line(commands, tmp_path, inputs, name):
    directory = shutil.copytree(inputs, tmp_path / "work")
    before = snapshots.file_names(directory)
    directory.chmod(0o555)
    line = error_line(commands.run(directory, *COMMANDS[name], user=0 if os.geteuid() else 65534))
    directory.chmod(0o755)
    assert "Permission denied" in line and "see to its permissions" in line, line
    assert snapshots.file_names(directory) == before


def test_photographs_whose_sidecar_cannot_be_written_are_skipped_and_counted(commands, tmp_path, inputs):
    """One folder belongs to another user; the photographs elsewhere are annotated."""
    for folder in (tmp_path, *list(tmp_path.parents)[:3]):  # so that another user can enter
        folder.chmod(0o755)
    directory = shutil.copytree(inputs, tmp_path / "work")
    (directory / "photos" / "theirs").mkdir()
    (directory / "photos" / "000.jpg").rename(directory / "photos" / "theirs" / "000.jpg")
    directory.chmod(0o777)
    (directory / "photos").chmod(0o777)
    (directory / "photos" / "theirs").chmod(0o555)
    result = commands.run(directory, *COMMANDS["xmp"], user=0 if os.geteuid() else 65534)
    assert result.status == 1, result
    assert f"{NUM_PHOTOS - 1} photographs annotated; 1 skipped" in result.stderr
    assert len(list(directory.glob("photos/*.xmp"))) == NUM_PHOTOS - 1


def test_full_standard_output_is_one_error_line(commands, inputs):
    command = ("msmm.annotate", "photos/001.jpg", "--model=model", "--workers=1")
    assert "No space left on device" in error_line(commands.run(inputs, *command, stdout="/dev/full"))


def test_feature_cache_larger_than_the_free_space_is_refused_and_leaves_no_files(small_disk, tmp_path):
    """Without the check, writing to a mapped file would end the process with a bus error."""
    from msmm.training.array_cache import cache_arrays

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


def test_failed_report_on_a_full_disk_keeps_the_previous_report(small_disk, tmp_path):
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


def test_failed_append_to_json_lines_on_a_full_disk_keeps_the_existing_lines(small_disk, tmp_path):
    """A truncated copy would pass for the complete file in the next run."""
    from msmm.photos.annotation_lines import JSON
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
