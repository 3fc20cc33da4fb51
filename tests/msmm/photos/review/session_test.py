"""Reviews of a folder: proposals, decisions, sidecars, undo and restart, without a server."""

import json
import re

import pytest

from msmm.core.text import normalise_tag
from msmm.photos import sidecars, xmp
from msmm.photos.review import session as review
from msmm.photos.review import views
from msmm.photos.review.decisions import FILE, Decision, read_decisions
from msmm.photos.review.session import Refused
from tests.msmm.photos.review.conftest import digests

RED, GREEN, BLUE, BRIGHT, OWN = "a/red.jpg", "a/green.png", "blue.png", "b/bright.png", "b/own.png"


@pytest.fixture(autouse=True)
def originals(folder):
    before = digests(folder)
    yield
    assert before.items() <= digests(folder).items()


def subjects(folder, name):
    path = folder / f"{name}.xmp"
    return xmp.parse(path.read_bytes()).subjects if path.exists() else None


def shown(session, name):
    """Returns {keyword: (source, on)} of a photograph on the page."""
    photo = views.show_photo(session, session.names.index(name))
    return {entry["label"]: (entry["source"], entry["on"]) for entry in photo["keywords"]}


def decide(session, name, keywords, rejected=()):
    return session.decide(session.names.index(name), keywords, rejected)


def test_the_page_shows_own_and_proposed_keywords(session):
    assert shown(session, OWN) == {"Rome": ("own", True), "sea": ("own", True), "red": ("proposed", True)}
    photo = views.show_photo(session, session.names.index(BRIGHT))
    assert [entry["label"] for entry in photo["keywords"]] == ["bright above", "red"]
    assert [entry["label"] for entry in photo["more"]] == ["green"]
    assert photo["keywords"][0]["probability"] > 0.99 > photo["more"][0]["probability"]
    broken = views.show_photo(session, session.names.index("broken.jpg"))
    assert broken["cause"] and broken["keywords"] == []
    with pytest.raises(Refused, match="cannot be reviewed"):
        decide(session, "broken.jpg", ["x"])
    assert views.show_progress(session)["unreadable"] == 1


def test_a_decision_goes_into_the_sidecar_and_the_file(session, folder):
    assert decide(session, OWN, ["Rome", "dog", "Dog", " sun\n set"], ["red", "sea"]) == []
    assert subjects(folder, OWN) == ["Rome", "Nature|sea", "dog", "sun set"]  # another's keyword is kept
    assert decide(session, BRIGHT, [], ["bright above", "red"]) == []
    record = sidecars.read_record(str(folder / BRIGHT))
    assert record.rejected == ("bright above", "red") and subjects(folder, BRIGHT) == []
    assert read_decisions(folder / FILE) == {
        OWN: Decision(True, ("dog", "sun set"), ("Rome",), ("red", "sea")),
        BRIGHT: Decision(True, (), (), ("bright above", "red")),
    }
    assert session.num_complete == 2
    assert shown(session, OWN) == {
        "Rome": ("own", True), "sea": ("own", False), "dog": ("added", True), "sun set": ("added", True),
        "red": ("proposed", False),
    }  # fmt: skip
    # A decision can be made anew: only what the review wrote goes.
    decide(session, OWN, ["Rome", "sea", "red"], ["dog"])
    assert subjects(folder, OWN) == ["Rome", "Nature|sea", "red"]


def test_keywords_of_annotate_are_confirmed_or_removed(open_session, folder):
    sidecars.write_labels(str(folder / RED), [], ["red", "blue"], "model 1", normalise_tag, "msmm")
    session = open_session()
    assert shown(session, RED) == {"red": ("proposed", True), "blue": ("annotated", True)}
    decide(session, RED, ["red"], ["blue"])
    assert subjects(folder, RED) == ["red"]
    record = sidecars.read_record(str(folder / RED))
    assert (record.added, record.paths, record.confirmed) == ((), (), ("red",)) and record.model == "model 1"
    # Annotating again adds what is not rejected, and removing that leaves the review.
    sidecars.write_labels(str(folder / RED), [], ["blue", "green"], "model 2", normalise_tag, "msmm")
    assert subjects(folder, RED) == ["red", "green"]
    assert sidecars.remove_labels(str(folder / RED), normalise_tag) == ["green"]
    assert subjects(folder, RED) == ["red"]


