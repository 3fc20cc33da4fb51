import json
import pathlib

import numpy as np
import pytest
import tensorflow_datasets as tfds

from msmm.core import images
from msmm.core.errors import UserError
from msmm.data import example_schema, records

LABELS, TAGS = ("land", "big sea", "ü"), ("blue", "nikon")
JPEG = images.encode(images.Image.new("RGB", (8, 6)), 90)


class Written(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A data set written with TFDS alone; `examples` maps a split to rows of (id, tags, labels)."""

    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, name, data_dir, examples, labels=LABELS, tags=TAGS, jpeg=JPEG, version="1.0.0"):
        self.name, self.VERSION = name, tfds.core.Version(version)
        self.examples, self.vocabularies, self.jpeg = examples, (labels, tags), jpeg
        super().__init__(data_dir=data_dir)
        config = tfds.download.DownloadConfig(
            try_download_gcs=False, num_shards=3 if len(examples) > 2 else None
        )
        self.download_and_prepare(download_config=config)

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self, description="By hand.", features=example_schema.features(*self.vocabularies)
        )

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(rows) for split, rows in self.examples.items()}

    def _generate_examples(self, rows):
        for image_id, tags, labels in rows:
            yield image_id, {"image": self.jpeg, "tags": tags, "labels": labels, "image_id": image_id}


ROWS = {
    "test": [("t", ["nikon"], ["ü"])],
    "train": [("é", ["blue"], ["big sea", "land"]), ("b", [], ["ü"]), ("c", ["blue", "nikon"], ["land"])],
}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    path = tmp_path_factory.mktemp("data")
    Written("mine", path, ROWS)
    return path


def test_a_written_data_set_is_read_back(data_dir):
    dataset = records.open_dataset(data_dir, "mine")
    assert (dataset.name, dataset.labels, dataset.tags) == ("mine", LABELS, TAGS)
    assert dataset.splits == ("train", "test")
    assert (dataset.num_examples("train"), dataset.num_examples("test")) == (3, 1)
    (record,) = dataset.read("test").as_numpy_iterator()
    assert record["image"] == JPEG
    assert record["image_id"] == b"t"
    assert (record["labels"].tolist(), record["tags"].tolist()) == ([2], [1])


def test_annotations_follow_the_order_of_the_records(data_dir):
    dataset = records.open_dataset(data_dir, "mine")
    image_ids, tags, labels = dataset.annotations("train")
    by_id = {name: (t.tolist(), la.tolist()) for name, t, la in zip(image_ids, tags, labels, strict=True)}
    assert by_id == {
        "é": ([True, False], [True, True, False]),
        "b": ([False, False], [False, False, True]),
        "c": ([True, True], [True, False, False]),
    }
    assert image_ids.tolist() == [r["image_id"].decode() for r in dataset.read("train").as_numpy_iterator()]


def test_record_order_over_many_shards_and_batches(tmp_path):
    rows = [(f"{i:04d}", TAGS[: i % 3], LABELS[: 1 + i % 3]) for i in range(2500)]
    Written("many", tmp_path, {"train": rows, "test": rows[:3], "other": rows[:5]})
    dataset = records.open_dataset(tmp_path, "many")
    assert dataset.splits == ("train", "other", "test")
    assert len(dataset.checksums()["train"]) == 3
    image_ids, tags, labels = dataset.annotations("train")
    read = [r["image_id"].decode() for r in dataset.read("train").as_numpy_iterator()]
    assert image_ids.tolist() == read
    assert sorted(read) == [row[0] for row in rows]
    numbers = np.array([int(name) for name in image_ids])
    assert (tags.sum(1) == numbers % 3).all()
    assert (labels.sum(1) == 1 + numbers % 3).all()


def test_fingerprint_depends_on_the_content_but_not_on_the_name(data_dir, tmp_path):
    def fingerprint(name, *arguments, **more):
        Written(name, tmp_path, *arguments, **more)
        return records.open_dataset(tmp_path, name).fingerprint

    mine = records.open_dataset(data_dir, "mine").fingerprint
    assert fingerprint("same", ROWS) == mine
    others = [
        fingerprint("image", ROWS, jpeg=images.encode(images.Image.new("RGB", (8, 6), "red"), 90)),
        fingerprint("label", {**ROWS, "test": [("t", ["nikon"], ["land"])]}),
        fingerprint("tag", {**ROWS, "test": [("t", ["blue"], ["ü"])]}),
        fingerprint("id", {**ROWS, "test": [("u", ["nikon"], ["ü"])]}),
        fingerprint("one_more", {**ROWS, "test": [*ROWS["test"], ("u", [], ["ü"])]}),
        fingerprint("split", {"train": ROWS["train"], "validation": ROWS["test"]}),
        fingerprint("more_labels", ROWS, labels=(*LABELS, "v")),
        fingerprint("more_tags", ROWS, tags=(*TAGS, "v")),
    ]
    assert len({mine, *others}) == 1 + len(others)


def test_fingerprint_uses_the_checksums_of_the_packing_report(data_dir, tmp_path):
    Written("mine", tmp_path, ROWS)
    dataset = records.open_dataset(tmp_path, "mine")
    computed = dataset.fingerprint
    (dataset.directory / "report.json").write_text(json.dumps({"checksums": dataset.checksums()}))
    assert records.open_dataset(tmp_path, "mine").fingerprint == computed
    (dataset.directory / "report.json").write_text(json.dumps({"checksums": {"train": ["0"]}}))
    assert records.open_dataset(tmp_path, "mine").fingerprint != computed


def test_the_newest_version_is_opened(tmp_path):
    for version in ("1.9.0", "1.10.0", "1.2.0"):
        Written("mine", tmp_path, ROWS, version=version)
    (tmp_path / "mine" / "2.0.0").mkdir()  # not finished
    (tmp_path / "mine" / "incomplete.abc_3.0.0").mkdir()
    assert records.open_dataset(tmp_path, "mine").directory == tmp_path / "mine" / "1.10.0"


def test_missing_data_sets_and_splits_are_refused_with_advice(data_dir, tmp_path):
    (data_dir / "incomplete.x").mkdir(exist_ok=True)
    for folder, name, message in [
        (data_dir, "other", r"no data set 'other' in .*: pack it with python -m .*, or choose one of: mine$"),
        (data_dir, "", "no data set ''"),
        (tmp_path, "mine", "no data set 'mine' in .*: pack it with python -m tfrecords_tools.pack$"),
        (tmp_path / "nowhere", "mine", "no folder .*nowhere of packed data sets: choose another --data_dir"),
    ]:
        with pytest.raises(UserError, match=message):
            records.open_dataset(folder, name)
    dataset = records.open_dataset(data_dir, "mine")
    for method in (dataset.read, dataset.annotations, dataset.num_examples):
        with pytest.raises(UserError, match="no split 'val' in data set 'mine': choose one of"):
            method("val")


def test_a_damaged_data_set_is_refused_with_its_remedy(tmp_path):
    Written("mine", tmp_path, ROWS)
    dataset = records.open_dataset(tmp_path, "mine")
    (dataset.directory / "report.json").write_text("[")
    remedy = "pack 'mine' again with the same command and --overwrite, or copy it whole$"
    with pytest.raises(UserError, match=remedy):
        dataset.report()


def test_a_missing_record_file_is_named(tmp_path):
    Written("mine", tmp_path, ROWS)
    (tmp_path / "mine" / "1.0.0" / "mine-test.tfrecord-00000-of-00001").unlink()
    with pytest.raises(UserError, match=r"mine-test.tfrecord-00000-of-00001 is missing: pack 'mine' again"):
        records.open_dataset(tmp_path, "mine")


def test_a_data_set_with_other_features_is_refused(tmp_path):
    class Digits(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            features = tfds.features.FeaturesDict({"label": tfds.features.ClassLabel(num_classes=2)})
            return tfds.core.DatasetInfo(builder=self, features=features)

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            yield 0, {"label": 1}

    Digits(data_dir=tmp_path).download_and_prepare()
    with pytest.raises(
        UserError, match=r"expected the features image, tags, labels, image_id in .*found label"
    ):
        records.open_dataset(tmp_path, "digits")


def test_a_data_set_without_tags_is_read(tmp_path):
    Written("untagged", tmp_path, {"train": [("1", [], ["ü"])]}, tags=())
    dataset = records.open_dataset(tmp_path, "untagged")
    assert dataset.tags == ()
    assert dataset.annotations("train")[1].shape == (1, 0)
    assert next(dataset.read("train").as_numpy_iterator())["tags"].shape == (0,)


def test_tfds_opens_a_packed_data_set(data_dir):
    builder = tfds.builder_from_directory(pathlib.Path(data_dir) / "mine" / "1.0.0")
    (example,) = builder.as_dataset(split="test").as_numpy_iterator()
    assert example["image"].shape == (6, 8, 3)
    assert builder.info.features["labels"].feature.int2str(int(example["labels"][0])) == "ü"


def test_a_data_directory_may_be_a_symbolic_link(data_dir, tmp_path):
    (tmp_path / "data").symlink_to(data_dir)
    dataset = records.open_dataset(tmp_path / "data", "mine")
    assert dataset.fingerprint == records.open_dataset(data_dir, "mine").fingerprint
    assert len(dataset.annotations("test")[0]) == 1
