"""What every door (`python -m …`) shares: flags in, a clear line and an exit status out.

Exit statuses: 0 done, 1 done but for files that were skipped, 2 a mistake the user can put right
(one line on standard error), 130 interrupted. Nothing here imports TensorFlow, so `--help` answers at once.
"""

import contextlib
import errno
import os
import pathlib
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable

from absl import app, flags, logging

from msmm.core.errors import UserError

FLAGS = flags.FLAGS


def run(main: Callable[..., None], positional: bool = False) -> None:
    """Parses the command line, calls `main()` and turns what happens into an exit status.

    positional: the door takes arguments without a flag, and `main` is called with their list.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is imported
    try:
        app.run(lambda argv: _guarded(main, argv, positional), flags_parser=_parse)
    except BrokenPipeError:  # the reader of our output, `head` say, has seen enough
        _say_no_more()
        sys.exit(0)


def fail(message: str) -> None:
    """Prints one line on standard error and exits with status 2."""
    print(f"error: {' '.join(str(message).split())}", file=sys.stderr)
    sys.exit(2)


def _parse(argv: list[str]) -> list[str]:
    for name in FLAGS.flags_by_module_dict():
        if name == __name__:  # flags defined here for a door are that door's own
            for flag in FLAGS.flags_by_module_dict()[name]:
                FLAGS.register_key_flag_for_module(argv[0], flag)
    try:
        return FLAGS(argv)
    except SystemExit:  # absl leaves --help with status 1
        sys.exit(0)
    except flags.Error as error:
        fail(f"{error} (--help lists the flags)")


def _guarded(main: Callable[..., None], argv: list[str], positional: bool) -> None:
    if len(argv) > 1 and not positional:
        fail(f"unexpected argument {argv[1]!r}: flags are written --name=value (--help lists them)")
    logging.set_verbosity(logging.WARNING)
    try:
        main(argv[1:]) if positional else main()
        sys.stdout.flush()  # here, where a full disk behind it can still be said
    except UserError as error:
        fail(error)
    except KeyboardInterrupt:
        print("\ninterrupted: run the same command again; what was finished is kept", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        raise
    except Exception as error:
        refusal = refusal_of_disk(error)
        if refusal is None:
            raise
        try:
            sys.stdout.flush()
        except OSError:  # it is standard output that cannot be written
            _say_no_more()
        fail(refusal)


_REFUSALS = {
    errno.ENOSPC: "make room there",
    errno.EDQUOT: "make room there",
    errno.EFBIG: "a file may not be that large here (ulimit -f): raise the limit, or choose another place",
    errno.EROFS: "choose a place that can be written",
    errno.EACCES: "see to its permissions, or choose another place",
    errno.EPERM: "see to its permissions, or choose another place",
}


def refusal_of_disk(error: BaseException | None) -> str | None:
    """What to tell the user where an exception, or one that it comes from, says that a file cannot be
    written (no space, a read-only place, …); else None.

    TensorFlow, HDF5 and TFDS have exceptions of their own, in which the system's words still stand.
    """
    while error is not None:
        number = getattr(error, "errno", None)
        if not isinstance(error, OSError) or number not in _REFUSALS:
            said = str(error).lower()
            number = next((n for n in _REFUSALS if n != errno.EPERM and os.strerror(n).lower() in said), None)
        if number is not None:
            path = getattr(error, "filename", None) or _path_in(str(error))
            where = f" for {path}" if path else ""
            return (
                f"{os.strerror(number)}{where}{_free(path) if number == errno.ENOSPC else ''}: "
                f"{_REFUSALS[number]}, and run the same command again; what was finished is kept"
            )
        error = error.__cause__ or error.__context__
    return None


def _path_in(message: str) -> str | None:
    """The path that a library names in a message."""
    found = re.search(r"(?:name = '|; )?(/[^\s;:'\"]+)", message)
    return found[1] if found else None


def _free(path) -> str:
    with contextlib.suppress(OSError, TypeError):  # a path may be a number
        folder = next(p for p in pathlib.Path(os.fsdecode(path or "x")).absolute().parents if p.exists())
        return f" ({shutil.disk_usage(folder).free / 2**20:,.1f} MiB are free there)"
    return ""


def _say_no_more() -> None:
    """Sends what standard output still holds nowhere, or Python complains of it as it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def import_tensorflow() -> None:
    """Imports TensorFlow without its start-up chatter; what else it writes to standard error is passed on.

    Its C++ side writes before it can be told not to, so the file descriptor itself is diverted.
    """
    kept = os.dup(2)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            import tensorflow as tf

            tf.config.list_physical_devices()
            tf.get_logger().setLevel("ERROR")  # retracing is no news for a user
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            said.seek(0)
            lines = said.read().decode(errors="replace").splitlines()
            print(*[x for x in lines if not _CHATTER.match(x)], sep="\n", end="", file=sys.stderr)


# Notices, and the complaint of a machine that has no GPU.
_CHATTER = re.compile(
    r"(I\d{4} |WARNING: All log messages before absl|E\d{4} .*cuInit|To enable the following)"
)


def command(door: str | None = None) -> str:
    """What was typed to start this door, or another one with the same flags."""
    return shlex.join(["python", "-m", door or sys.modules["__main__"].__spec__.name, *sys.argv[1:]])
