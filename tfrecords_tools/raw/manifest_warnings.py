"""Finds likely mistakes in a manifest that can be read: sentences for the packing report."""

import collections
import pathlib
import re
from collections.abc import Callable, Collection, Iterable, Sequence

from tfrecords_tools.raw.manifest_file import Entry
from tfrecords_tools.raw.tables import LINE_BREAK

_SHOWN = 3  # names in a sentence
_HEADERS = {"label", "labels", "tag", "tags", "name", "names", "class", "classes", "category", "keyword"}
_ALWAYS = ("|", "；", "、", "\\", "\t")  # hardly ever part of a name
_ALONE = ("/", "+", "&", ":", "·")  # suspicious where no row has two names
_EMPTY = re.compile(r"nan|none|null|n/?a|#n/?a|#name\?|#ref!|#value!|#div/0!|undefined|nat|[-–—?]", re.I)
_DATE = re.compile(r"\d{1,2}-[A-Z][a-z]{2}(-\d{2,4})?|[A-Z][a-z]{2}-\d{2}|\d{4}-\d\d-\d\d 00:00:00")
_MOJIBAKE = re.compile("\ufffd|Ã[\u0080-\u00bf]|Â[\u0080-\u00bf]|â€")
_ROUNDED = re.compile(r"\d([.,]\d+)?E[+-]\d+", re.I)


def describe_likely_mistakes(entries: Sequence[Entry], kinds: Iterable[str]) -> list[str]:
    """Returns sentences on names and ids that look like slips. kinds: of "label", "tag"."""
    sentences = []
    for kind in kinds:
        per_row = [getattr(entry, f"{kind}s") for entry in entries]
        names = sorted({name for row in per_row for name in row})
        sentences += _describe_separators(kind, per_row, names)
        sentences += _describe_names(kind, names)
    breaks = sum(LINE_BREAK in entry.notes for entry in entries)
    if breaks:
        sentences.append(
            f"{breaks:,} rows have a line break in a cell: each of its lines is a name of its own"
        )
    rounded = [entry.id for entry in entries if _ROUNDED.fullmatch(entry.id)]
    if rounded:
        sentences.append(f"ids that a spreadsheet has rounded: {_join_some(rounded)}")
    return sentences


def describe_header(path: str | pathlib.Path, names: Sequence[str], used: Collection[str]) -> list[str]:
    """Returns a sentence where the first name of a vocabulary file is probably the header of a column."""
    if names[0].casefold() in _HEADERS and names[0] not in used:
        return [f"{path}: the first line is {names[0]!r}: delete it if it is no name but a header"]
    return []


def find_near_name(name: str, names: Iterable[str]) -> str | None:
    """Returns the one of `names` that differs from `name` only in case, spaces or signs, if there is one."""
    return next((other for other in names if _fold(other) == _fold(name)), None)


def _fold(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.casefold())


def _describe_separators(kind: str, per_row: list[tuple[str, ...]], names: list[str]) -> list[str]:
    """Sentences on names that are probably several names."""
    sentences = []
    commas = [repr(name) for name in names if "," in name]
    if commas:
        sentences.append(
            f"each is one {kind}, with its comma (; separates {kind}s in CSV): {_join_some(commas)}"
        )
    alone = len(per_row) > 1 and all(len(row) <= 1 for row in per_row)
    for separator in (*_ALWAYS, *(_ALONE if alone else ())):
        within = [name for row in per_row for name in row if separator in name.strip(separator)]
        if not within:
            continue
        some = _join_some([repr(name) for name in sorted(set(within))])
        rows = (
            f"every row has one {kind} at most, {len(within):,} of them"
            if alone
            else f"{len(within):,} {kind}s"
        )
        sentences.append(f"{rows} with {separator!r} (; separates {kind}s in CSV): {some}")
    known = set(names)
    spaced = [repr(name) for name in names if " " in name and set(name.split(" ")) <= known]
    if spaced:
        sentences.append(f"each is one {kind}, of words that are {kind}s themselves: {_join_some(spaced)}")
    return sentences


def _describe_names(kind: str, names: list[str]) -> list[str]:
    """Sentences on single names, and on names that are alike."""
    sentences = []
    case = _find_alike(names, str.casefold)
    if case:
        sentences.append(f"{kind}s that differ only in case are {kind}s of their own: {_join_some(case)}")
    spelling = _find_alike(names, lambda name: re.sub(r"[\W_]+", "", name) or name)
    if spelling:
        sentences.append(f"{kind}s that differ only in spaces or signs: {_join_some(spelling)}")
    for pattern, problem in (
        (_EMPTY, "that look like an empty or broken cell"),
        (_DATE, "that look like dates which a spreadsheet has made"),
    ):
        odd = [repr(name) for name in names if pattern.fullmatch(name)]
        if odd:
            sentences.append(f"{kind}s {problem}: {_join_some(odd)}")
    garbled = [repr(name) for name in names if _MOJIBAKE.search(name)]
    if garbled:
        sentences.append(f"{kind}s that were read in a wrong encoding before: {_join_some(garbled)}")
    return sentences


def _find_alike(names: list[str], key: Callable[[str], str]) -> list[str]:
    groups = collections.defaultdict(list)
    for name in names:
        groups[key(name)].append(name)
    return [" and ".join(same) for same in groups.values() if len(same) > 1]


def _join_some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
