import contextlib
import subprocess

import pytest

from tests.commands import shared_commands
from tests.msmm.conftest import model_directory  # noqa: F401 - a fixture


@pytest.fixture(scope="session")
def commands():
    """Runs commands as processes, see `tests/commands.py`."""
    return shared_commands()


@pytest.fixture
def small_disk(tmp_path):
    """Returns a function (path, MiB) -> path that mounts a small file system, or skips if it cannot."""
    with contextlib.ExitStack() as stack:

        def mount(path, size=64):
            path.mkdir(parents=True)
            command = ["mount", "-t", "tmpfs", "-o", f"size={size}m", "tmpfs", str(path)]
            try:
                result = subprocess.run(command, capture_output=True, text=True)
            except FileNotFoundError:
                pytest.skip("the command mount is missing")
            if result.returncode:
                pytest.skip(f"no file system can be mounted here: {result.stderr.strip()}")
            stack.callback(subprocess.run, ["umount", "-l", str(path)], check=True)
            return path

        yield mount
