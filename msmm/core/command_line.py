"""The frame of every command (`python -m …`): parses flags, prints errors, sets the exit status.

Exit statuses: 0 done, 1 done except for files that were skipped, 2 a mistake that the user can correct
(one line on standard error), 130 interrupted. Nothing here imports TensorFlow, so `--help` answers at once.
"""

import contextlib
import errno
import gc
import logging as stdlib_logging
import os
import pathlib
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from typing import NoReturn

from absl import app, flags, logging

from msmm.core import streams
from msmm.core.errors import UserError

FLAGS = flags.FLAGS


def run(main: Callable[..., None], positional: bool = False) -> None:
    """Parses the command line, calls `main()` and turns its outcome into an exit status.

    Args:
      main: the command.
      positional: whether the command takes arguments without a flag; `main` receives their list.
    """
    streams.prepare()
    # Before TensorFlow is imported. Without AVX-512 it has oneDNN off by default, which is faster there too.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # its errors are exceptions as well
    # matplotlib writes a list of fonts in the home directory, but in a temporary one where it cannot.
    os.environ.setdefault("MPLCONFIGDIR", os.path.join(os.devnull, "matplotlib"))
    stdlib_logging.getLogger("matplotlib").setLevel("ERROR")  # which it would report
    try:
        app.run(lambda argv: _guarded(main, argv, positional), flags_parser=_parse)
    except BrokenPipeError:  # the reader of the output, such as `head`, has ended
        streams.silence(sys.stdout)
        sys.exit(0)


def fail(message: object) -> NoReturn:
    """Prints one line on standard error and exits with status 2."""
    print(f"error: {' '.join(str(message).split())}", file=sys.stderr)
    sys.exit(2)


def _parse(argv: list[str]) -> list[str]:
    for name in FLAGS.flags_by_module_dict():
        if name.startswith("msmm."):  # flags defined in msmm for a command belong to that command
            for flag in FLAGS.flags_by_module_dict()[name]:
                FLAGS.register_key_flag_for_module(argv[0], flag)
    try:
        rest = FLAGS(argv)
        _expand_home()
        return rest
    except SystemExit:  # absl leaves --help with status 1
        sys.exit(0)
    except flags.Error as error:
        fail(f"{error} (--help lists the flags)")


def _expand_home() -> None:
    """Replaces ~ at the beginning of flags: shells do so for arguments, but not for --photos=~/Pictures."""
    for name in FLAGS:
        flag = FLAGS[name]
        if flag.present and isinstance(flag.value, str) and re.match(r"~(/|\\|$)", flag.value):
            flag.value = os.path.expanduser(flag.value)


