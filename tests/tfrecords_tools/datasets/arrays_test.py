"""Packing labels, tags, features and maps of one's own, without images."""

import io
import itertools
import re
import resource
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import scipy.sparse

from msmm.core.errors import UserError
from msmm.data import records
from tests.conftest import ROOT
from tests.tfrecords_tools.conftest import names_by_image
from tfrecords_tools.datasets.arrays import Arrays
from tfrecords_tools.packing import builder, report
from tfrecords_tools.packing.raw_dataset import Settings

N, C, T, D, MAP = 40, 5, 9, 6, (2, 3, 4)


@pytest.fixture
def content():
    """Returns every key that a file may have, with dense tags."""
    rng = np.random.default_rng(0)
    labels = rng.random((N, C)) < 0.4
    labels[:, 0] |= ~labels.any(axis=1)
    return {
        "labels": labels,
        "features": rng.normal(size=(N, D)),
        "maps": rng.normal(size=(N, *MAP)).astype(np.float32),
        "tags": rng.random((N, T)) < 0.3,
        "ids": np.array([f"photo {i}" for i in range(N)]),
        "split": np.array(["train"] * 30 + ["test"] * 10),
        "label_names": np.array([f"class{j}" for j in range(C)]),
        "tag_names": np.array([f"word{j}" for j in range(T)]),
    }


@pytest.fixture
def pack(tmp_path):
    """Returns a function that writes a file of some keys, packs it, and opens the data set."""

    def pack(content, save=np.savez, **arguments):
        save(tmp_path / "mine.npz", **content)
        builder.pack(
            Arrays, "mine", tmp_path / "data", arrays=tmp_path / "mine.npz", overwrite=True, **arguments
        )
        return records.open_dataset(tmp_path / "data", "mine")

    return pack


def sparse(tags):
    """Returns tags as the parts of a scipy CSR matrix."""
    matrix = scipy.sparse.csr_matrix(tags)
    parts = {"data": matrix.data, "indices": matrix.indices, "indptr": matrix.indptr, "shape": matrix.shape}
    return {f"tags_{name}": part for name, part in parts.items()}


def in_order(content, dataset, split, name):
    """Returns rows of an array of the file, in the order of the records of a split."""
    rows = {image_id: row for row, image_id in enumerate(content["ids"])}
    return content[name][[rows[image_id] for image_id in dataset.annotations(split)[0]]]


COMBINATIONS = [
    some for size in (1, 2, 3) for some in itertools.combinations(("features", "maps", "tags"), size)
]


@pytest.mark.parametrize("given", COMBINATIONS, ids="+".join)
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_records_hold_the_arrays_of_the_file(pack, content, given, save):
    stored = {name: content[name] for name in ("labels", "ids", "split", "label_names", *given)}
    if "tags" in given and save is np.savez_compressed:  # tags are dense in the other file
        stored |= sparse(stored.pop("tags"))
    dataset = pack(stored, save)
    shapes = {"features": (D,), "maps": MAP}
    assert dataset.arrays == {name: shapes[name] for name in shapes if name in given}
    assert dataset.given_size == (D if "features" in given else MAP[-1] if "maps" in given else 1)
    assert dataset.labels == tuple(content["label_names"])
    assert len(dataset.tags) == T * ("tags" in given)
    for split, count in (("train", 30), ("test", 10)):
        assert dataset.num_examples(split) == count
        _, tags, labels = dataset.annotations(split)
        np.testing.assert_array_equal(labels, in_order(content, dataset, split, "labels"))
        if "tags" in given:
            np.testing.assert_array_equal(tags, in_order(content, dataset, split, "tags"))
        for name in dataset.arrays:
            read = np.concatenate(list(dataset.read_arrays(split, name)))
            expected = in_order(content, dataset, split, name).astype(records.ARRAY_DTYPES[name])
            assert read.dtype == expected.dtype
            np.testing.assert_array_equal(read, expected)


def test_names_ids_and_split_have_defaults(pack, content):
    dataset = pack({"labels": content["labels"].astype(float), "tags": content["tags"].astype(int) * 3})
    assert dataset.labels == tuple(f"label {i}" for i in range(C))
    assert dataset.tags == tuple(f"tag {i}" for i in range(T))
    by_image = names_by_image(dataset, "train") | names_by_image(dataset, "test")
    assert by_image.keys() == {f"row-{i:07d}" for i in range(N)}
    for row in (0, N - 1):
        tags = {f"tag {i}" for i in np.flatnonzero(content["tags"][row])}
        assert by_image[f"row-{row:07d}"][1] == tags
    share = dataset.num_examples("test") / N
    assert 0.05 < share < 0.4


