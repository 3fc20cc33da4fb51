"""Staging folders of running and killed packers, and atomic replacement of packed data."""

import contextlib
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import pytest

from msmm.data import records
from tests.conftest import ROOT
from tfrecords_tools.datasets import scenes
from tfrecords_tools.packing import staging


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def hold(data_dir, then="pass"):
    """Starts a process that holds a staging folder in `data_dir` until it is killed."""
    code = f"""
import pathlib, sys
from tfrecords_tools.packing import staging
data_dir = pathlib.Path({str(data_dir)!r})
with staging.folder(data_dir) as folder:
    {then}
    print(folder, flush=True)
    sys.stdin.read()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    return process, pathlib.Path(process.stdout.readline().strip())


def kill(process):
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


def test_clean_keeps_the_folder_of_a_running_packer_and_removes_that_of_a_killed_packer(tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    process, folder = hold(tmp_path)
    try:
        staging.clean(tmp_path)
        assert folder.is_dir()
        assert capsys.readouterr().out == ""
    finally:
        kill(process)
    assert folder.is_dir()
    staging.clean(tmp_path)
    assert names(tmp_path) == ["mine"]
    assert str(folder) in capsys.readouterr().out


def test_clean_removes_a_staging_folder_without_a_lock(tmp_path):
    (tmp_path / "incomplete.old" / "scenes").mkdir(parents=True)
    staging.clean(tmp_path)
    assert names(tmp_path) == []


def test_packer_creates_a_new_folder_if_another_packer_removes_its_unlocked_folder(tmp_path, monkeypatch):
    """Another packer may remove a new folder before it is locked."""
    created = []
    mkdtemp = staging.tempfile.mkdtemp

    def interrupted(**arguments):
        created.append(mkdtemp(**arguments))
        if len(created) < 3:
            staging.clean(tmp_path)
        return created[-1]

    monkeypatch.setattr(staging.tempfile, "mkdtemp", interrupted)
    with staging.folder(tmp_path) as folder:
        assert str(folder) == created[2]
        assert names(tmp_path) == [folder.name, f"{folder.name}/lock"]
    assert names(tmp_path) == []


HALF_WAY = """
    new = folder / "mine" / "1.0.0"
    new.mkdir(parents=True)
    rename = pathlib.Path.rename

    def only_the_first(path, target):
        if path == new:
            print(folder, flush=True)
            sys.stdin.read()
        rename(path, target)

    pathlib.Path.rename = only_the_first
    staging.finish(folder, new, data_dir / "mine" / "1.0.0")
"""


def test_clean_restores_old_data_after_a_kill_during_replacement(tmp_path):
    old = tmp_path / "mine" / "1.0.0"
    old.mkdir(parents=True)
    (old / "data").write_text("old")
    process, _ = hold(tmp_path, HALF_WAY)
    assert not old.exists()
    kill(process)
    staging.clean(tmp_path)
    assert names(tmp_path) == ["mine", "mine/1.0.0", "mine/1.0.0/data"]


def test_finish_replaces_existing_data(tmp_path):
    old = tmp_path / "mine" / "1.0.0"
    for content in ("first", "second"):
        with staging.folder(tmp_path) as folder:
            new = folder / "mine" / "1.0.0"
            new.mkdir(parents=True)
            (new / "data").write_text(content)
            staging.finish(folder, new, old)
        assert (old / "data").read_text() == content
        assert names(tmp_path) == ["mine", "mine/1.0.0", "mine/1.0.0/data"]


# Imports TensorFlow once, and forks for every folder that it reads from standard input.
PACKERS = """
import os, sys
import msmm.data.tfds, tensorflow
from msmm.core import workers
from tfrecords_tools.datasets import scenes
workers.PATIENCE = 0.0
for folder in sys.stdin:
    packer = os.fork()
    if not packer:
        sys.stdin.close()
        sys.stdout = open(os.devnull, "w")
        scenes.pack_scenes(folder.strip(), num_train=150, num_test=50, image_size=16)
        os._exit(0)
    print(packer, flush=True)
    print(os.waitpid(packer, 0)[1], flush=True)
"""


@pytest.mark.parametrize("times", [3, pytest.param(10, marks=pytest.mark.slow)])
def test_pack_killed_at_random_moments_leaves_a_complete_data_set_or_none(tmp_path, times):
    """Sends SIGKILL to real processes at random moments, which failure messages list."""
    packers = subprocess.Popen(
        [sys.executable, "-c", PACKERS], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )

    def pack(folder, kill_after=None):
        """Packs, or is killed after that many seconds; returns the duration."""
        print(folder, file=packers.stdin, flush=True)
        packer, begin = int(packers.stdout.readline()), time.monotonic()
        if kill_after is not None:
            time.sleep(kill_after)
            with contextlib.suppress(ProcessLookupError):  # The packer finished before the kill.
                os.kill(packer, signal.SIGKILL)
        status = int(packers.stdout.readline())
        assert status in ((0,) if kill_after is None else (0, signal.SIGKILL))
        return time.monotonic() - begin

    def fingerprint(folder):
        return records.open_dataset(folder, "scenes").fingerprint

    duration = pack(tmp_path / "undisturbed")
    moments = [round(random.uniform(n, n + 1) * 1.3 * duration / times, 3) for n in range(times)]
    half_way, description = 0, f"of {duration:.1f} s, killed after {moments}"
    for number, moment in enumerate(moments):
        folder = tmp_path / str(number)
        pack(folder, kill_after=moment)
        if (folder / "scenes" / "1.0.0").exists():
            assert fingerprint(folder) == fingerprint(tmp_path / "undisturbed"), description
        else:
            half_way += folder.exists()
            pack(folder)
        scenes.pack_scenes(folder, num_train=150, num_test=50, image_size=16)
        assert fingerprint(folder) == fingerprint(tmp_path / "undisturbed"), description
        assert [path.name for path in folder.iterdir()] == ["scenes"], description
    print(f"half way: {half_way} of {times}; {description}")
    kill(packers)
