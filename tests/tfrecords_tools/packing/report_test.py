import numpy as np
import pytest

from msmm.core.errors import UserError
from msmm.data import records
from tfrecords_tools.datasets import manifest
from tfrecords_tools.packing import builder, report


@pytest.fixture
def dataset(write_manifest, tmp_path):
    labels = [["sky"], ["sky", "sea"], ["sky"], ["sky", "sea", "land"], ["sky"]]
    tags = [["blue"], [], ["blue", "nikon"], [], []]
    rows = [
        {"image": f"{i}.jpg", "labels": labels[i], "tags": tags[i], "split": "train"}
        for i in range(len(labels))
    ]
    rows += [{"image": f"t{i}.jpg", "id": str(i), "labels": ["sky"], "split": "test"} for i in range(3)]
    rows += [{"image": "t3.jpg", "labels": ["sea"], "split": "test"}]
    path = write_manifest(rows)
    builder.pack(manifest.Manifest, "mine", tmp_path / "data", manifest=path)
    return records.open_dataset(tmp_path / "data", "mine")


def test_overview_prints_sizes_means_and_frequencies(dataset):
    text = report.overview(dataset, "train")
    assert "\n5 train, 4 test images; 3 labels; 2 tags\n" in text
    assert "\ntrain: 1.60 labels per image\n" in text
    assert "\n0.60 tags per image; 60.0% of the images have none\n" in text
    lines = [line.split() for line in text.split("\n")]
    bars = {
        line[0]: (int(line[1]), len(line[2])) for line in lines if len(line) == 3 and set(line[2]) == {"█"}
    }
    assert {name: bars[name] for name in ("sky", "sea", "land")} == {
        "sky": (5, 40),
        "sea": (2, 16),
        "land": (1, 8),
    }
    assert (bars["blue"][0], bars["nikon"][0]) == (2, 1)


def test_histogram_contains_values_with_small_or_no_counts():
    assert [line.split()[:2] for line in report.histogram({"1": 2000, "2": 0, "13": 1})] == [
        ["1", "2,000"],
        ["2", "0"],
        ["13", "1"],
    ]
    assert report.histogram({"1": 2000, "2": 0, "13": 1})[2].endswith("  █")  # a small count is visible


def test_record_is_described_by_id_or_number(dataset):
    by_id = report.record_in_words(dataset, "train", "3.jpg")
    number = dataset.annotations("train")[0].tolist().index("3.jpg")
    size = len(list(dataset.read("train").as_numpy_iterator())[number]["image"])
    assert by_id.split("\n") == [
        f"record {number} of 5 in train of mine: 3.jpg",
        f"  image: JPEG, 32 x 24 pixels, {size:,} bytes",
        "  3 labels: land, sea, sky",
        "  no tags",
    ]
    assert report.record_in_words(dataset, "train", str(number)) == by_id


def test_numeric_image_id_takes_precedence_over_the_record_number(dataset):
    for number in "012":
        assert f" in test of mine: {number}\n" in report.record_in_words(dataset, "test", number)


def test_image_id_of_the_other_split_is_found(dataset):
    text = report.record_in_words(dataset, "train", "t3.jpg")
    assert " in test of mine: t3.jpg\n" in text
    assert text == report.record_in_words(dataset, "test", "t3.jpg")
    for number in "012":  # a number always refers to the requested split
        assert f"record {number} of 5 in train" in report.record_in_words(dataset, "train", number)


@pytest.mark.parametrize("wanted", ["5", "-1", "4.jpeg", ""])
def test_unknown_record_is_an_error(dataset, wanted):
    message = "in train or test of mine: expected an image id, or a number from 0 to 4 in train"
    with pytest.raises(UserError, match=message):
        report.record_in_words(dataset, "train", wanted)


def test_contact_sheet_shows_labels_in_black_and_tags_in_grey(dataset):
    sheet = report.sheet(dataset, "train")
    below = np.asarray(sheet)[10 + 120 :]  # 32 x 24 pixels become 160 x 120
    assert (below == 0).all(-1).any()
    assert (below == 0x66).all(-1).any()


def test_overview_of_many_labels_has_the_most_frequent_and_the_rarest():
    lines = report._label_lines({f"label{i}": 900 - i for i in range(900)})
    names = [line.split()[0] for line in lines[1:]]
    assert lines[0] == "images with the 25 most frequent and the 25 rarest labels"
    assert names == [f"label{i}" for i in (*range(25), *range(875, 900))]
    assert report._label_lines({"sky": 3, "sea": 1})[0] == "images with each label"
