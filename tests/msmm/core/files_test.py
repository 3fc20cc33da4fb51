"""Locks, atomic writes and atomic directories, shared with other processes."""

import os
import subprocess
import sys

import pytest

from msmm.core.errors import DirectoryInUse, UserError
from msmm.core.files import atomic_directory, atomic_write, lock_directory, make_folder
from tests.conftest import ROOT

HOLD = """
import sys
from msmm.core.files import lock_directory, atomic_directory, atomic_write
with lock_directory(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_lock_is_held_by_a_live_process_and_released_by_a_killed_one(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path / "seed0"],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert holder.stdout.readline() == "held\n"
    with (
        pytest.raises(DirectoryInUse, match=f"process {holder.pid} is at work in .*seed0"),
        lock_directory(tmp_path / "seed0"),
    ):
        pass
    with lock_directory(tmp_path / "seed1"):
        pass
    holder.kill()
    holder.communicate()
    with lock_directory(tmp_path / "seed0"):
        pass


def test_a_lock_is_released_at_the_end_of_its_block(tmp_path):
    for _ in range(2):
        with lock_directory(tmp_path):
            pass
    with lock_directory(tmp_path), pytest.raises(DirectoryInUse), lock_directory(tmp_path):
        pass


WRITE = """
import sys
from msmm.core.files import atomic_directory
with atomic_directory(sys.argv[1]) as partial:
    (partial / "half").write_text("")
    print(partial.name, flush=True)
    sys.stdin.read()
"""


def test_partial_directories_of_killed_processes_are_removed(tmp_path):
    unrelated = [
        "model.partial-me",
        "model.partial-12345678.zip",
        "a model.partial-12345678",
        "other.partial-12345678",
    ]
    for name in unrelated:
        (tmp_path / name).mkdir()
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITE, tmp_path / "model"],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    names = [process.stdout.readline().strip() for process in writers]
    writers[0].kill()
    writers[0].communicate()
    with atomic_directory(tmp_path / "model") as partial:
        (partial / "new").write_text("")
    assert sorted(os.listdir(tmp_path)) == sorted(["model", names[1], *unrelated])
    writers[1].communicate()  # closes its standard input, so that it finishes
    assert sorted(os.listdir(tmp_path)) == sorted(["model", *unrelated])
    assert os.listdir(tmp_path / "model") == ["half"]


def test_a_replaced_directory_is_restored_after_an_interrupted_replacement(tmp_path):
    (tmp_path / "model.replaced-0123abcd").mkdir()
    (tmp_path / "model.replaced-0123abcd" / "old").write_text("")
    with pytest.raises(KeyboardInterrupt), atomic_directory(tmp_path / "model"):
        assert os.listdir(tmp_path / "model") == ["old"]
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == ["model"] and os.listdir(tmp_path / "model") == ["old"]
    with atomic_directory(tmp_path / "model") as partial:
        (partial / "new").write_text("")
    assert os.listdir(tmp_path) == ["model"] and os.listdir(tmp_path / "model") == ["new"]


def test_without_replace_the_existing_directory_stays(tmp_path):
    for name in ("first", "second"):
        with atomic_directory(tmp_path / "features", replace=False) as partial:
            (partial / name).write_text("")
    assert os.listdir(tmp_path) == ["features"] and os.listdir(tmp_path / "features") == ["first"]


def test_an_interrupted_atomic_write_keeps_the_old_file(tmp_path):
    with atomic_write(tmp_path / "new" / "a.npz") as partial:
        partial.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_write(tmp_path / "new" / "a.npz") as partial:
        partial.write_text("half")
        assert partial.suffix == ".npz" and (tmp_path / "new" / "a.npz").read_text() == "old"
        raise KeyboardInterrupt
    assert os.listdir(tmp_path / "new") == ["a.npz"] and (tmp_path / "new" / "a.npz").read_text() == "old"


def test_an_error_of_a_full_disk_names_the_file(tmp_path):
    with (
        pytest.raises(OSError) as error,
        atomic_write(tmp_path / "state.npz"),
        open("/dev/full", "wb", buffering=0) as file,
    ):
        file.write(b"x")
    assert error.value.filename == str(tmp_path / "state.npz")
    with pytest.raises(FileNotFoundError) as error, atomic_directory(tmp_path / "model"):
        (tmp_path / "not there").read_bytes()
    assert error.value.filename == str(tmp_path / "not there")


WRITER = """
import sys
from msmm.core.files import write_bytes
for n in range(150):
    write_bytes(sys.argv[1], sys.argv[2].encode() * 100_000)
"""


def test_concurrent_writers_never_mix_their_content(tmp_path):
    path = str(tmp_path / "run.json")
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, path, letter]) for letter in "ab"]
    seen = set()
    while any(writer.poll() is None for writer in writers):
        if os.path.exists(path):
            content = (tmp_path / "run.json").read_text()
            seen.add((len(content), len(set(content))))
    assert [writer.returncode for writer in writers] == [0, 0]
    assert seen <= {(100_000, 1)} and os.listdir(tmp_path) == ["run.json"]


@pytest.mark.parametrize("rest", ["", "x", "x/y"])
@pytest.mark.parametrize(
    "write",
    [
        make_folder,
        lambda folder: lock_directory(folder).__enter__(),
        lambda folder: atomic_write(folder / "name").__enter__(),
        lambda folder: atomic_directory(folder / "name").__enter__(),
    ],
    ids=["make_folder", "lock_directory", "atomic_write", "atomic_directory"],
)
def test_a_folder_below_a_file_is_refused(tmp_path, write, rest):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match=r"expected a folder, .*/file is a file: choose another place"):
        write(tmp_path / "file" / rest)
    assert os.listdir(tmp_path) == ["file"] and (tmp_path / "file").read_text() == "mine"


def test_a_folder_in_place_of_a_file_to_write_is_refused(tmp_path):
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "folder", ".", "/"):
        with pytest.raises(UserError, match=r"expected a file to write, .* is a folder: name a file"):
            atomic_write(path).__enter__()
    assert os.listdir(tmp_path) == ["folder"]
