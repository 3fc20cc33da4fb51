"""Commands in processes of their own, many of them, without TensorFlow's seconds for each.

One process imports TensorFlow, starts nothing with it, and forks for every command, which then runs as
`python -m` would: its own process group, arguments, directory and exit.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys

from tests.conftest import ROOT

SERVER = """
import json, os, resource, runpy, sys
import absl.app, encodings.cp437, h5py, keras, numpy, PIL.Image, tensorflow, tensorflow_datasets, tqdm
import xml.parsers.expat  # another user may not read the folder of Python
for line in sys.stdin:
    asked = json.loads(line)
    if "wait" in asked:
        print(os.waitpid(asked["wait"], 0)[1], flush=True)
        continue
    pid = os.fork()
    if pid:
        print(pid, flush=True)
        continue
    os.setsid()
    os.chdir(asked["cwd"])
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, path in enumerate((asked["out"], asked["err"]), 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666), number)
    if asked["cores"]:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: asked["cores"]])
    if asked["largest_file"] is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (asked["largest_file"], resource.RLIM_INFINITY))
    for name in asked["unset"]:
        os.environ.pop(name, None)
    if asked["user"]:
        os.setgroups([])
        os.setgid(asked["user"])
        os.setuid(asked["user"])
    sys.argv = [asked["command"], *asked["arguments"]]
    runpy.run_module(asked["command"], run_name="__main__", alter_sys=True)
    sys.exit()
"""


@dataclasses.dataclass
class Ended:
    """The output of an ended command; `status` as of `os.waitpid`, negative where a signal ended it."""

    status: int
    stdout: str
    stderr: str


class Commands:
    """A context in which commands are started, waited for and killed."""

    def __init__(self, folder: pathlib.Path):
        self._folder, self._number = folder, 0
        folder.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> "Commands":
        env = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONHASHSEED": "random"}
        self._server = subprocess.Popen(
            [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
        )
        return self

    def __exit__(self, *_) -> None:
        self._server.stdin.close()
        self._server.wait()
        self._server.stdout.close()

    def start(
        self, cwd, command, *arguments, cores=0, largest_file=None, user=0, stdout=None, unset=()
    ) -> tuple[int, pathlib.Path]:
        """Starts a command.

        Args:
          cores: number of cores that it may use; 0 for all.
          largest_file: limit on the size of files, bytes.
          user: number of the user that runs it; 0 for this one.
          stdout: file of its standard output.
          unset: names of environment variables that it does not have.
        """
        self._number += 1
        output = self._folder / f"{self._number}"
        asked = {"cwd": str(cwd), "command": command, "arguments": list(map(str, arguments)), "cores": cores}
        asked |= {
            "out": stdout or f"{output}.out",
            "err": f"{output}.err",
            "largest_file": largest_file,
            "user": user,
            "unset": list(unset),
        }
        return self._ask(asked), output

    def wait(self, started: tuple[int, pathlib.Path]) -> Ended:
        pid, output = started
        status = os.waitstatus_to_exitcode(self._ask({"wait": pid}))
        texts = (pathlib.Path(f"{output}.{end}") for end in ("out", "err"))
        return Ended(status, *(path.read_text() if path.exists() else "" for path in texts))

    def run(self, cwd, command, *arguments, **limits) -> Ended:
        return self.wait(self.start(cwd, command, *arguments, **limits))

    def _ask(self, what: dict) -> int:
        print(json.dumps(what), file=self._server.stdin, flush=True)
        return int(self._server.stdout.readline())


def kill(started: tuple[int, pathlib.Path]) -> None:
    """kill -9 to a command and to all processes that it has started and that share its group."""
    with contextlib.suppress(ProcessLookupError):  # it had ended before its time
        os.killpg(started[0], signal.SIGKILL)


def error_line(ended: Ended) -> str:
    """Returns the one line that a user's mistake gets."""
    assert ended.status == 2, ended
    lines = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and "Traceback" not in ended.stderr, ended.stderr
    return lines[0]
