import contextlib
import subprocess

import pytest

from tests.msmm.conftest import model_directory  # noqa: F401 - a fixture


@pytest.fixture(scope="session")
def commands(tmp_path_factory):
    """Commands as processes, see `commands.py`."""
    from tests.reliability.commands import Commands

    with Commands(tmp_path_factory.mktemp("commands")) as started:
        yield started


@pytest.fixture
def small_disk(tmp_path):
    """Mounts file systems of few MiB, where this user may: (path, MiB) -> path."""
    with contextlib.ExitStack() as mounted:

        def mount(path, size=64):
            path.mkdir(parents=True)
            command = ["mount", "-t", "tmpfs", "-o", f"size={size}m", "tmpfs", str(path)]
            try:
                done = subprocess.run(command, capture_output=True, text=True)
            except FileNotFoundError:
                pytest.skip("there is no command mount")
            if done.returncode:
                pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
            mounted.callback(subprocess.run, ["umount", "-l", str(path)], check=True)
            return path

        yield mount