def test_a_keyword_is_decided_for_many_photographs(session, folder):
    indices = [session.names.index(name) for name in (RED, GREEN, OWN)]
    session.decide_label("warm", True, indices)
    assert [subjects(folder, name) for name in (RED, GREEN)] == [["warm"], ["warm"]]
    session.decide_label("red", False, indices[:1])
    session.decide_label("Rome", True, indices[2:])  # it has that keyword
    assert read_decisions(folder / FILE) == {
        RED: Decision(False, ("warm",), (), ("red",)),
        GREEN: Decision(False, ("warm",)),
        OWN: Decision(False, ("warm",), ("Rome",)),
    }
    assert session.num_complete == 0
    assert shown(session, RED) == {"warm": ("added", True), "red": ("proposed", False)}
    session.decide_label("warm", False, indices[:1])
    assert subjects(folder, RED) is None or subjects(folder, RED) == []
    with pytest.raises(Refused, match="no photograph is selected"):
        session.decide_label("warm", True, [])


def test_the_grid_is_sorted_and_filtered(session):
    def grid(label, order="surest", which="undecided"):
        page = views.show_grid(session, label, order, which, 0, 10)
        return [session.names[item["index"]] for item in page["items"]]

    assert grid("red", which="proposed")[2:] == [BRIGHT]
    assert grid("red")[2] == BRIGHT and set(grid("red")[:2]) == {RED, OWN}
    assert grid("red", "unsure")[0] == BRIGHT  # just under one half
    assert grid("red", "folder") == [n for n in session.names if n != "broken.jpg"]
    session.decide_label("red", False, [session.names.index(RED)])
    session.decide_label("red", True, [session.names.index(OWN)])
    assert grid("red", which="proposed") == [BRIGHT] and grid("red", which="accepted") == [OWN]
    assert RED not in grid("red")
    counts = {row["label"]: row["proposed"] for row in views.list_labels(session)}
    assert counts["blue"] == 1
    assert views.order_photos(session, "unsure")[0] == session.names.index(BRIGHT)


def test_what_a_review_of_another_folder_rejected_stays_rejected(open_session, folder):
    path = str(folder / RED)
    session = open_session()
    session.decide_label("dog", False, [session.names.index(RED)])
    session.decide_label("fox", False, [session.names.index(RED)])
    session = open_session(below="a")
    session.decide_label("cat", True, [session.names.index("red.jpg")])
    assert sidecars.read_record(path).rejected == ("dog", "fox")
    sidecars.write_labels(path, [], ["dog", "green"], "m", normalise_tag)
    assert subjects(folder, RED) == ["cat", "green"]
    decide(session, "red.jpg", ["cat", "Fox"], ["green"])
    assert sidecars.read_record(path).rejected == ("dog", "green")
    decide(session, "red.jpg", ["cat"], ["Dog"])  # its own rejection of green is taken back
    assert sidecars.read_record(path).rejected == ("Dog",)
    session.undo()
    assert sidecars.read_record(path).rejected == ("dog", "green")


def test_undo_restores_decisions_and_sidecars(open_session, folder):
    before = (folder / f"{OWN}.xmp").read_bytes()
    session = open_session()
    decide(session, OWN, ["dog"], ["Rome"])
    session.decide_label("dog", False, [session.names.index(OWN), session.names.index(RED)])
    assert subjects(folder, OWN) == ["Rome", "Nature|sea"]
    index, warnings = session.undo()
    assert index == session.names.index(OWN) and warnings == []
    assert subjects(folder, OWN) == ["Rome", "Nature|sea", "dog"] and not (folder / f"{RED}.xmp").exists()
    session = open_session()  # undo works after a restart, too
    session.undo()
    assert (folder / f"{OWN}.xmp").read_bytes() == before and read_decisions(folder / FILE) == {}
    with pytest.raises(Refused, match="nothing to undo"):
        session.undo()