def _guarded(main: Callable[..., None], argv: list[str], positional: bool) -> None:
    if len(argv) > 1 and not positional:
        fail(f"unexpected argument {argv[1]!r}: flags are written --name=value (--help lists them)")
    logging.set_verbosity(logging.WARNING)
    try:
        main(argv[1:]) if positional else main()
        sys.stdout.flush()  # here, where a full disk can still be reported
    except UserError as error:
        fail(error)
    except KeyboardInterrupt:
        print("\ninterrupted: run the same command again; what was finished is kept", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        raise
    except Exception as error:
        message = disk_error_message(error)
        if message is None:
            raise
        try:
            sys.stdout.flush()
        except OSError:  # standard output itself cannot be written
            streams.silence(sys.stdout)
        fail(message)


_REMEDIES = {
    errno.ENOSPC: "make room there",
    errno.EDQUOT: "make room there",
    errno.EFBIG: "a file may not be that large here (ulimit -f): raise the limit, or choose another place",
    errno.EROFS: "choose a place that can be written",
    errno.EBADF: "standard output or error is not open for writing: redirect it elsewhere",
    errno.EACCES: "see to its permissions, or choose another place",
    errno.EPERM: "see to its permissions, or choose another place",
}


def disk_error_message(error: BaseException | None) -> str | None:
    """Returns the message for an exception that means that a file cannot be written, else None.

    Causes are no space, a read-only place, missing permissions and the like. The chain of causes is searched
    too. TensorFlow, HDF5 and TFDS raise exceptions of their own, which quote the system's message.
    """
    while error is not None:
        if isinstance(error, FileNotFoundError) and _NO_TEMPORARY in str(error):
            return f"{_NO_TEMPORARY}: set TMPDIR to a folder that can be written"
        number = getattr(error, "errno", None)
        if not isinstance(error, OSError) or number not in _REMEDIES:
            text = str(error).lower()
            number = next((n for n in _REMEDIES if n != errno.EPERM and os.strerror(n).lower() in text), None)
        if number is not None:
            path = getattr(error, "filename", None) or _path_in(str(error))
            where = f" for {path}" if path else ""
            return (
                f"{os.strerror(number)}{where}{_free(path) if number == errno.ENOSPC else ''}: "
                f"{_REMEDIES[number]}, and run the same command again; what was finished is kept"
            )
        error = error.__cause__ or error.__context__
    return None


_NO_TEMPORARY = "No usable temporary directory found"  # the words of the module tempfile


def _path_in(message: str) -> str | None:
    """Returns the path that a library names in a message."""
    match = re.search(r"(?:name = '|; )?(/[^\s;:'\"]+)", message)
    return match[1] if match else None


def _free(path) -> str:
    with contextlib.suppress(OSError, TypeError):  # a path may be a number
        folder = next(p for p in pathlib.Path(os.fsdecode(path or "x")).absolute().parents if p.exists())
        return f" ({shutil.disk_usage(folder).free / 2**20:,.1f} MiB are free there)"
    return ""


def import_tensorflow() -> None:
    """Imports TensorFlow and Keras without their start-up messages; other lines on standard error are kept.

    TensorFlow's C++ side writes before it can be configured, so the file descriptor itself is diverted.
    Its modules are a million objects that live as long as the process, so the garbage collector skips them:
    the import takes 3.5 s of a core in place of 5.0 s, and later collections are short.
    """
    collects = gc.isenabled()
    gc.disable()
    kept, diverted = os.dup(2), streams.scratch_file()
    if diverted:
        os.dup2(diverted.fileno(), 2)
    try:
        with _default_keras():
            import keras  # noqa: F401 - not later, with other settings
            import tensorflow as tf

        tf.config.list_physical_devices()
        tf.get_logger().setLevel("ERROR")  # retracing is no news for a user
    except (ImportError, ValueError) as error:
        backend = os.environ.get("KERAS_BACKEND", "tensorflow")
        if backend == "tensorflow":
            raise
        raise UserError(
            f"Keras cannot use KERAS_BACKEND={backend} ({error}): install it, or unset KERAS_BACKEND"
        ) from error
    finally:
        gc.freeze()
        if collects:
            gc.enable()
        os.dup2(kept, 2)
        os.close(kept)
        if diverted:
            with diverted:
                diverted.seek(0)
                lines = diverted.read().decode(errors="replace").splitlines()
            print(*[x for x in lines if not _CHATTER.match(x)], sep="\n", end="", file=sys.stderr)


@contextlib.contextmanager
def _default_keras() -> Iterator[None]:
    """Lets Keras be imported with its default settings, and without a file in the home directory.

    Keras writes ~/.keras/keras.json at its import, and takes the number format and the backend from there,
    which would change results. Downloads stay where Keras keeps them. KERAS_HOME is respected.
    """
    if "keras" in sys.modules or "KERAS_HOME" in os.environ:
        yield
        return
    os.environ["KERAS_HOME"] = os.path.join(os.devnull, "keras")  # where nothing can be read or written
    try:
        yield
    finally:
        del os.environ["KERAS_HOME"]
    from keras.src.backend import config

    home = os.path.expanduser("~")
    config._KERAS_DIR = os.path.join(home if os.access(home, os.W_OK) else "/tmp", ".keras")


# Notices, and the error of a machine that has no GPU.
_CHATTER = re.compile(
    r"(I\d{4} |WARNING: All log messages before absl|E\d{4} .*cuInit|To enable the following)"
)


def command(module: str | None = None) -> str:
    """Returns the command line that was typed, or the one of another command with the same flags."""
    spec = sys.modules["__main__"].__spec__  # None where a file was run by its path
    module = module or (spec.name if spec else None)
    start = ["-m", module] if module else [sys.argv[0]]
    return shlex.join(["python", *start, *sys.argv[1:]])
