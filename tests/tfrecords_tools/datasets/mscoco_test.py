"""MSCOCO, compared with an independent reader of its JSON files."""

import collections
import io
import json
import re

import pytest
from PIL import Image

from tests.conftest import SHARED
from tests.tfrecords_tools.conftest import make_packer, names_by_image
from tfrecords_tools.datasets import mscoco
from tfrecords_tools.packing import vocabulary

COCO = SHARED / "data" / "coco_tiny"
needs_coco = pytest.mark.skipif(not COCO.exists(), reason=f"needs {COCO.name} beside the project")
PARTS = {"train": "train2017", "test": "val2017"}


def load(kind, part):
    return json.loads((COCO / "annotations" / f"{kind}_{part}.json").read_text())


def labels_of(part, crowds=True):
    """Returns {file name: names of its objects} for the images that contain objects."""
    content = load("instances", part)
    names = {category["id"]: category["name"] for category in content["categories"]}
    files = {image["id"]: image["file_name"] for image in content["images"]}
    labels = collections.defaultdict(set)
    for a in content["annotations"]:
        if crowds or a["iscrowd"] == 0:
            labels[files[a["image_id"]]].add(names[a["category_id"]])
    return dict(labels)


def words_of(part):
    """Returns {file name: all words of its captions that are not stop words}."""
    files = {image["id"]: image["file_name"] for image in load("instances", part)["images"]}
    words = collections.defaultdict(set)
    for a in load("captions", part)["annotations"]:
        for word in re.split("[^a-z]", a["caption"].lower()):
            if len(word) >= 2 and word not in mscoco.STOP_WORDS:
                words[files[a["image_id"]]].add(word)
    return words


@pytest.fixture
def pack(tmp_path):
    return make_packer(mscoco.MsCoco, "mscoco", tmp_path, COCO)


@needs_coco
def test_packed_coco_sample_equals_an_independent_reading_of_the_json(pack, capsys):
    dataset = pack()
    counts = collections.Counter(word for words in words_of("train2017").values() for word in words)
    frequent = sorted(counts, key=lambda word: (-counts[word], word))[:1000]
    assert list(dataset.tags) == frequent
    assert dataset.labels == tuple(c["name"] for c in load("instances", "train2017")["categories"])
    for split, part in PARTS.items():
        expected = labels_of(part)
        assert len(expected) == {"train": 49, "test": 48}[split]  # of 50: the others contain no object
        packed = names_by_image(dataset, split)
        assert {image: labels for image, (labels, _) in packed.items()} == expected
        assert {image: tags for image, (_, tags) in packed.items()} == {
            image: words & set(frequent) for image, words in words_of(part).items() if image in expected
        }
        for record in dataset.read(split).as_numpy_iterator():
            photograph = (COCO / part / record["image_id"].decode()).read_bytes()
            if Image.open(io.BytesIO(photograph)).mode == "RGB":
                assert record["image"] == photograph
    printed = capsys.readouterr().out
    assert "left out: no label of the vocabulary: 1\n" in printed
    assert "test        30,774   2.813       48 " in printed
    assert "they nearly contain the labels" in printed
    # The vocabularies are stored beside the records.
    assert (dataset.directory / "tags.labels.txt").read_text().split() == frequent


@needs_coco
def test_images_without_objects_are_kept_without_drop_unlabelled(pack):
    dataset = pack(drop_unlabelled=False)
    assert [dataset.num_examples(split) for split in PARTS] == [50, 50]


@needs_coco
def test_drop_class_tags_removes_exactly_the_class_tags(pack):
    everything, dataset = pack(data_dir="all", num_tags=200), pack(num_tags=200, drop_class_tags=True)
    assert len(dataset.tags) == 200
    gone = set(everything.tags) - set(dataset.tags)
    assert {"person", "people", "sink", "sinks", "toilet", "bicycle", "table"} <= gone
    assert gone == vocabulary.class_tags(everything.tags, everything.labels)


@needs_coco
def test_vocabulary_from_reuses_labels_and_tags(pack, tmp_path):
    first = pack(data_dir="first", num_tags=50, keep_stop_words=True)
    assert "the" in first.tags
    again = pack(vocabulary_from=tmp_path / "first" / "mscoco")
    assert (again.labels, again.tags) == (first.labels, first.tags)


def test_find_words_splits_captions_and_removes_stop_words():
    captions = ["A man's ＣＡＴ, a hot-dog!  ", "The dog; 2 dogs on a surf-board."]
    assert mscoco.find_words(captions, mscoco.STOP_WORDS) == {
        "man",
        "cat",
        "dog",
        "hot",
        "dogs",
        "surf",
        "board",
    }
    assert "the" in mscoco.find_words(captions, frozenset())
    assert len(mscoco.STOP_WORDS) > 200
    assert not mscoco.STOP_WORDS & {"man", "woman", "two", "top", "front", "red", "sitting", "left", "right"}
