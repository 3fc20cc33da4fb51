"""Reviews of a photo library, packed as labels."""

import pytest

from msmm.core.errors import UserError
from msmm.inference import model_dir
from msmm.photos import xmp_record
from msmm.photos.review import decisions
from msmm.photos.review.session import Session
from tests.tfrecords_tools.datasets.conftest import day, fill, oddities, read_all


def review(folder, *decided):
    """Writes decisions on photographs as `msmm.app --photos` does."""
    log = decisions.DecisionLog(folder, "a model")
    for name, complete, accepted, rejected in decided:
        decision = decisions.Decision(complete, accepted, (), rejected)
        log.append([decisions.Change(name, decision, xmp_record.Record())])
    log.close()


def test_reviewed_photographs_have_the_accepted_labels_and_no_other(add, pack, root):
    fill(add)
    add("a/1.jpg", "Dog", "cat", taken=day(1))
    add("a/2.jpg", "dogs", "cat", taken=day(2))
    add("a/3.jpg", taken=day(3))
    add("a/4.jpg", taken=day(4))
    add("a/5.jpg", taken=day(5))
    add("a/6.jpg", "Nature", "dog", hierarchy=["Nature|dog"], taken=day(6))
    add("a/7.jpg", taken=day(7))
    add("a/8.jpg", taken=day(8))
    review(
        root,
        ("a/1.jpg", True, ("sea",), ("dog",)),  # an own keyword rejected, another spelling of it
        ("a/2.jpg", False, (), ("dog",)),  # the plural
        ("a/3.jpg", True, (), ("sea",)),  # no label at all: a negative example
        ("a/4.jpg", True, ("cat", "dog"), ()),
        ("a/5.jpg", False, (), ("sea",)),  # nothing is known but that
        ("a/6.jpg", True, ("sea",), ("nature",)),
        ("a/7.jpg", True, ("sea",), ()),
        ("a/7.jpg", False, (), ()),  # undone
        ("gone.jpg", True, ("sea",), ()),
        ("../outside.jpg", True, ("sea",), ()),
    )
    dataset = pack(min_photos=2)
    assert dataset.labels == ("cat", "dog", "sea")
    labels = {image: names for image, (names, _) in read_all(dataset).items() if image.startswith("a/")}
    assert labels == {
        "a/1.jpg": {"cat", "sea"},
        "a/2.jpg": {"cat"},
        "a/3.jpg": set(),
        "a/4.jpg": {"cat", "dog"},
        "a/6.jpg": {"dog", "sea"},
    }
    text = oddities(dataset)
    assert "4 photographs were reviewed as a whole, 1 of them without a keyword" in text
    assert "of 2 others single keywords were reviewed" in text
    assert "3 of 18 photographs have no keyword: they are unlabelled" in text


def test_a_keyword_that_was_kept_stays_where_another_form_of_it_was_struck(add, pack, root):
    fill(add)
    add("a/1.jpg", "dogs", taken=day(1))
    add("a/2.jpg", "dog", taken=day(2))
    add("a/3.jpg", "dog", taken=day(3))
    log = decisions.DecisionLog(root, "a model")
    decision = decisions.Decision(True, (), ("dogs",), ("dog",))
    log.append([decisions.Change("a/1.jpg", decision, xmp_record.Record())])
    log.close()
    assert read_all(pack(min_photos=2))["a/1.jpg"][0] == {"dog"}


def test_of_reviews_of_several_folders_the_latest_counts(add, pack, root, monkeypatch):
    fill(add)
    add("a/1.jpg", taken=day(1))
    review(root / "a", ("1.jpg", True, ("sea",), ()))
    assert read_all(pack(min_photos=2))["a/1.jpg"][0] == {"sea"}
    later = (root / "a" / decisions.FILE).read_text().replace('"time": "20', '"time": "30')
    review(root, ("a/1.jpg", True, (), ()))
    assert read_all(pack(min_photos=2))["a/1.jpg"][0] in (set(), {"sea"})  # within a second
    (root / "a" / decisions.FILE).write_text(later)
    assert read_all(pack(min_photos=2))["a/1.jpg"][0] == {"sea"}
    (root / "a" / decisions.FILE).write_text(later.replace('"time": "30', '"time": "10'))
    assert read_all(pack(min_photos=2))["a/1.jpg"][0] == set()


def test_a_review_says_nothing_of_photographs_outside_its_folder(add, pack, root):
    fill(add)
    add("a/1.jpg", "sea", taken=day(1))
    add("b/2.jpg", "sea", taken=day(2))
    review(root / "b", ("../a/1.jpg", True, (), ("sea",)), (str(root / "a/1.jpg"), True, (), ("sea",)))
    assert read_all(pack(min_photos=2))["a/1.jpg"][0] == {"sea"}


def test_a_conflict_copy_of_a_review_is_reported(add, pack, root):
    fill(add)
    (root / "phone" / "msmm_review.sync-conflict-20260501-100000-ABCDEFG.jsonl").write_text("{}")
    assert "ABCDEFG.jsonl is not read: its name is that of a conflict copy" in oddities(pack(min_photos=2))


def test_a_damaged_review_is_named_and_a_torn_end_is_not(add, pack, root):
    fill(add)
    add("a/1.jpg", taken=day(1))
    review(root, ("a/1.jpg", True, ("sea",), ()))
    path = root / decisions.FILE
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:40])
    assert read_all(pack(min_photos=2))["a/1.jpg"][0] == {"sea"}
    path.write_bytes(whole[:40] + b"\n" + whole)
    with pytest.raises(UserError, match=f"{decisions.FILE}:1 is damaged"):
        pack(min_photos=2)


def test_a_review_is_packed_as_labels(add, pack, root, model_directory):
    """From the page's session to the records, sidecars included."""
    fill(add)
    for number in range(2):
        add(f"a/{number}.jpg", "Rome", taken=day(number), sidecar=bool(number))
    session = Session(str(root), model_dir.load(model_directory), num_workers=1)
    session.start()
    while session.proposer.num_ready < len(session.paths):
        assert not session.proposer.failure
    index = {name: number for number, name in enumerate(session.names)}
    session.decide(index["a/0.jpg"], ["Rome", "lake"], ["sea"])
    session.decide(index["a/1.jpg"], ["lake"], ["Rome"])
    session.decide(index["phone/IMG_100.jpg"], [], ["sea"])
    session.close()
    labels = {image: names for image, (names, _) in read_all(pack(min_photos=1)).items()}
    assert labels["a/0.jpg"] == {"Rome", "lake"} and labels["a/1.jpg"] == {"lake"}
    assert labels["phone/IMG_100.jpg"] == set() and labels["phone/IMG_101.jpg"] == {"sea"}
    assert "Rome" in (root / "a/1.jpg.xmp").read_text() and "lake" in (root / "a/0.jpg.xmp").read_text()