def test_a_restart_goes_on_where_it_was(open_session, folder):
    session = open_session()
    assert session.names[:3] == [BLUE, "broken.jpg", GREEN] and session.find_start() == 0
    decide(session, BLUE, ["x"])
    assert session.find_start() == 2  # what cannot be read is passed over
    decide(session, OWN, ["x"])
    session = open_session()
    assert session.find_start() == 2 and session.decision(0).accepted == ("x",)
    decide(session, RED, ["y"])
    assert session.names[session.find_start()] == BRIGHT
    for name in (BRIGHT, GREEN):
        decide(session, name, [])
    assert open_session().num_complete == 5 and session.names[session.find_start()] == GREEN


def test_sidecars_of_the_last_action_are_written_after_a_kill(open_session, folder, monkeypatch):
    session = open_session()
    with monkeypatch.context() as patch:  # killed after the lines and before the sidecars
        patch.setattr(review.sidecars, "change_record", lambda *_: None)
        session.decide_label("dog", True, [session.names.index(RED), session.names.index(OWN)])
    assert subjects(folder, RED) is None
    open_session(wait=False)
    assert subjects(folder, RED) == ["dog"] and subjects(folder, OWN) == ["Rome", "Nature|sea", "dog"]


def test_a_restart_leaves_what_was_written_after_the_last_action(open_session, folder):
    path = str(folder / RED)
    session = open_session()
    decide(session, RED, ["cat", "sea"])
    text = (folder / f"{RED}.xmp").read_text()
    subject = text[text.index("<dc:subject") : text.index("</dc:subject>")]
    without = re.sub(r"\s*<rdf:li>cat</rdf:li>", "", subject)
    edited = text.replace(subject, without)  # by the person in another program
    (folder / f"{RED}.xmp").write_text(edited)
    assert subjects(folder, RED) == ["sea"]
    session = open_session()
    assert (folder / f"{RED}.xmp").read_text() == edited
    decide(session, RED, ["cat", "sea"])  # once more: msmm's record stays the same
    assert subjects(folder, RED) == ["sea", "cat"]
    (folder / f"{RED}.xmp").write_text(edited)
    session = open_session()
    assert (folder / f"{RED}.xmp").read_text() == edited
    session.undo()
    session.undo()
    sidecars.write_labels(path, [], ["green"], "m", normalise_tag)
    open_session(wait=False)
    assert subjects(folder, RED) == ["green"] and sidecars.find_annotator(path) == "m"
    # An undo of a version that did not note what it found.
    rows = [json.loads(line) for line in (folder / FILE).read_text().splitlines()]
    assert rows[-1].pop("found")
    (folder / FILE).write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    open_session(wait=False)
    assert subjects(folder, RED) == ["green"]


def test_sidecars_of_an_undo_are_written_after_a_kill(open_session, folder, monkeypatch):
    before = (folder / f"{OWN}.xmp").read_bytes()
    session = open_session()
    session.decide_label("dog", True, [session.names.index(RED), session.names.index(OWN)])
    write = review.sidecars.change_record
    with monkeypatch.context() as patch:  # killed after the first sidecar
        patch.setattr(review.sidecars, "change_record", lambda path, *rest: OWN in path or write(path, *rest))
        session.undo()
    assert subjects(folder, OWN) == ["Rome", "Nature|sea", "dog"] and subjects(folder, RED) is None
    sidecars.write_labels(str(folder / RED), [], ["green"], "m", normalise_tag)
    open_session(wait=False)
    assert (folder / f"{OWN}.xmp").read_bytes() == before and subjects(folder, RED) == ["green"]


def test_a_sidecar_that_cannot_be_written_is_a_warning_and_the_decision_is_kept(session, folder):
    (folder / f"{RED}.xmp").write_bytes(b"no XML")
    (warning,) = decide(session, RED, ["dog"])
    assert RED in warning and "kept in the review, but broken XMP" in warning
    assert (folder / f"{RED}.xmp").read_bytes() == b"no XML"
    assert read_decisions(folder / FILE)[RED].accepted == ("dog",)


def test_links_to_other_places_and_unready_photographs_are_refused(open_session, folder, tmp_path, photo):
    outside = photo("outside.jpg")
    (folder / "link.jpg").symlink_to(outside)
    session = open_session(wait=False)
    assert "link.jpg" not in session.names and RED in session.names
    with pytest.raises(Refused, match="not computed yet"):
        decide(session, RED, ["dog"])
    assert not (tmp_path / "outside.jpg.xmp").exists()


