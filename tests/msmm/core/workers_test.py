"""Worker processes: the same results as without them, and no process left running."""

import os
import signal
import subprocess
import sys
import time

import pytest

from msmm.core import images, workers
from msmm.core.errors import UserError
from tests.conftest import ROOT


@pytest.fixture(autouse=True)
def start_workers_at_once(monkeypatch):
    monkeypatch.setattr(workers, "PATIENCE", 0.0)


def test_results_are_in_order_with_their_items():
    items = [(f"item {n}", n) for n in range(100)]
    with workers.Workers(3) as pool:
        assert list(pool.map(divmod, items, 7)) == [(f"item {n}", divmod(n, 7)) for n in range(100)]
        processes = {result for _, result in pool.map(_process_id, [(n, n) for n in range(200)])}
        assert len(processes - {os.getpid()}) > 1


def _process_id(_):
    return os.getpid()


def test_items_are_read_only_a_bounded_number_ahead():
    taken = 0

    def items():
        nonlocal taken
        for n in range(10_000):
            taken += 1
            yield n, n

    with workers.Workers(2) as pool:
        for given, _ in enumerate(pool.map(abs, items()), 1):
            assert taken - given <= (workers.AHEAD * 2 + 1) * workers.BATCH


def test_small_work_starts_no_worker_process(monkeypatch):
    monkeypatch.setattr(workers, "PATIENCE", 10.0)
    with workers.Workers(4) as pool:
        assert {pid for _, pid in pool.map(_process_id, [(n, n) for n in range(100)])} == {os.getpid()}


def test_one_worker_runs_in_this_process():
    with workers.Workers(1) as pool:
        assert {pid for _, pid in pool.map(_process_id, [(n, n) for n in range(100)])} == {os.getpid()}


def test_a_killed_worker_process_is_a_clear_error():
    with workers.Workers(2) as pool:
        for pid in {pid for _, pid in pool.map(_process_id, [(n, n) for n in range(200)])} - {os.getpid()}:
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(
            UserError, match=r"ended before its work was done .exit status -9.*fewer --workers"
        ):
            list(pool.map(_process_id, [(n, n) for n in range(200)]))


def test_zero_workers_are_refused():
    with pytest.raises(UserError, match="1 or more worker processes, got 0"):
        workers.Workers(0)


def test_worker_processes_import_no_tensorflow():
    with workers.Workers(2) as pool:
        assert {cause for _, cause in pool.map(images.convert_or_explain, [(n, b"") for n in range(50)])} == {
            "empty file"
        }
        for _, (pid, heavy) in pool.map(_heavy, [(n, n) for n in range(50)]):
            assert pid == os.getpid() or heavy == set()


def _heavy(_):
    return os.getpid(), {"tensorflow", "keras", "tensorflow_datasets", "absl"} & set(sys.modules)


SLEEPERS = """
import os, sys, time
from msmm.core import workers
workers.PATIENCE = 0.0
with workers.Workers(2) as pool:
    for _, pid in pool.map(os.getpgid, [(0, 0)] * 40):
        print(pid, flush=True)
    print("all", flush=True)
    list(pool.map(time.sleep, [(n, 0.1) for n in range(1000)]))
"""


def test_worker_processes_end_when_their_parent_is_killed():
    """The script has no `if __name__ == "__main__"`, and does not need one."""
    parent = subprocess.Popen(
        [sys.executable, "-c", SLEEPERS], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    groups = set()
    while (line := parent.stdout.readline().strip()) != "all":
        groups.add(int(line))
    time.sleep(0.3)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    groups.discard(os.getpgid(0))
    assert groups
    deadline = time.monotonic() + 15
    while alive := {group for group in groups if _is_alive(group)}:
        assert time.monotonic() < deadline, alive
        time.sleep(0.05)
    with parent.stderr:
        assert parent.stderr.read() == ""


def _is_alive(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