def test_rows_are_the_same_whatever_is_read_at_once(content, tmp_path, monkeypatch):
    from tfrecords_tools.datasets import arrays
    from tfrecords_tools.packing.raw_dataset import Settings

    tags = content.pop("tags")
    np.savez(tmp_path / "mine.npz", **content, **sparse(tags))
    read = []
    for block in (1, 300, 2**23):
        monkeypatch.setattr(arrays, "_BLOCK", block)
        raw = Arrays(arrays=tmp_path / "mine.npz")
        raw.read(Settings())
        read.append(list(raw.rows("train")))
    for rows in read[1:]:
        assert [(r.id, r.labels, r.tags) for r in rows] == [(r.id, r.labels, r.tags) for r in read[0]]
        for ours, theirs in zip(rows, read[0], strict=True):
            np.testing.assert_array_equal(ours.arrays["features"], theirs.arrays["features"])


def test_a_packed_data_set_is_described_without_images(pack, content):
    dataset = pack(content)
    text = report.record_in_words(dataset, "train", "0")
    assert "image:" not in text and f"features: [{D}]" in text and "maps: [2, 3, 4]" in text
    assert "class0" in report.overview(dataset, "train")
    for needs_images in (lambda: report.sheet(dataset, "train"), lambda: dataset.read_images("train")):
        with pytest.raises(
            UserError, match="'mine' was packed from arrays and has no images, which this needs"
        ):
            needs_images()
    record = next(dataset.read("train").as_numpy_iterator())
    assert record["features"].shape == (D,) and record["maps"].shape == MAP


WRONG = {
    "labels": [
        (np.full((N, C), 0.5), "labels: expected 0 or 1, got 0.5 in row 0"),
        (np.zeros(N, bool), r"labels: expected the shape \[N, columns\], got \[40\]"),
        (np.array([["a"]] * N), "labels: expected numbers, got values of type <U1"),
    ],
    "features": [
        (np.full((N, D), np.nan), "features: expected numbers that float32 holds, not so in row 0"),
        (np.zeros((N - 1, D)), "features: expected 40 rows, as labels has. Received: 39"),
        (np.zeros((N, D), order="F"), "features: expected rows one after the other"),
        (np.array([[None] * D] * N), "features: expected numbers or texts, got Python objects"),
    ],
    "maps": [
        (np.full((N, *MAP), 1e5), "maps: expected numbers that float16 holds, not so in row 0"),
        (np.zeros((N, 6, 4)), r"maps: expected the shape \[N, h, w, D\], got \[40, 6, 4\]"),
    ],
    "tags": [
        (np.where(np.arange(N)[:, None] == row, wrong, np.ones(T)), f"of 0 or more, got {wrong} in row {row}")
        for row, wrong in ((0, -1.0), (33, np.nan))
    ],
    "ids": [(np.array(["same"] * N), "expected every image id once, got 'same' again")],
    "split": [
        (np.array(["val"] * N), "split: expected train or test, got 'val'"),
        (np.array(["test"] * N), "has no train rows"),
    ],
    "label_names": [
        (np.array(["sky"] * C), "label_names: expected different names, got 'sky' more than once"),
        (np.array(["sky"]), r"label_names: expected 5 texts, got an array \[1\]"),
        (np.array(["a", "b", " ", "c", "d"]), "label_names: expected names, got an empty one in row 2"),
    ],
    "feature": [(np.zeros((N, D)), "Received: feature$")],
    "tags_data": [(np.ones(3), "expected tags or tags_data, got both")],
}


@pytest.mark.parametrize(("name", "value", "message"), [(n, v, m) for n, ws in WRONG.items() for v, m in ws])
def test_wrong_arrays_are_user_errors(pack, content, name, value, message):
    with pytest.raises(UserError, match=message):
        pack({**content, name: value}, lambda path, **arrays: np.savez(path, allow_pickle=True, **arrays))


@pytest.mark.parametrize("text", [b"caf\xe9", "\ud800"], ids=["Latin-1", "surrogate"])
@pytest.mark.parametrize("name", ["ids", "split", "label_names", "tag_names"])
def test_texts_that_are_no_utf_8_are_user_errors(content, tmp_path, name, text):
    texts = content[name].astype(object)
    if isinstance(text, bytes):
        texts = np.array([value.encode() for value in texts], object)
    texts[1] = text
    np.savez(tmp_path / "mine.npz", **{**content, name: texts.astype(type(text))})
    message = f"mine.npz: {name}: expected texts in UTF-8, got {text!a} in row 1"
    with pytest.raises(UserError, match=re.escape(message)):
        Arrays(arrays=tmp_path / "mine.npz").read(Settings())


