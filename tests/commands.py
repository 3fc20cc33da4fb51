"""Runs many commands as separate processes that import TensorFlow only once.

A server process imports TensorFlow without using it and forks for every command. The fork runs the command as
`python -m` would: with its own process group, arguments, working directory and exit status.
"""

import atexit
import contextlib
import dataclasses
import functools
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile

from tests.conftest import ROOT

SERVER = """
import gc, json, os, resource, runpy, sys
gc.disable()
import absl.app, encodings.cp437, filecmp, h5py, keras, numpy, PIL.Image
import msmm.data.tfds, tensorflow, tqdm
import xml.parsers.expat  # users without access to Python's folder cannot import it later
gc.freeze()
gc.enable()
for line in sys.stdin:
    request = json.loads(line)
    if "wait" in request:
        print(os.waitpid(request["wait"], 0)[1], flush=True)
        continue
    pid = os.fork()
    if pid:
        print(pid, flush=True)
        continue
    os.setsid()
    os.chdir(request["cwd"])
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, path in enumerate((request["out"], request["err"]), 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666), number)
    if request["cores"]:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: request["cores"]])
    if request["largest_file"] is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["largest_file"], resource.RLIM_INFINITY))
    if request["env"] is not None:
        os.environ.clear()
        os.environ.update(request["env"])
    for name in request["unset"]:
        os.environ.pop(name, None)
    if request["user"]:
        os.setgroups([])
        os.setgid(request["user"])
        os.setuid(request["user"])
    sys.argv = [request["command"], *request["arguments"]]
    runpy.run_module(request["command"], run_name="__main__", alter_sys=True)
    sys.exit()
"""


@dataclasses.dataclass
class CommandResult:
    """The output of a finished command; `status` is its exit status, or minus the signal that ended it."""

    status: int
    stdout: str
    stderr: str


class Commands:
    """A context manager that starts commands and waits for them."""

    def __init__(self, folder: pathlib.Path):
        self._folder, self._number = folder, 0
        folder.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> "Commands":
        env = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONHASHSEED": "random"}
        self._server = subprocess.Popen(
            [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
        )
        return self

    def __exit__(self, *_) -> None:
        self._server.stdin.close()
        self._server.wait()
        self._server.stdout.close()

    def start(
        self, cwd, command, *arguments, cores=0, largest_file=None, user=0, stdout=None, unset=(), env=None
    ) -> tuple[int, pathlib.Path]:
        """Starts a command.

        Args:
          cores: number of cores that it may use; 0 for all.
          largest_file: limit on the size of files, bytes.
          user: id of the user that runs it; 0 for the current user.
          stdout: file that receives its standard output.
          unset: names of environment variables to remove.
          env: all environment variables, in place of those of the tests.
        """
        self._number += 1
        output = self._folder / f"{self._number}"
        request = {
            "cwd": str(cwd),
            "command": command,
            "arguments": list(map(str, arguments)),
            "cores": cores,
        }
        request |= {
            "out": stdout or f"{output}.out",
            "err": f"{output}.err",
            "largest_file": largest_file,
            "user": user,
            "unset": list(unset),
            "env": env,
        }
        return self._send(request), output

    def wait(self, started: tuple[int, pathlib.Path]) -> CommandResult:
        pid, output = started
        status = os.waitstatus_to_exitcode(self._send({"wait": pid}))
        texts = (pathlib.Path(f"{output}.{end}") for end in ("out", "err"))
        return CommandResult(status, *(path.read_text() if path.exists() else "" for path in texts))

    def run(self, cwd, command, *arguments, **limits) -> CommandResult:
        return self.wait(self.start(cwd, command, *arguments, **limits))

    def _send(self, request: dict) -> int:
        print(json.dumps(request), file=self._server.stdin, flush=True)
        return int(self._server.stdout.readline())


@functools.cache
def shared_commands() -> Commands:
    """Returns the commands of this test process, which share one import of TensorFlow."""
    folder = tempfile.TemporaryDirectory(prefix="commands")
    commands = Commands(pathlib.Path(folder.name)).__enter__()
    atexit.register(lambda: (commands.__exit__(), folder.cleanup()))
    return commands


def run_command(*arguments, cwd, env: dict[str, str]) -> subprocess.CompletedProcess:
    """Runs a command that needs TensorFlow, as `subprocess.run` of `python -m` does, but sooner.

    Args:
      arguments: the module and its arguments.
      cwd: the current folder.
      env: all environment variables.
    """
    result = shared_commands().run(cwd, *arguments, env=env)
    return subprocess.CompletedProcess(arguments, result.status, result.stdout, result.stderr)


def kill(started: tuple[int, pathlib.Path]) -> None:
    """Sends SIGKILL to a command and to all processes in its process group."""
    with contextlib.suppress(ProcessLookupError):  # it finished before the kill
        os.killpg(started[0], signal.SIGKILL)


def error_line(result: CommandResult) -> str:
    """Returns the single error line of a command that failed with a user error."""
    assert result.status == 2, result
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and "Traceback" not in result.stderr, result.stderr
    return lines[0]
