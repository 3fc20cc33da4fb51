"""Labels from the keywords of a photo collection: which are one, which are enough, and why others are not.

Keywords are one label if they differ only in case, Unicode form, spaces or the mark of a hashtag. They are
one label, too, if one is the plural of the other and both are used. The label has the form that most
photographs have, in its most frequent spelling.
"""

import collections
import csv
import dataclasses
import io
from collections.abc import Collection, Iterable, Mapping, Sequence

from msmm.core.text import normalise_keyword, normalise_label, singulars
from msmm.photos.annotation_lines import escape_unprintable

_LISTED = 30  # names in a sentence
COLUMNS = ("keyword", "photographs", "train", "test", "used as", "spellings", "why")


@dataclasses.dataclass
class KeywordGroup:
    """Keywords that are one, by their normalised forms (keys).

    Attributes:
      name: the spelling that stands for all.
      spellings: how often each spelling occurs.
      photographs: the number of photographs that have the keyword.
      train, test: of these, by split; of a label, those that have it also as an upper level of a hierarchy.
      used_as: "label", "tag" or "".
      why: why it is no label, "" for a label.
    """

    name: str
    spellings: dict[str, int]
    photographs: int = 0
    train: int = 0
    test: int = 0
    used_as: str = ""
    why: str = ""


class KeywordGroups:
    """The keywords of a collection, merged.

    Args:
      keywords: the spellings of each photograph's keywords.
      wanted: names that become groups with this spelling; two of them are never merged.
    """

    def __init__(self, keywords: Iterable[Collection[str]], wanted: Sequence[str] = ()):
        counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
        for words in keywords:
            for word in words:
                counts[normalise_keyword(word)][normalise_label(word)] += 1
        exact = {normalise_keyword(name): normalise_label(name) for name in wanted}
        for key in exact:
            counts.setdefault(key, collections.Counter())
        parents = _find_parents({key: spellings.total() for key, spellings in counts.items()}, exact)
        members: dict[str, list[str]] = collections.defaultdict(list)
        self._roots: dict[str, str] = {}
        for key in counts:
            root = key
            while root in parents:
                root = parents[root]
            self._roots[key] = root
            members[root].append(key)
        self.groups = {}
        for root, keys in sorted(members.items()):
            usual = min(keys, key=lambda key: (-counts[key].total(), key != root, key))
            name = exact.get(root) or _most_frequent(counts[usual])
            self.groups[root] = KeywordGroup(
                name, dict(sum((counts[k] for k in keys), collections.Counter()))
            )

    def find(self, words: Iterable[str]) -> set[str]:
        """Returns the groups of words, by root; words that are no keyword have none."""
        return {root for word in words if (root := self._roots.get(normalise_keyword(word)))}

    def list_as_csv(self) -> str:
        """Returns a table of all keywords: labels first, the most frequent first."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(COLUMNS)
        order = {"label": 0, "tag": 1, "": 2}
        for group in sorted(self.groups.values(), key=lambda g: (order[g.used_as], -g.photographs, g.name)):
            spellings = _in_words(group.spellings) if len(group.spellings) > 1 else ""
            writer.writerow(
                (
                    _as_cell(group.name),
                    group.photographs,
                    group.train,
                    group.test,
                    group.used_as or "nothing",
                    _as_cell(spellings),
                    group.why,
                )
            )
        return buffer.getvalue()


def describe_labels(labels: Sequence[KeywordGroup], groups: Sequence[KeywordGroup]) -> list[str]:
    """Returns sentences on the labels: their photographs, what was merged, what was left out and why."""
    lines = [
        f"{len(labels):,} labels: {_list_counts({group.name: group.train + group.test for group in labels})}"
    ]
    merged = [
        f"{group.name} = {', '.join(sorted(group.spellings.keys() - {group.name}))}"
        for group in labels
        if group.spellings.keys() - {group.name}
    ]
    if merged:
        lines.append(f"merged into labels: {_list_names(merged)}")
    left_out: dict[str, dict[str, int]] = collections.defaultdict(dict)
    for group in groups:
        if group.why:
            left_out[group.why][group.name] = group.photographs
    for why, names in sorted(left_out.items()):
        lines.append(f"{len(names):,} keywords are no labels, {why}: {_list_counts(names)}")
    untested = sorted(group.name for group in labels if not group.test)
    if untested:
        lines.append(f"labels without test photographs: {_list_names(untested)}")
    return lines


def _find_parents(counts: Mapping[str, int], exact: Collection[str]) -> dict[str, str]:
    """Returns key -> the key that it is merged into, for keys that are merged."""
    plurals: dict[str, list[str]] = collections.defaultdict(list)
    for key in exact:
        for singular in singulars(key) - {key}:
            plurals[singular].append(key)
    parents = {}
    for key in counts:
        if key in exact:
            continue
        singular_keys = singulars(key) - {key}
        related = sorted({form for form in singular_keys if form in exact} | set(plurals.get(key, ())))
        candidates = related or [form for form in singular_keys if form in counts]
        if candidates:
            parents[key] = min(candidates, key=lambda form: (-counts[form], form))
    return parents


def _most_frequent(spellings: Mapping[str, int]) -> str:
    return min(spellings, key=lambda name: (-spellings[name], name))


def _in_words(spellings: Mapping[str, int]) -> str:
    ordered = sorted(spellings.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{name}: {count}" for name, count in ordered)


def _as_cell(text: str) -> str:
    """Returns a text that a spreadsheet takes for no formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") else text


def _list_counts(counts: Mapping[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return _list_names([f"{name}: {count:,}" for name, count in ordered])


def _list_names(names: Sequence[str]) -> str:
    rest = [f"{len(names) - _LISTED:,} more"] if len(names) > _LISTED else []
    return ", ".join([*map(escape_unprintable, names[:_LISTED]), *rest])
