"""Records the connections of a process and the files that it opens for writing.

`tests/reliability/privacy_test.py` puts this file on the path of each command as `sitecustomize`, so that
worker processes are recorded as well. Each line of the log file AUDIT_LOG is JSON: event, arguments, process.
"""

import json
import os
import sys

_LOG = os.environ.get("AUDIT_LOG")
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def _value_to_record(event: str, args: tuple):
    """Returns the value to record for an event, or None if the event is not recorded."""
    if event == "open":
        path, mode, flags = args
        writes = any(c in mode for c in "wax+") if mode else bool(flags & _WRITES)
        return os.path.abspath(os.fsdecode(path)) if writes and not isinstance(path, int) else None
    if event in ("os.mkdir", "os.rename", "os.link", "os.symlink", "os.remove", "os.rmdir", "shutil.rmtree"):
        return [os.path.abspath(os.fsdecode(a)) for a in args if isinstance(a, (str, bytes, os.PathLike))]
    if event in ("socket.connect", "socket.sendto", "socket.bind"):
        return str(args[1])
    if event in ("socket.getaddrinfo", "socket.gethostbyname", "urllib.Request"):
        return str(args[0])
    return None


def _hook(event: str, args: tuple) -> None:
    record = None
    try:
        record = _value_to_record(event, args)
    except (TypeError, ValueError):
        record = repr(args)
    if record is not None:
        os.write(_FILE, (json.dumps([event, record, os.getpid()]) + "\n").encode())


if _LOG:
    _FILE = os.open(_LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.set_inheritable(_FILE, False)
    sys.addaudithook(_hook)
