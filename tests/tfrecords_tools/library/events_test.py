"""Events of photographs, and a split that never separates one."""

import pytest

from msmm.core.errors import UserError
from tfrecords_tools.library import events
from tfrecords_tools.library.events import Shot


def event_sets(*shots):
    """Returns the ids of each event."""
    groups = {}
    for shot, event in zip(shots, events.group_events(shots), strict=True):
        groups.setdefault(event, set()).add(shot.id)
    return sorted(groups.values(), key=min)


def shot(id, taken=None, folder=None, hash=b""):
    return Shot(id, id if folder is None else folder, taken, hash)


def test_photographs_of_a_day_are_one_event_whatever_their_folders():
    assert event_sets(
        shot("a", "2019-07-12T10:00:00"),
        shot("b", "2019-07-12T22:00:00"),
        shot("c", "2019-07-12"),
        shot("d", "2019-07-13T12:00:00"),
        shot("e"),
    ) == [{"a", "b", "c"}, {"d"}, {"e"}]


def test_the_day_of_a_scanner_is_no_event_but_its_folders_are():
    scans = [shot(f"{n:02}", f"2021-03-01T10:00:{n % 60:02}", f"box {n // 10}") for n in range(60)]
    others = [shot("x", "2020-01-01"), shot("y", "2020-01-02")]
    assert [len(event) for event in event_sets(*scans, *others)] == [10] * 6 + [1, 1]
    assert events.find_false_days([*scans, *others]) == {"2021-03-01": 60}
    (sentence,) = events.describe_false_days([*scans, *others])
    assert sentence.startswith("60 photographs have the date 2021-03-01")
    # A day of fewer photographs, of few folders, or of half of them is a day.
    for day in (scans[:49], [shot(s.id, s.taken, f"box {n % 2}") for n, s in enumerate(scans)]):
        assert max(map(len, event_sets(*day, *others))) == len(day)
    assert not events.find_false_days([*scans, *(shot(f"x{n}", "2020-01-01") for n in range(60))])


def test_burst_past_midnight_is_one_event():
    shots = [shot("a", "2019-12-31T23:59:58"), shot("b", "2020-01-01T00:00:58")]
    assert event_sets(*shots) == [{"a", "b"}]
    assert event_sets(shots[0], shot("c", "2020-01-01T00:00:59")) == [{"a"}, {"c"}]


def test_folder_is_an_event_up_to_a_month_and_a_quarter_of_all_photographs():
    others = [shot(f"x{n}") for n in range(6)]
    trip = [shot("a", "2019-07-12", "trip"), shot("b", "2019-08-12", "trip")]
    assert {"a", "b"} in event_sets(*trip, *others)
    year = [shot("a", "2019-07-12", "trip"), shot("b", "2019-08-13", "trip")]
    assert {"a"} in event_sets(*year, *others)
    undated = [shot("a", folder="trip"), shot("b", folder="trip")]
    assert {"a", "b"} in event_sets(*undated, *others)
    assert {"a"} in event_sets(*undated, *others[:5])  # two of seven are more than a quarter


def test_copies_are_one_event_in_any_folder_and_year():
    hashes = [bytes(range(32)), bytes([255, 255, 2, *range(3, 32)])]  # 15 bits differ
    assert event_sets(shot("a", "2001-01-01", hash=hashes[0]), shot("b", "2019-01-01", hash=hashes[1])) == [
        {"a", "b"}
    ]


def test_test_events_are_whole_seeded_and_near_the_share():
    sizes = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10] * 4
    events_of, ids = [], []
    for size in sizes:
        events_of += [len(events_of)] * size
        ids += [f"{len(ids) + n}.jpg" for n in range(size)]
    chosen, labels = {}, [()] * len(ids)
    for seed in range(20):
        chosen[seed] = events.choose_test_events(events_of, ids, labels, 0.2, seed)
        share = sum(event in chosen[seed] for event in events_of) / len(ids)
        assert 0.2 <= share <= 0.25
        assert events.choose_test_events(events_of, ids, labels, 0.2, seed) == chosen[seed]
    assert len({frozenset(names) for names in chosen.values()}) == 20


def test_large_events_leave_something_to_train_and_something_to_test():
    ids = [str(n) for n in range(10)]
    assert events.choose_test_events([0] * 9 + [9], ids, [()] * 10, 0.2, 0) == {9}
    assert events.choose_test_events([0] * 6 + [6] * 4, ids, [()] * 10, 0.2, 0) == {6}
    with pytest.raises(UserError, match=r"two or more days or folders.* got 3 of one"):
        events.choose_test_events([0, 0, 0], ["a", "b", "c"], [()] * 3, 0.2, 0)


@pytest.mark.parametrize("seed", range(10))
def test_labels_are_in_both_splits_where_a_draw_allows_it(seed):
    ids = [str(n) for n in range(40)]
    # Ten events of four photographs; each rare label is of two events.
    events_of = [n // 4 * 4 for n in range(40)]
    labels = [{f"rare {n // 4 % 2}"} if n < 16 else {"usual"} for n in range(40)]
    chosen = events.choose_test_events(events_of, ids, labels, 0.3, seed)
    splits = {
        name: {events_of[n] in chosen for n in range(40) if name in labels[n]}
        for name in labels[0] | labels[4]
    }
    assert splits == {"rare 0": {True, False}, "rare 1": {True, False}}
