"""The file that a path in a list means: as other systems write it, and the nearest one that exists."""

import functools
import os
import pathlib
import re
import unicodedata
import urllib.parse

from msmm.core.text import strip_invisible

_QUOTES = "\"'“”„«»"
_WINDOWS = re.compile(r"[A-Za-z]:[\\/]|\\\\")


def find_image(folder: pathlib.Path, given: str) -> pathlib.Path | None:
    """Returns the file that `given` means without doubt, or None.

    It may be absolute, relative to `folder`, or a `file://` URI. Accents may be composed or decomposed (NFC,
    NFD). Spaces, quotes or invisible characters may surround it, as in copied paths.
    """
    if "\0" in given:
        return None
    for path in (given if given.strip() else "", _strip_copied(given)):
        if not path:
            continue
        if os.path.isfile(folder / path):
            return folder / path
        if resolved := _resolve(folder, path, fold=False):
            return resolved
    return None


def suggest_image(folder: pathlib.Path, given: str) -> str:
    """Returns the end of a message on a file that does not exist: the one that is probably meant, or "".

    It may differ in case, in the ending, in percent signs, or be written as on Windows.
    """
    path = _strip_copied(given)
    if not path or "\0" in given:
        return ""
    windows = "\\" in path or bool(_WINDOWS.match(path))
    slashes = _WINDOWS.sub("/", path).replace("\\", "/") if windows else path
    parts = [part for part in slashes.split("/") if part]
    tails = ["/".join(parts[i:]) for i in range(len(parts))]
    home = [os.path.expanduser(path)] if path.startswith("~") else []
    for candidate in (*home, *([] if windows else [path]), *tails):
        for variant in (candidate, urllib.parse.unquote(candidate)):
            if resolved := _resolve(folder, variant, fold=True) or _resolve_stem(folder, variant):
                shown = os.path.relpath(resolved, folder) if not os.path.isabs(variant) else str(resolved)
                hint = " (/ separates folders)" if windows else ""
                return f"; there is {shown!r}{hint}"
    return "; it is a path of Windows: write paths from the folder of the list, with /" if windows else ""


def _strip_copied(given: str) -> str:
    """Returns a path without what comes with it when it is copied from elsewhere."""
    path = strip_invisible(given).strip().strip(_QUOTES).strip()
    if path.lower().startswith("file:"):
        path = urllib.parse.unquote(urllib.parse.urlsplit(path).path)
    return path


def _resolve(folder: pathlib.Path, path: str, fold: bool) -> pathlib.Path | None:
    """Returns the file whose path is `path` but for accents in NFC or NFD, and with `fold` for the case."""
    current = pathlib.Path("/") if path.startswith("/") else folder
    for part in path.split("/"):
        if part in ("", "."):
            continue
        if part != ".." and not os.path.lexists(current / part):
            match = _list(current, fold).get(_fold_name(part, fold))
            if match is None:
                return None
            part = match
        current = current / part
    return current if os.path.isfile(current) else None


def _resolve_stem(folder: pathlib.Path, path: str) -> pathlib.Path | None:
    """Returns the one file of the same folder and name but for its ending, jpeg for jpg."""
    head, _, name = path.rpartition("/")
    parent = (pathlib.Path(head) if head.startswith("/") else folder / head) if head else folder
    stem = _fold_name(name.rpartition(".")[0] or name, True)
    matches = [other for key, other in _list(parent, True).items() if key.rpartition(".")[0] == stem]
    files = [parent / other for other in matches if os.path.isfile(parent / other)]
    return files[0] if len(files) == 1 else None


def _list(folder: pathlib.Path, fold: bool) -> dict[str, str]:
    try:
        return _list_folder(str(folder), os.stat(folder).st_mtime_ns, fold)
    except OSError:
        return {}


@functools.lru_cache(maxsize=256)
def _list_folder(folder: str, changed: int, fold: bool) -> dict[str, str]:
    """Returns the names in a folder by their normalised form. changed: its time, so that it is read anew."""
    return {_fold_name(name, fold): name for name in sorted(os.listdir(folder), reverse=True)}


def _fold_name(name: str, fold: bool) -> str:
    composed = unicodedata.normalize("NFC", name)
    return unicodedata.normalize("NFC", composed.casefold()) if fold else composed
