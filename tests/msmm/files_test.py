"""What is held against other processes."""

import subprocess
import sys

import pytest

from msmm.errors import UserError
from msmm.files import locked
from tests.conftest import ROOT

HOLD = """
import sys
from msmm.files import locked
with locked(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_living_process_keeps_others_out_and_a_killed_one_does_not(tmp_path):
    held = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path / "seed0"],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert held.stdout.readline() == "held\n"
    with (
        pytest.raises(UserError, match=f"process {held.pid} is at work in .*seed0"),
        locked(tmp_path / "seed0"),
    ):
        pass
    with locked(tmp_path / "seed1"):
        pass
    held.kill()
    held.communicate()
    with locked(tmp_path / "seed0"):
        pass


def test_a_lock_ends_with_its_block(tmp_path):
    for _ in range(2):
        with locked(tmp_path):
            pass
    with pytest.raises(UserError, match="is at work"), locked(tmp_path), locked(tmp_path):
        pass