@pytest.mark.parametrize(
    "action", [{"before": {}}, {"undoes": 3, "before": {"confirmed": ["x"]}, "found": {}}]
)
def test_a_file_of_decisions_from_elsewhere_reaches_no_file_outside_the_folder(
    open_session, folder, tmp_path, action, capsys
):
    (tmp_path / "private").mkdir()
    (tmp_path / "private/letter.txt").write_text("x")
    (folder / "link.jpg").symlink_to(tmp_path / "private/letter.txt")
    (folder / "linked").symlink_to(tmp_path / "private")
    (folder / "a/odd\x1b.jpg").write_bytes((folder / RED).read_bytes())
    (folder / "a/odd\x1b.jpg.xmp").write_bytes(b"no XML")
    outside = [
        "../private/letter.txt", "a/../../private/letter.txt", str(tmp_path / "private/letter.txt"),
        "link.jpg", "linked/letter.txt", "a", ".", "", "..", "a\0b", "\ud800",
    ]  # fmt: skip
    row = {"format": 1, "action": 4, "time": "2026-01-01T00:00:00Z", "complete": True, "accepted": ["x"]}
    row |= {"kept": [], "rejected": [], "model": "m", **action}
    rows = [row | {"photo": name} for name in (*outside, RED, "a/odd\x1b.jpg")]
    text = "".join(f"{json.dumps(row)}\n" for row in rows)
    (folder / FILE).write_text(text)
    before = sorted(tmp_path.rglob("*"))
    session = open_session()
    assert subjects(folder, RED) == ["x"]
    assert set(tmp_path.rglob("*")) - {folder / f"{RED}.xmp"} == set(before)
    out = capsys.readouterr().out
    assert "a/odd\\x1b.jpg: kept in the review" in out and "\x1b" not in out
    if "undoes" not in action:
        session.undo()
    assert set(tmp_path.rglob("*")) - {folder / f"{RED}.xmp"} == set(before)
    assert (folder / FILE).read_text().startswith(text)


def test_a_new_list_in_a_sidecar_begins_with_the_photographs_own_keywords(open_session, folder, photo):
    from tests.msmm.photos.metadata_test import bag, packet

    photo("photos/inside.jpg", xmp=packet(bag("dc:subject", "Lake")))
    session = open_session()
    decide(session, "inside.jpg", ["Lake", "red"])
    assert subjects(folder, "inside.jpg") == ["Lake", "red"]
    session.undo()
    assert subjects(folder, "inside.jpg") is None
    assert json.loads((folder / FILE).read_text().splitlines()[0])["kept"] == ["Lake"]


def test_a_long_keyword_of_the_photograph_does_not_stop_its_review(open_session, folder):
    from tests.msmm.photos.metadata_test import bag, packet

    long = "a sentence as a keyword, " * 10
    (folder / f"{RED}.xmp").write_bytes(packet(bag("dc:subject", long)))
    session = open_session()
    assert decide(session, RED, [long, "red"]) == []
    assert session.decision(session.names.index(RED)) == Decision(True, ("red",), (long.strip(),))
    assert decide(session, RED, ["red"], [long]) == []
    (folder / f"{RED}.xmp").unlink()  # the keyword is gone, but was rejected
    session = open_session()
    for _ in range(2):
        assert decide(session, RED, ["red"], [long]) == []
        assert session.decision(session.names.index(RED)) == Decision(True, ("red",), (), (long.strip(),))
    for keywords, rejected in (([long + "x"], []), ([], [long + "x"])):
        with pytest.raises(Refused, match="at most 200 characters"):
            decide(session, RED, keywords, rejected)


def test_a_long_keyword_in_the_file_of_decisions_does_not_stop_the_start(open_session, folder):
    decide(open_session(), RED, ["red"])
    (folder / f"{RED}.xmp").unlink()
    path = folder / FILE
    path.write_text(path.read_text().replace('"red"', f'"{"long" * 60}"'))  # as by hand
    open_session(wait=False)
    assert subjects(folder, RED) == ["long" * 60]


def test_keywords_typed_with_semicolons_are_several(session, folder):
    session.decide(0, ["dog; Sea", ";", "Tom &amp; Jerry"], ["cat;cow"])
    decision = session.decision(0)
    assert decision.accepted == ("dog", "Sea", "Tom &amp; Jerry") and decision.rejected == ("cat", "cow")
