"""Standard streams that a command can rely on, however it was started."""

import io
import os
import sys


def prepare() -> None:
    """Makes standard input, output and error usable.

    A closed descriptor is opened on the null device. Otherwise the next file that a library opens would take
    its number, and messages would end up in that file. A stream that Python left out is made. Characters that
    the encoding of a stream lacks are written as `\\u2026`, unless PYTHONIOENCODING names another error
    handler.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number: this one
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            mode = "w" if descriptor else "r"
            stream = open(descriptor, mode, encoding="utf-8", closefd=False)  # noqa: SIM115 - for the process
            setattr(sys, name, stream)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def silence(stream) -> None:
    """Sends what a text stream still holds nowhere: Python would complain of it as it ends."""
    descriptor = os.open(os.devnull, os.O_WRONLY)
    os.dup2(descriptor, stream.fileno())
    os.close(descriptor)


def scratch_file() -> io.BufferedRandom | None:
    """Opens a file without a name, in memory where the system can; returns None where there is no place."""
    import tempfile

    try:
        if hasattr(os, "memfd_create"):
            return open(os.memfd_create("msmm"), "w+b")
        return tempfile.TemporaryFile()  # type: ignore[return-value]
    except OSError:
        return None
