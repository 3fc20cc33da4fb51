"""MSCOCO from TFDS, and from intact and broken official files."""

import collections
import json
import shutil
import subprocess
import sys
import zipfile
from unittest import mock

import pytest
from PIL import Image

from msmm.core.errors import UserError
from msmm.data import records
from tests.conftest import ROOT
from tests.tfrecords_tools.conftest import make_packer, names_by_image, picture
from tests.tfrecords_tools.datasets.mscoco_test import COCO, PARTS, labels_of, load, needs_coco
from tfrecords_tools.datasets import mscoco
from tfrecords_tools.packing.raw_dataset import Settings
from tfrecords_tools.raw import mscoco_files


@pytest.fixture
def pack(tmp_path):
    return make_packer(mscoco.MsCoco, "mscoco", tmp_path, COCO)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Prepares `coco_captions` with TFDS from the same photographs, without the network."""
    import tensorflow_datasets as tfds

    downloads = tmp_path_factory.mktemp("downloads")
    (downloads / "annotations").mkdir()
    images = []
    for part, splits in (("train", ["train"]), ("val", ["val", "test", "restval"])):
        shutil.copytree(COCO / f"{part}2017", downloads / f"{part}2014")
        shutil.copy(
            COCO / f"annotations/instances_{part}2017.json",
            downloads / f"annotations/instances_{part}2014.json",
        )
        captions = collections.defaultdict(list)
        for a in load("captions", f"{part}2017")["annotations"]:
            captions[a["image_id"]].append({"sentid": a["id"], "raw": a["caption"]})
        for number, image in enumerate(load("instances", f"{part}2017")["images"]):
            split = splits[number % len(splits)]
            images.append(
                {"split": split, "filename": image["file_name"], "sentences": captions[image["id"]]}
            )
    (downloads / "dataset_coco.json").write_text(json.dumps({"images": images}))

    def download(self, urls):
        return dict.fromkeys(urls, str(downloads))

    data_dir = tmp_path_factory.mktemp("tfds")
    with mock.patch.object(tfds.download.DownloadManager, "download_and_extract", download):
        config = tfds.download.DownloadConfig(try_download_gcs=False)
        tfds.builder("coco_captions/2014", data_dir=data_dir).download_and_prepare(download_config=config)
    return data_dir


@needs_coco
def test_tfds_source_packs_the_same_records_as_the_official_files(pack, prepared):
    files = pack(data_dir="files")
    for arguments in ({}, {"crowds": False, "num_tags": 30}):
        files, dataset = (
            pack(data_dir="files", overwrite=True, **arguments),
            pack(prepared, source="tfds", overwrite=True, **arguments),
        )
        assert dataset.fingerprint == files.fingerprint
    assert dataset.description == "MSCOCO 2014, coco_captions/2014/1.1.0 of TFDS"
    assert [dataset.num_examples(split) for split in PARTS] == [
        len(labels_of(p, False)) for p in PARTS.values()
    ]


@needs_coco
def test_mocked_tfds_source_returns_the_same_photographs_as_the_official_files(prepared, tmp_path):
    """tfds.testing.mock_data returns the same photographs and never downloads."""
    import tensorflow as tf
    import tensorflow_datasets as tfds

    files = mscoco_files.FromFiles(COCO, None, True)
    ids = {name: number for number, name in enumerate(files.labels)}

    def examples(split):
        part = {"train": "train"}.get(split, "test")
        third = {"train": slice(None), "val": slice(0, 20), "test": slice(20, 21), "restval": slice(21, None)}
        for photograph in list(files.photographs(part))[third[split]]:
            yield {
                "image": photograph.image.read_bytes(),
                "image/filename": photograph.id,
                "objects": {  # every object twice, and a crowd of toothbrushes
                    "label": [ids[name] for name in photograph.labels] * 2 + [79],
                    "is_crowd": [False] * len(photograph.labels) * 2 + [True],
                },
                "captions": {"text": list(photograph.captions)},
            }

    def as_dataset(self, split, **_):
        signature = {
            "image": tf.TensorSpec((), tf.string),
            "image/filename": tf.TensorSpec((), tf.string),
            "objects": {
                "label": tf.TensorSpec((None,), tf.int64),
                "is_crowd": tf.TensorSpec((None,), tf.bool),
            },
            "captions": {"text": tf.TensorSpec((None,), tf.string)},
        }
        return tf.data.Dataset.from_generator(lambda: examples(split), output_signature=signature)

    with tfds.testing.mock_data(data_dir=str(prepared), as_dataset_fn=as_dataset):
        source = mscoco_files.FromTfds(tmp_path / "nothing here", None, crowds=False)
        assert source.labels == files.labels
        assert source.num_rows == files.num_rows
        for split in PARTS:
            assert list(source.captions(split)) == list(files.captions(split))
            photographs = list(source.photographs(split))
            assert [(p.id, p.labels, p.captions) for p in photographs] == [
                (p.id, p.labels, p.captions) for p in files.photographs(split)
            ]
            everything = mscoco_files.FromTfds(tmp_path, None, crowds=True).photographs(split)
            assert all(p.labels[-1] == files.labels[79] for p in everything)
            assert [p.image for p in photographs] == [p.image.read_bytes() for p in files.photographs(split)]


def test_tfds_source_without_a_network_is_an_error(tmp_path):
    import tensorflow_datasets as tfds

    with (
        mock.patch.object(
            tfds.download.DownloadManager, "download_and_extract", side_effect=ConnectionError("no network")
        ),
        pytest.raises(
            UserError, match=r"TFDS could not make coco_captions .ConnectionError: no network.: try"
        ),
    ):
        mscoco_files.FromTfds(tmp_path, None, True)
    with pytest.raises(UserError, match="expected --year=2014 with --source=tfds"):
        mscoco_files.FromTfds(tmp_path, "2017", True)


# A small tree in the official layout.


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "MS COCO"
    (root / "annotations").mkdir(parents=True)
    write_year(root, "2014")
    return root


def write_year(root, year):
    categories = [{"id": 3, "name": "car"}, {"id": 1, "name": "person"}]  # not in order
    number = 0
    for part, objects in (("train", [[1, 3], [3], []]), ("val", [[1], [3, 1, 3]])):
        images, instances, captions = [], [], []
        (root / f"{part}{year}").mkdir()
        for present in objects:
            number += 1
            name = f"COCO_{part}{year}_{number:012d}.jpg"
            Image.fromarray(picture(seed=number)).save(root / f"{part}{year}" / name)
            images.append({"id": number, "file_name": name})
            instances += [{"image_id": number, "category_id": c, "iscrowd": 0} for c in present]
            captions += [{"image_id": number, "caption": text} for text in ("A red Car.", f"Number {number}")]
        for kind, annotations in (("instances", instances), ("captions", captions)):
            content = {"images": images, "annotations": annotations, "categories": categories}
            (root / f"annotations/{kind}_{part}{year}.json").write_text(json.dumps(content))


EXPECTED = {
    "train": {
        "COCO_train2014_000000000001.jpg": ({"car", "person"}, {"car", "number", "red"}),
        "COCO_train2014_000000000002.jpg": ({"car"}, {"car", "number", "red"}),
    },
    "test": {
        "COCO_val2014_000000000004.jpg": ({"person"}, {"car", "number", "red"}),
        "COCO_val2014_000000000005.jpg": ({"car", "person"}, {"car", "number", "red"}),
    },
}


def test_pack_of_the_2014_release_contains_its_labels_and_tags(pack, tree):
    dataset = pack(tree)
    assert dataset.labels == ("person", "car")  # in the order of the category ids
    assert {split: names_by_image(dataset, split) for split in dataset.splits} == EXPECTED
    assert dataset.description == "MSCOCO 2014, official files"


def test_crowd_annotations_are_labels_unless_crowds_is_false(pack, tree):
    crowd = rewrite("instances_train2014.json", lambda c: c["annotations"][0].update(iscrowd=1))
    crowd(tree)  # the person of the first image
    labels = {image: labels for image, (labels, _) in names_by_image(pack(tree), "train").items()}
    assert labels == {image: labels for image, (labels, _) in EXPECTED["train"].items()}
    labels = {
        image: labels
        for image, (labels, _) in names_by_image(pack(tree, "less", crowds=False), "train").items()
    }
    assert labels == {"COCO_train2014_000000000001.jpg": {"car"}, "COCO_train2014_000000000002.jpg": {"car"}}


def test_official_zip_files_give_the_same_records_as_folders(pack, tree):
    expected = pack(tree, "first").fingerprint
    for name in ("train2014", "val2014", "annotations"):
        with zipfile.ZipFile(tree / f"{name}.zip", "w") as file:
            for path in (tree / name).iterdir():
                file.write(path, f"{name}/{path.name}")
        shutil.rmtree(tree / name)
    assert pack(tree, "second").fingerprint == expected


def test_year_is_required_if_both_releases_are_present(pack, tree):
    write_year(tree, "2017")
    with pytest.raises(UserError, match="found both years: choose --year=2014 or 2017"):
        pack(tree)
    assert pack(tree, year="2014").annotations("test")[0].tolist() == sorted(EXPECTED["test"])


def test_missing_photographs_are_reported_and_limited_by_max_skipped(pack, tree):
    (tree / "train2014/COCO_train2014_000000000001.jpg").unlink()
    with pytest.raises(UserError, match=r"1 of 5 images are broken .missing file: 1."):
        pack(tree)
    dataset = pack(tree, max_skipped=0.2)
    dropped = dataset.report()["splits"]["train"]["dropped"]
    assert dropped == {
        "missing file": ["COCO_train2014_000000000001.jpg"],
        "no label of the vocabulary": ["COCO_train2014_000000000003.jpg"],
    }


def remove(*names):
    def change(tree):
        for name in names:
            path = tree / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return change


def rewrite(name, change):
    def rewritten(tree):
        path = tree / "annotations" / name
        content = json.loads(path.read_text())
        path.write_text(json.dumps(change(content) or content))

    return rewritten


def cut_off(tree):
    path = tree / "annotations/instances_val2014.json"
    path.write_text(path.read_text()[:-40])


def only_the_other_year(tree):
    for name in ("train", "val"):
        (tree / f"{name}2014").rename(tree / f"{name}2017")


BROKEN = {
    "no annotations": (remove("annotations"), {}, "expected instances_*.json and captions_*.json in"),
    "no captions": (
        remove("annotations/captions_val2014.json"),
        {},
        "has no captions_val2014.json: get the annotations of 2014 at https://cocodataset.org",
    ),
    "wrong year": (
        lambda tree: None,
        {"year": "2017"},
        "has no instances_train2017.json, captions_train2017.json, instances_val2017.json, "
        "captions_val2017.json; there are files of 2014: get",
    ),
    "photographs of another year": (
        only_the_other_year,
        {},
        "has no photographs train2014/, in a zip file neither: get them at https://cocodataset.org",
    ),
    "no photographs": (remove("val2014"), {}, "has no photographs val2014/, in a zip file neither"),
    "JSON cut off": (cut_off, {}, "instances_val2014.json is broken ("),
    "no JSON": (
        lambda tree: (tree / "annotations/captions_train2014.json").write_text("<html>"),
        {},
        "captions_train2014.json is broken (Expecting value: line 1 column 1",
    ),
    "another JSON": (rewrite("captions_train2014.json", lambda c: [c]), {}, "has no list of annotations"),
    "empty JSON": (rewrite("instances_train2014.json", lambda c: c.clear()), {}, "has no list of images"),
    "an entry without category": (
        rewrite("instances_val2014.json", lambda c: c["annotations"][0].pop("category_id") and None),
        {},
        "instances_val2014.json is not as the official file: an entry has no 'category_id'",
    ),
    "an unknown category": (
        rewrite("instances_val2014.json", lambda c: c["annotations"][0].update(category_id=99)),
        {},
        "instances_val2014.json is not as the official file: an entry has no 99, or names something unknown",
    ),
    "an unknown image": (
        rewrite("captions_val2014.json", lambda c: c["annotations"][0].update(image_id=99)),
        {},
        "captions_val2014.json is about image 99; instances_val2014.json has none",
    ),
    "other categories in the test split": (
        rewrite("instances_val2014.json", lambda c: c["categories"][0].update(name="bus")),
        {},
        "instances_val2014.json names other categories than the training split",
    ),
    "a negative number of tags": (lambda tree: None, {"num_tags": -1}, "expected a number of tags of 0 or"),
    "no folder": (shutil.rmtree, {}, "no folder "),
    "no raw_dir": (lambda tree: None, {"raw_dir": None}, "expected --raw_dir=DIR, where MSCOCO is, or --so"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_raw_directory_is_refused_in_one_line(tree, name):
    change, arguments, message = BROKEN[name]
    change(tree)
    with pytest.raises(UserError) as failure:
        mscoco.MsCoco(**{"raw_dir": tree, **arguments}).read(Settings())
    assert message in str(failure.value)
    assert "\n" not in str(failure.value)


@needs_coco
@pytest.mark.slow
def test_pack_command_with_tfds_source_packs_the_same_records(pack, tmp_path, prepared):
    command = [sys.executable, "-m", "tfrecords_tools.pack", "--dataset=mscoco", "--source=tfds"]
    command += [f"--raw_dir={prepared}", f"--data_dir={tmp_path / 'data'}", "--num_tags=20"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "train: 49 of 50 rows kept" in result.stdout
    dataset = records.open_dataset(tmp_path / "data", "mscoco")
    assert dataset.fingerprint == pack(data_dir="files", num_tags=20).fingerprint
