"""NUS-WIDE, compared with an independent reader of its official files."""

import collections
import io
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from msmm.data import records
from tests.conftest import ROOT, SHARED
from tests.tfrecords_tools.conftest import make_packer, names_by_image
from tfrecords_tools.datasets import nus_wide
from tfrecords_tools.packing.raw_dataset import Settings

SAMPLE = SHARED / "data" / "nus_wide_sample"
GROUNDTRUTH = SHARED / "data" / "nus_wide_groundtruth"
needs_sample = pytest.mark.skipif(not SAMPLE.exists(), reason=f"needs {SAMPLE.name} beside the project")
PARTS = {"train": "Train", "test": "Test"}


def read_line_by_line(raw_dir, split):
    """Returns {image: (labels, tags)} of a split, read from the official files line by line."""
    part = PARTS[split]
    concepts = (raw_dir / "ConceptsList" / "Concepts81.txt").read_text().split()
    names = (raw_dir / "NUS_WID_Tags" / "TagList1k.txt").read_text().split()
    labels = [
        [line.strip() == "1" for line in (folder / f"Labels_{concept}_{part}.txt").open()]
        for folder in [raw_dir / "Groundtruth" / "TrainTestLabels"]
        for concept in concepts
    ]
    tags = [line.split() for line in (raw_dir / "NUS_WID_Tags" / f"{part}_Tags1k.dat").open()]
    images = [line.strip() for line in (raw_dir / "ImageList" / f"{part}Imagelist.txt").open()]
    return {
        image.replace("\\", "/"): (
            {concept for concept, column in zip(concepts, labels, strict=True) if column[row]},
            {name for name, value in zip(names, tags[row], strict=True) if value == "1"},
        )
        for row, image in enumerate(images)
    }


@pytest.fixture
def pack(tmp_path):
    return make_packer(nus_wide.NusWide, "nus_wide", tmp_path)