def test_texts_as_bytes_in_utf_8_are_read(content, tmp_path):
    ids = np.array([f"é {i}".encode() for i in range(N)])
    np.savez(tmp_path / "mine.npz", **{**content, "ids": ids})
    raw = Arrays(arrays=tmp_path / "mine.npz")
    raw.read(Settings())
    assert [row.id for row in raw.rows("test")] == [f"é {i}" for i in range(30, N)]


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("tags_indices", np.array([T] * 3), f"tags_indices: expected columns from 0 to {T - 1}"),
        ("tags_indptr", np.array([0, 1]), "tags_indptr: expected 41 rising numbers from 0 on"),
        ("tags_shape", np.array([N + 1, T]), r"tags_shape: expected \(40, T\)"),
        ("tags_data", np.ones(2), r"tags_data: expected 3 values, got \[2\]"),
        (
            "tags_data",
            np.array([1.0, 1.0, -2.0]),
            "tags_data: expected values of 0 or more, got -2.0 in row 2",
        ),
        ("tags_data", np.array(["1"] * 3), "tags_data: expected numbers, got values of type <U1"),
        ("tags_indices", np.zeros(3), "tags_indices: expected integers, got values of type float64"),
        ("tags_indptr", np.array(["0"] * 41), "tags_indptr: expected integers, got values of type <U1"),
        ("tags_shape", np.array([40.0, T]), "tags_shape: expected integers, got values of type float64"),
    ],
)
def test_wrong_sparse_tags_are_user_errors(pack, content, part, value, message):
    few = np.zeros((N, T), bool)
    few[:3, 0] = True
    given = {name: content[name] for name in ("labels", "split")} | sparse(few) | {part: value}
    with pytest.raises(UserError, match=message):
        pack(given)


def test_a_damaged_or_missing_file_is_a_user_error(pack, content, tmp_path):
    def damaged(path, **arrays):
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        whole = bytearray(buffer.getvalue())
        whole[whole.index(np.asarray(content["features"]).tobytes())] ^= 1
        path.write_bytes(whole)

    with pytest.raises(UserError, match=r"features: cannot be read .*; write the file again"):
        pack(content, damaged)
    with pytest.raises(UserError, match=r"cannot read .*mine.npz .*: expected a .npz file"):
        pack(content, lambda path, **arrays: path.write_bytes(b"no zip"))
    with pytest.raises(UserError, match=r"no file .*: expected the .npz file of the arrays"):
        builder.pack(Arrays, "mine", tmp_path / "data", arrays=tmp_path / "none.npz", overwrite=True)


@pytest.mark.parametrize("setting", [{"resize": 64}, {"runner": "DirectRunner"}])
def test_settings_of_images_are_refused(pack, content, setting):
    with pytest.raises(UserError, match=r"leave it out|leave --runner out"):
        pack(content, **setting)


ROWS, TAGS, SIZE = 269_648, 1_000, 2_048  # NUS-WIDE's

READ_ALL = """
import sys
from tfrecords_tools.datasets.arrays import Arrays
from tfrecords_tools.packing.raw_dataset import Settings
raw = Arrays(arrays=sys.argv[1])
contents = raw.read(Settings())
count = sum(row.arrays["features"].shape == (2048,) for split in contents.num_rows for row in raw.rows(split))
print(count, sum(contents.num_rows.values()))
"""


@pytest.mark.slow
def test_memory_is_bounded_at_the_size_of_nus_wide(tmp_path):
    path = tmp_path / "large.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1, allowZip64=True) as file:
        for name, shape, dtype in (
            ("labels", (ROWS, 81), np.float64),
            ("tags", (ROWS, TAGS), np.float32),
            ("features", (ROWS, SIZE), np.float32),
        ):
            with file.open(name + ".npy", "w", force_zip64=True) as member:
                header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False}
                np.lib.format.write_array_header_1_0(member, header | {"shape": shape})
                for start in range(0, ROWS, 4096):
                    member.write(np.ones((min(4096, ROWS - start), *shape[1:]), dtype).data)
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    done = subprocess.run(
        [sys.executable, "-c", READ_ALL, str(path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [str(ROWS)] * 2
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    assert before < peak < 600 * 1024  # KiB; features alone have 2.1 GiB
