"""Removal of class names from tags, and reuse of a vocabulary."""

import collections
import json

import pytest

from msmm.core.errors import UserError
from tests.conftest import SHARED
from tfrecords_tools.datasets import manifest
from tfrecords_tools.packing import builder, vocabulary


@pytest.mark.parametrize(
    ("label", "dropped", "kept"),
    [
        ("birds", ["bird", "birds"], ["birding", "birdie", "blackbird", "bi"]),
        ("leaf", ["leaf", "leaves"], ["leave", "leafy"]),
        ("person", ["person", "persons", "people"], ["personal", "peoples", "man"]),
        ("knives", ["knife", "knives"], ["knit"]),
        ("bus", ["bus", "buses"], ["bu", "busy"]),
        ("grass", ["grass", "grasses"], ["gras", "grassy"]),
        ("cherry", ["cherry", "cherries"], ["cherrie tree"]),
        ("stickman", ["stickman", "stickmen"], ["man", "men"]),
        (
            "wine glass",
            ["wine", "glass", "glasses", "wine glasses", "wine-glass", "wineglass"],
            ["wines bar"],
        ),
        ("signs and symbols", ["sign", "symbol", "signs and symbols"], ["and", "signal"]),
        ("map-symbols", ["map", "map symbol", "mapsymbols"], ["mapsym", "old map"]),
        ("Straße", ["STRASSE"], ["strass"]),
    ],
)
def test_class_tags_are_inflections_and_words_of_class_names(label, dropped, kept):
    assert vocabulary.class_tags([*dropped, *kept], ["something", label]) == set(dropped)


def test_most_frequent_is_ordered_by_count_then_alphabetically():
    assert vocabulary.most_frequent({"c": 2, "a": 1, "b": 2, "d": 1}, 3) == ("b", "c", "a")


@pytest.mark.skipif(not SHARED.exists(), reason="needs openclipart beside the project")
def test_openclipart_tags_agree_with_a_manual_selection():
    """497 of 500 tags agree with a manual selection; the test lists the others."""
    folder = SHARED / "data" / "openclipart"
    labels = (folder / "labels.txt").read_text().split("\n")[:-1]
    by_hand = (folder / "tags_noleak.txt").read_text().split("\n")[:-1]
    rows = [json.loads(line) for line in (folder / "manifest.jsonl").open()]
    counts = collections.Counter(t for row in rows if row["split"] == "train" for t in set(row["tags"]))
    tags = vocabulary.most_frequent(counts, 500, unlike=labels)
    # The manual selection also removed abbreviations and irregular plurals, ...
    assert set(tags) - set(by_hand) == {"mapsym", "smiley", "transport"}
    # ... and kept class names written with a sign or as one word; airbus is the least frequent tag.
    assert set(by_hand) - set(tags) == {"=signs", "unitedstates", "airbus"}


@pytest.fixture
def pack(tmp_path):
    def run(path, name, **arguments):
        builder.pack(manifest.Manifest, name, tmp_path / "data", manifest=path, **arguments)
        return tmp_path / "data" / name

    return run


def rows(labels, tags, train=4):
    return [
        {"image": f"{i}.jpg", "labels": labels, "tags": tags, "split": "train" if i < train else "test"}
        for i in range(train + 1)
    ]


def test_drop_class_tags_fills_the_vocabulary_with_other_tags(pack, write_manifest):
    some = rows(["birds", "sky"], ["bird", "birds", "Sky", "nikon"]) + [
        {"image": "one more.jpg", "labels": ["sky"], "tags": ["holiday"], "split": "train"}
    ]
    path = pack(write_manifest(some), "mine", num_tags=2, drop_class_tags=True)
    assert vocabulary.read_vocabularies(path) == (("birds", "sky"), ("nikon", "holiday"), ())
    report = json.loads((path / "1.0.0" / "report.json").read_text())
    assert report["splits"]["train"]["class_tags_dropped"] == {"bird": 4, "birds": 4, "sky": 4}
    assert report["splits"]["test"]["class_tags_dropped"] == {"bird": 1, "birds": 1, "sky": 1}
    assert report["settings"]["drop_class_tags"] is True


def test_drop_class_tags_shrinks_a_given_vocabulary(pack, write_manifest, folder):
    (folder / "tags.txt").write_text("bird\nnikon\n")
    path = write_manifest(rows(["birds"], ["bird", "nikon"]))
    path = pack(path, "mine", tags_file=folder / "tags.txt", drop_class_tags=True)
    assert vocabulary.read_vocabularies(path)[1] == ("nikon",)


def test_reused_vocabulary_keeps_its_order(pack, write_manifest, capsys):
    first = pack(write_manifest(rows(["sea", "land"], ["b", "c"]), "first.jsonl"), "first")
    new = write_manifest(rows(["land", "air"], ["c", "a"]), "new.jsonl")
    for directory in (first, first / "1.0.0"):
        capsys.readouterr()
        path = pack(new, "new", vocabulary_from=directory, overwrite=True)
        assert (
            vocabulary.read_vocabularies(path)
            == vocabulary.read_vocabularies(first)
            == (("land", "sea"), ("b", "c"), ())
        )
        assert "labels not in the vocabulary: air: 4" in capsys.readouterr().out


def test_invalid_vocabulary_to_reuse_is_refused(pack, write_manifest, tmp_path):
    path = write_manifest(rows(["sea"], ["b"]))
    with pytest.raises(UserError, match="no data set 'other' in"):
        (tmp_path / "data").mkdir()
        pack(path, "new", vocabulary_from=tmp_path / "data" / "other")
    with pytest.raises(UserError, match="--drop_class_tags changes the tags that --vocabulary_from keeps"):
        pack(path, "new", vocabulary_from=tmp_path, drop_class_tags=True)


def test_error_suggests_the_path_if_a_data_set_name_is_given(pack, write_manifest, tmp_path, monkeypatch):
    packed = pack(write_manifest(rows(["sea"], ["b"])), "mine")
    for path in (packed, packed / "1.0.0"):
        vocabulary.check_reusable(path, tmp_path)
    monkeypatch.chdir(tmp_path)
    vocabulary.check_reusable("data/mine", "data")
    message = "no data set at mine: expected the path of one, as --vocabulary_from=data/mine$"
    with pytest.raises(UserError, match=message):
        vocabulary.check_reusable("mine", "data")
    with pytest.raises(UserError, match="no data set 'other' in"):
        vocabulary.check_reusable("other", "data")