def run_pack(*arguments):
    command = [sys.executable, "-m", "tfrecords_tools.pack", "--dataset=nus_wide", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@needs_sample
def test_packed_nus_wide_sample_equals_an_independent_reading_of_the_files(tmp_path):
    result = run_pack(f"--raw_dir={SAMPLE}", f"--data_dir={tmp_path}")
    assert result.returncode == 0, result.stderr
    dataset = records.open_dataset(tmp_path, "nus_wide")
    causes = {
        split: {cause: len(ids) for cause, ids in counts["dropped"].items()}
        for split, counts in dataset.report()["splits"].items()
    }
    # Counted by hand: 6 + 3 GIFs, 6 + 4 missing files, and so on, minus the images without a label or a tag.
    assert causes["train"] == {
        "no label of the vocabulary": 49,
        "no tag of the vocabulary": 22,
        "Flickr's notice in its place": 6,
        "missing file": 5,
        "empty file": 5,
        "not an image of a known format": 5,
        "does not decode": 3,
    }
    assert causes["test"] == {
        "no label of the vocabulary": 26,
        "no tag of the vocabulary": 13,
        "Flickr's notice in its place": 3,
        "missing file": 4,
        "empty file": 3,
        "not an image of a known format": 2,
        "does not decode": 1,
    }
    for split, kept in (("train", 145), ("test", 88)):
        expected = {
            image: (labels, tags)
            for image, (labels, tags) in read_line_by_line(SAMPLE, split).items()
            if labels and tags and shows_a_photograph(SAMPLE / "Flickr" / image)
        }
        assert len(expected) == kept
        assert names_by_image(dataset, split) == expected
    report = dataset.report()
    assert report["oddities"] == ["Labels_lake_Train.txt:3 has -1130179, read as 0"]
    assert report["paper"]["images"] == {"train": 94_570, "test": 55_335}
    assert "train: 145 of 240 rows kept" in result.stdout
    assert "test        55,335   2.547       88   2.534" in result.stdout
    assert "its exact split cannot be recovered from the text" in result.stdout
    for record in dataset.read("test").as_numpy_iterator():
        assert Image.open(io.BytesIO(record["image"])).mode == "RGB"  # also for grey and CMYK files


def shows_a_photograph(path):
    try:
        image = Image.open(path)
        image.load()
        return image.format == "JPEG"
    except OSError:
        return False


@needs_sample
def test_nus_wide_sample_without_the_filters_of_the_paper(pack):
    dataset = pack(SAMPLE, drop_untagged=False, drop_unlabelled=False)
    for split in PARTS:
        assert names_by_image(dataset, split) == {
            image: words
            for image, words in read_line_by_line(SAMPLE, split).items()
            if shows_a_photograph(SAMPLE / "Flickr" / image)
        }
    assert [len(v) for v in dataset.report()["splits"]["train"]["dropped"].values()] == [6, 6, 6, 6, 6]


@needs_sample
def test_nus_wide_sample_without_class_tags(pack):
    dataset = pack(SAMPLE, drop_class_tags=True)
    # 19 concepts are tags in the same form; buildings, flowers, birds, ... as singulars.
    names = (SAMPLE / "NUS_WID_Tags" / "TagList1k.txt").read_text().split()
    dropped = [name for name in names if name not in dataset.tags]
    assert set(names) - set(dropped) == set(dataset.tags)
    assert " ".join(sorted(dropped)) == (
        "animal beach bird building cat clouds dog flower garden grass lake mountain ocean people plants "
        "reflection sand sky snow street sunset tree water"
    )
    report = dataset.report()["splits"]["train"]
    assert set(report["class_tags_dropped"]) <= set(dropped)
    assert report["class_tags_dropped"]["sky"] == sum(
        "sky" in tags for _, tags in read_line_by_line(SAMPLE, "train").values()
    )
    assert len(report["dropped"]["no tag of the vocabulary"]) > 22


@pytest.mark.slow
@pytest.mark.skipif(not GROUNDTRUTH.exists(), reason=f"needs {GROUNDTRUTH.name} beside the project")
def test_full_nus_wide_ground_truth_has_the_known_label_counts(tmp_path):
    """Reads all 269,648 official rows, with generated image lists and one generated tag."""
    for archive in GROUNDTRUTH.glob("*.zip"):
        (tmp_path / archive.name).symlink_to(archive)
    (tmp_path / "Flickr").mkdir()
    (tmp_path / "TagList1k.txt").write_text("nature\n")
    for part, rows in (("Train", 161_789), ("Test", 107_859)):
        names = "".join(f"actor\\{part}{row}.jpg\r\n" for row in range(rows))
        (tmp_path / f"{part}Imagelist.txt").write_text(names)
        (tmp_path / f"{part}_Tags1k.dat").write_text("1\t\n" * rows)
    raw = nus_wide.NusWide(raw_dir=tmp_path)
    contents = raw.read(Settings())
    assert contents.num_rows == {"train": 161_789, "test": 107_859}
    assert len(contents.labels) == 81
    assert list(contents.oddities) == ["Labels_lake_Train.txt:78373 has -1130179, read as 0"]
    counts = {split: collections.Counter(len(row.labels) for row in raw.rows(split)) for split in PARTS}
    for split, labelled, mean in (("train", 125_449, 2.403), ("test", 83_898, 2.412)):
        assert counts[split].total() - counts[split][0] == labelled
        labels = sum(quantity * images for quantity, images in counts[split].items())
        assert labels / labelled == pytest.approx(mean, abs=0.0005)


@pytest.mark.slow
@pytest.mark.skipif(not pathlib.Path("/proc/self/status").exists(), reason="reads the peak memory from /proc")
@pytest.mark.skipif(not GROUNDTRUTH.exists(), reason=f"needs {GROUNDTRUTH.name} beside the project")
def test_full_size_nus_wide_is_read_in_seconds_and_bounded_memory(tmp_path):
    """Reads the real labels and two synthetic matrices of 1,000 tags, 540 MB."""
    for archive in GROUNDTRUTH.glob("*.zip"):
        (tmp_path / archive.name).symlink_to(archive)
    (tmp_path / "Flickr").mkdir()
    (tmp_path / "TagList1k.txt").write_text("".join(f"tag{i}\n" for i in range(1000)))
    generator, ones = np.random.default_rng(0), {}
    for part, rows in (("Train", 161_789), ("Test", 107_859)):
        names = "".join(f"actor\\{part}{row}.jpg\r\n" for row in range(rows))
        (tmp_path / f"{part}Imagelist.txt").write_text(names)
        ones[part.lower()] = 0
        with open(tmp_path / f"{part}_Tags1k.dat", "wb") as file:
            for start in range(0, rows, 4096):
                block = np.full((min(4096, rows - start), 2001), ord("\t"), np.uint8)
                values = generator.random((len(block), 1000), np.float32) < 0.007
                block[:, :-1:2], block[:, -1] = ord("0") + values, ord("\n")
                block.tofile(file)
                ones[part.lower()] += int(values.sum())
    script = f"""
import json, re, time
import numpy as np
from tfrecords_tools.datasets import nus_wide
from tfrecords_tools.packing.raw_dataset import Settings
start = time.perf_counter()
raw = nus_wide.NusWide(raw_dir={str(tmp_path)!r})
raw.read(Settings())
seconds = time.perf_counter() - start
peak = int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1]) / 1024
ones = {{split: int(np.unpackbits(packed).sum()) for split, packed in raw._packed_tags.items()}}
print(json.dumps([ones, seconds, peak]))
"""
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    counts, seconds, peak = json.loads(result.stdout)
    assert counts == ones
    assert seconds < 60  # measured: 6 s
    assert peak < 500  # MiB; measured: 210
