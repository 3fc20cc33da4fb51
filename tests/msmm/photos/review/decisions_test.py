"""The file of decisions: appended, replayed, torn, damaged, locked, on a full disk."""

import codecs
import errno
import json
import os

import pytest

from msmm.core.errors import UserError
from msmm.photos.review import decisions
from msmm.photos.review.decisions import FILE, Change, Decision, DecisionLog, read_decisions
from msmm.photos.xmp_record import Record

DOG = Decision(True, ("dog", "Käse"), ("Rome",), ("cat",))
SKY = Decision(False, ("sky",))
ODD = os.fsdecode(b"caf\xe9\n.jpg")


def change(photo="a.jpg", decision=DOG, before=None):
    return Change(photo, decision, before or Record())


@pytest.fixture
def log(tmp_path):
    log = DecisionLog(tmp_path, "a model")
    yield log
    log.close()


def test_the_last_line_of_a_photograph_counts(tmp_path, log):
    log.append([change(), change(ODD, SKY)])
    log.append([change("a.jpg", SKY)])
    assert read_decisions(tmp_path / FILE) == {"a.jpg": SKY, ODD: SKY} == log.decisions
    rows = [json.loads(line) for line in (tmp_path / FILE).read_text("ascii").splitlines()]
    assert [(row["action"], row["photo"]) for row in rows] == [(1, "a.jpg"), (1, ODD), (2, "a.jpg")]
    assert rows[0] | {"time": ""} == {
        "format": 1, "action": 1, "photo": "a.jpg", "time": "", "complete": True, "accepted": ["dog", "Käse"],
        "kept": ["Rome"], "rejected": ["cat"], "model": "a model", "before": {},
    }  # fmt: skip


def test_actions_are_undone_in_order_also_after_a_restart(tmp_path, log):
    record = Record(added=("cat",), model="a model")
    log.append([change(), change("b.jpg")])
    log.append([change("a.jpg", SKY, record)])
    for _ in range(2):
        action = log.find_undoable()
        log.append([Change(*entry) for entry in action.before], undoes=action.number)
        if log.can_undo:
            assert action.before == [("a.jpg", DOG, record)]
            assert log.decisions == {"a.jpg": DOG, "b.jpg": DOG}
            log.close()
            log = DecisionLog(tmp_path, "a model")
    assert log.decisions == {} == read_decisions(tmp_path / FILE) and not log.can_undo
    log.append([change()])
    assert log.can_undo and read_decisions(tmp_path / FILE) == {"a.jpg": DOG}
    log.close()


def test_lines_of_places_outside_the_folder_do_not_count(tmp_path, log):
    log.append([change("a/../b.jpg")])
    log.append([change(name) for name in ("../b.jpg", "a/../../b.jpg", "/b.jpg", "..")])
    assert read_decisions(tmp_path / FILE) == {"a/../b.jpg": DOG}
    log.close()
    size = (tmp_path / FILE).stat().st_size
    log = DecisionLog(tmp_path, "a model")
    assert log.decisions == {"a/../b.jpg": DOG} and (tmp_path / FILE).stat().st_size == size
    log.close()


@pytest.mark.parametrize("cut", [2, 10, 100])
def test_a_torn_last_line_is_ignored_and_written_over(tmp_path, log, cut):
    log.append([change()])
    whole = (tmp_path / FILE).read_bytes()
    log.append([change("b.jpg", SKY)])
    log.close()
    torn = (tmp_path / FILE).read_bytes()[:-cut]
    (tmp_path / FILE).write_bytes(torn)
    assert read_decisions(tmp_path / FILE) == {"a.jpg": DOG}
    log = DecisionLog(tmp_path, "a model")
    assert (tmp_path / FILE).read_bytes() == whole
    log.append([change("c.jpg")])
    log.close()
    assert read_decisions(tmp_path / FILE) == {"a.jpg": DOG, "c.jpg": DOG}


def test_a_file_that_an_editor_has_saved_is_read_and_added_to(tmp_path, log):
    """With a mark at its start, other line ends, a blank line, and no end of the last line."""
    log.append([change()])
    log.append([change("b.jpg", SKY)])
    log.close()
    lines = (tmp_path / FILE).read_bytes().splitlines()
    edited = codecs.BOM_UTF8 + b"\r\n".join([lines[0], b"", lines[1]])
    (tmp_path / FILE).write_bytes(edited)
    assert read_decisions(tmp_path / FILE) == {"a.jpg": DOG, "b.jpg": SKY}
    log = DecisionLog(tmp_path, "a model")
    log.append([change("c.jpg")])
    log.close()
    assert read_decisions(tmp_path / FILE) == {"a.jpg": DOG, "b.jpg": SKY, "c.jpg": DOG}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{}\n", "damaged: mend or delete"),
        (b"\xff\n", "damaged"),
        (b"[1]\n", "damaged"),
        (b'{"format": 2}\n', "later version"),
        ((b'["dog"', b'[["dog"]'), "damaged"),
        ((b'"before": {}', b'"before": {}, "found": 1'), "damaged"),
    ],
)
def test_a_damaged_line_is_named(tmp_path, log, line, message):
    log.append([change()])
    log.close()
    whole = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(whole + (line if isinstance(line, bytes) else whole.replace(*line)))
    for read in (lambda: read_decisions(tmp_path / FILE), lambda: DecisionLog(tmp_path, "a model")):
        with pytest.raises(UserError, match=message) as caught:
            read()
        assert f"{FILE}:2" in str(caught.value)


def test_two_processes_cannot_review_one_folder(tmp_path, log):
    with pytest.raises(UserError, match="another process reviews"):
        DecisionLog(tmp_path, "a model")


def test_a_review_without_decisions_leaves_no_file(tmp_path):
    DecisionLog(tmp_path, "a model").close()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_no_part_of_an_action(tmp_path, log, monkeypatch):
    log.append([change()])
    before = (tmp_path / FILE).read_bytes()

    def fail(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr(decisions.os, "fsync", fail)
        log.append([change("b.jpg")])
    assert (tmp_path / FILE).read_bytes() == before and log.decisions == {"a.jpg": DOG}
    log.append([change("c.jpg")])
    assert read_decisions(tmp_path / FILE) == {"a.jpg": DOG, "c.jpg": DOG}
