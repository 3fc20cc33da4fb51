"""Runs a command in a session of its own, and measures its time and the memory of all its processes."""

import contextlib
import dataclasses
import os
import pathlib
import re
import signal
import subprocess
import time
from collections.abc import Sequence

_TICK = 0.1  # seconds between looks at the process
_TICKS_PER_SAMPLE = 4  # of memory
OVER = "more than the memory that is allowed"


@dataclasses.dataclass(frozen=True)
class Cost:
    """The cost of a command.

    Attributes:
        status: its exit status, minus the number of the signal that ended it, or `OVER`.
        seconds, core_seconds: wall-clock time, and time of all cores together.
        peak: peak memory of all its processes together, mapped files included, MiB.
        own: the same without mapped files, whose pages the system can take back, MiB.
    """

    status: int | str
    seconds: float
    core_seconds: float
    peak: float
    own: float


def run_watched(
    command: Sequence[str],
    log: pathlib.Path,
    kill_after: float | None = None,
    memory: float = float("inf"),
) -> Cost:
    """Runs a command to its end, and returns its cost.

    Args:
        command: the program and its arguments.
        log: receives standard output; `log` with the suffix .err receives standard error.
        kill_after: seconds after which all its processes receive SIGKILL.
        memory: own memory at which they receive it too, MiB.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    started, peak, own, ticks, over = time.monotonic(), 0.0, 0.0, 0, False
    with open(log, "wb") as out, open(log.with_suffix(".err"), "ab") as err:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True
        )
        try:
            while True:
                ended, status, usage = os.wait4(process.pid, os.WNOHANG)
                if ended:
                    break
                if ticks % _TICKS_PER_SAMPLE == 0:
                    now, own_now = _session_memory(process.pid)
                    peak, own = max(peak, now), max(own, own_now)
                    over = over or own_now > memory
                if over or (kill_after is not None and time.monotonic() - started >= kill_after):
                    _kill_session(process.pid)
                ticks += 1
                time.sleep(_TICK)
        except BaseException:
            _kill_session(process.pid)
            raise
        process.returncode = os.waitstatus_to_exitcode(status)
    # The kernel's own peak of the largest process, which samples can miss; kilobytes, on macOS bytes.
    largest = usage.ru_maxrss / (2**10 if os.path.isdir("/proc/self") else 2**20)
    return Cost(
        OVER if over else process.returncode,
        time.monotonic() - started,
        usage.ru_utime + usage.ru_stime,
        max(peak, largest),
        own or largest,
    )


def _kill_session(leader: int) -> None:
    for process in {leader, *_session(leader)}:
        with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
            os.kill(process, signal.SIGKILL)


def _session(leader: int) -> list[int]:
    """Returns the processes of a session, which workers of a command belong to; none where /proc lacks."""
    members = []
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text(errors="replace").rpartition(")")[2].split()
        except OSError:  # it has ended meanwhile
            continue
        if int(fields[3]) == leader:  # state, parent, group, session
            members.append(int(path.parent.name))
    return members


def _session_memory(leader: int) -> tuple[float, float]:
    """Returns the memory of a session's processes, with and without mapped files, MiB."""
    total = own = 0
    for process in _session(leader):
        try:
            text = pathlib.Path(f"/proc/{process}/status").read_text(errors="replace")
        except OSError:
            continue
        held = dict(re.findall(r"(VmRSS|RssAnon):\s+(\d+) kB", text))
        total, own = total + int(held.get("VmRSS", 0)), own + int(held.get("RssAnon", 0))
    return total / 2**10, own / 2**10


def disk_use(folder: pathlib.Path, without: Sequence[str] = ()) -> tuple[int, int]:
    """Returns the bytes and the number of files below a folder, except subfolders of these names."""
    size = files = 0
    for parent, folders, names in os.walk(folder):
        if parent == str(folder):
            folders[:] = [name for name in folders if name not in without]
        for name in names:
            try:
                size += os.lstat(os.path.join(parent, name)).st_size
            except FileNotFoundError:
                continue
            files += 1
    return size, files
