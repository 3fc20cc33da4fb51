"""A split of a photo collection by events, so that no training photograph nearly equals a test photograph.

Photographs of one event stay in one split:

  day     photographs of the same day, unless it is no day of photographs (`find_false_days`)
  burst   photographs that follow one another within a minute, past midnight too
  folder  photographs of a folder that spans at most a month and has at most a quarter of all photographs.
          Larger folders, such as a telephone's, are no event.
  copies  near-duplicates by difference hash, wherever they are
"""

import collections
import dataclasses
import datetime
import hashlib
import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from msmm.core.errors import UserError
from tfrecords_tools.library import difference_hash

BURST = datetime.timedelta(seconds=60)
_LONGEST_EVENT = datetime.timedelta(days=31)
_LARGEST_FOLDER = 0.25  # share of the photographs
# More than this share of the photographs, at least so many of them, in at least so many folders.
_FALSE_DAY, _FALSE_DAY_PHOTOGRAPHS, _FALSE_DAY_FOLDERS = 0.5, 50, 3
_DRAWS = 32
_OVERSHOOT = 1.25  # times the wanted test photographs; a larger event goes to training


@dataclasses.dataclass(frozen=True, slots=True)
class Shot:
    """A photograph to split: its id, its folder, when it was taken (see `photos.context`) and its hash."""

    id: str
    folder: str
    taken: str | None
    hash: bytes


def find_false_days(shots: Sequence[Shot]) -> dict[str, int]:
    """Returns the days on which photographs cannot have been taken, with the number of their photographs.

    More than half of all photographs, 50 or more, in three or more folders, are of such a day. A scanner or a
    program that converted old files wrote it, or a camera without a clock.
    """
    numbers = collections.defaultdict(list)
    for number, shot in enumerate(shots):
        if shot.taken:
            numbers[shot.taken[:10]].append(number)
    return {
        day: len(members)
        for day, members in numbers.items()
        if len(members) > _FALSE_DAY * len(shots)
        and len(members) >= _FALSE_DAY_PHOTOGRAPHS
        and len({shots[number].folder for number in members}) >= _FALSE_DAY_FOLDERS
    }


def describe_false_days(shots: Sequence[Shot]) -> list[str]:
    """Returns a sentence for each day of `find_false_days`."""
    return [
        f"{count:,} photographs have the date {day}, of a scanner or a camera without a clock: the day is no "
        "event, but their folders are"
        for day, count in find_false_days(shots).items()
    ]


def group_events(shots: Sequence[Shot]) -> list[int]:
    """Returns the position of the first photograph of its event for each photograph."""
    false = find_false_days(shots)
    shots = [
        dataclasses.replace(shot, taken=None) if shot.taken and shot.taken[:10] in false else shot
        for shot in shots
    ]
    first = list(range(len(shots)))

    def root(number: int) -> int:
        while first[number] != number:
            first[number] = first[first[number]]
            number = first[number]
        return number

    for pairs in (_days(shots), _bursts(shots), _folders(shots), _copies(shots)):
        for one, other in pairs:
            a, b = sorted((root(one), root(other)))
            first[b] = a
    return [root(number) for number in range(len(first))]


def choose_test_events(
    events: Sequence[int],
    ids: Sequence[str],
    labels: Sequence[Collection[str]],
    test_share: float,
    seed: int,
) -> set[int]:
    """Returns the events to test on: about `test_share` of the photographs, by a seeded hash.

    Of _DRAWS draws, it is the first one with the most labels in training, and of these in both splits.

    Args:
      events: of each photograph, as `group_events` returns them.
      ids: of each photograph.
      labels: of each photograph.
      test_share: between 0 and 1.
      seed: another seed chooses other events.

    Raises:
      UserError: there is only one event.
    """
    sizes = collections.Counter(events)
    if len(sizes) < 2:
        raise UserError(
            f"expected photographs of two or more days or folders, to train and to test on, got {len(ids)} "
            "of one: add others"
        )
    labels_of: dict[int, set[str]] = collections.defaultdict(set)
    for event, names in zip(events, labels, strict=True):
        labels_of[event].update(names)

    def count_labels(chosen: set[int]) -> tuple[int, int]:
        test, train = set(), set()
        for event, names in labels_of.items():
            (test if event in chosen else train).update(names)
        return len(train), len(test & train)

    wanted = max(1, round(test_share * len(ids)))
    return max((_draw(sizes, ids, wanted, f"{seed} {draw}") for draw in range(_DRAWS)), key=count_labels)


def _draw(sizes: Mapping[int, int], ids: Sequence[str], wanted: int, seed: str) -> set[int]:
    """Returns events of about `wanted` photographs, at least one and not all.

    sizes: the photographs of each event.
    """
    chosen: set[int] = set()
    total = 0
    for event in sorted(sizes, key=lambda event: hashlib.sha256(f"{seed} {ids[event]}".encode()).digest()):
        if total >= wanted:
            break
        if total + sizes[event] <= max(wanted + 1, _OVERSHOOT * wanted) and len(chosen) + 1 < len(sizes):
            chosen.add(event)
            total += sizes[event]
    return chosen or {min(sizes, key=lambda event: (sizes[event], ids[event]))}


def _chain(members: Iterable[list[int]]) -> Iterator[tuple[int, int]]:
    """Yields the pairs that join each list of photographs."""
    for numbers in members:
        yield from itertools.pairwise(numbers)


def _days(shots: Sequence[Shot]) -> Iterator[tuple[int, int]]:
    days = collections.defaultdict(list)
    for number, shot in enumerate(shots):
        if shot.taken:
            days[shot.taken[:10]].append(number)
    return _chain(days.values())


def _bursts(shots: Sequence[Shot]) -> Iterator[tuple[int, int]]:
    timed = [
        (datetime.datetime.fromisoformat(shot.taken), number)
        for number, shot in enumerate(shots)
        if shot.taken and "T" in shot.taken
    ]
    timed.sort()
    for (before, one), (after, other) in itertools.pairwise(timed):
        if after - before <= BURST:
            yield one, other


def _folders(shots: Sequence[Shot]) -> Iterator[tuple[int, int]]:
    folders = collections.defaultdict(list)
    for number, shot in enumerate(shots):
        folders[shot.folder].append(number)
    return _chain(numbers for numbers in folders.values() if _is_event(shots, numbers))


def _is_event(shots: Sequence[Shot], numbers: list[int]) -> bool:
    days = sorted(datetime.date.fromisoformat(day[:10]) for n in numbers if (day := shots[n].taken))
    spans = days[-1] - days[0] if days else datetime.timedelta()
    return spans <= _LONGEST_EVENT and len(numbers) <= _LARGEST_FOLDER * len(shots)


def _copies(shots: Sequence[Shot]) -> Iterator[tuple[int, int]]:
    return difference_hash.similar_pairs([shot.hash for shot in shots])
