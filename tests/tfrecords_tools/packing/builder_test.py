"""The packer with the manifest builder: written records, reported counts, and the state after a failure."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from msmm.core import workers
from msmm.core.errors import UserError
from msmm.data import records
from tests.tfrecords_tools.conftest import picture
from tfrecords_tools.datasets import manifest
from tfrecords_tools.packing import builder
from tfrecords_tools.packing.raw_dataset import Contents, RawDataset, Row


def read_files(directory):
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def pack(tmp_path):
    """Returns a function that packs a manifest to tmp_path/data and opens the data set."""

    def run(path, name="mine", data_dir=tmp_path / "data", **arguments):
        builder.pack(manifest.Manifest, name, data_dir, manifest=path, **arguments)
        return records.open_dataset(data_dir, name)

    return run


def row(image, split="train", labels=("a",), tags=(), **more):
    return {"image": image, "labels": list(labels), "tags": list(tags), "split": split, **more}


def test_records_contain_the_images_labels_and_tags_of_the_manifest(pack, write_manifest, folder):
    rows = [
        row("1.jpg", labels=["sky", "sea"], tags=["Blue", "BLUE ", "nikon"]),
        row("ein Foto ü.jpg", labels=["land"], tags=["blue"], id="photo/ü"),
        row("sub/3.jpg", "test", labels=["sea", "sea"], tags=["nikon", "unknown in train"]),
    ]
    dataset = pack(write_manifest(rows))
    assert dataset.labels == ("land", "sea", "sky")
    assert dataset.tags == ("blue", "nikon")
    assert dataset.splits == ("train", "test")
    packed = {}
    for split in dataset.splits:
        for record in dataset.read(split).as_numpy_iterator():
            packed[record["image_id"].decode()] = (
                split,
                record["image"],
                record["labels"].tolist(),
                record["tags"].tolist(),
            )
    assert packed == {
        "1.jpg": ("train", (folder / "1.jpg").read_bytes(), [1, 2], [0, 1]),
        "photo/ü": ("train", (folder / "ein Foto ü.jpg").read_bytes(), [0], [0]),
        "sub/3.jpg": ("test", (folder / "sub/3.jpg").read_bytes(), [1], [1]),
    }


def test_label_ids_of_a_record_are_in_vocabulary_order(pack, write_manifest):
    rows = [row("1.jpg", labels="abcdefghi"), row("2.jpg", "test", labels="ib")]
    (record,) = pack(write_manifest(rows)).read("test").as_numpy_iterator()
    assert record["labels"].tolist() == [1, 8]


def test_every_image_format_is_packed_with_its_pixels(pack, write_manifest, folder):
    image = Image.fromarray(picture())
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(folder / "plain.jpg", quality=95)
    image.save(folder / "progressive.jpg", quality=95, progressive=True)
    image.save(folder / "turned.jpg", quality=95, exif=exif)
    image.convert("CMYK").save(folder / "cmyk.jpg", quality=95)
    image.convert("L").save(folder / "grey.jpg", quality=95)
    image.save(folder / "opaque.png")
    image.convert("RGBA").save(folder / "alpha.png")
    image.quantize(256).save(folder / "palette.gif")
    image.save(folder / "frames.gif", save_all=True, append_images=[Image.new("RGB", image.size)])
    image.save(folder / "some.webp", lossless=True)
    image.save(folder / "some.tiff")
    (folder / "named wrongly.jpg").write_bytes((folder / "opaque.png").read_bytes())
    names = sorted(path.name for path in folder.iterdir())
    dataset = pack(write_manifest([row(name) for name in names] + [row("t.jpg", "test")]))
    expected = {name: picture() for name in names}
    expected["turned.jpg"] = np.rot90(picture(), -1)
    expected["grey.jpg"] = np.repeat(np.asarray(image.convert("L"))[..., None], 3, axis=2)
    count = 0
    for record in dataset.read("train").as_numpy_iterator():
        name = record["image_id"].decode()
        pixels = np.asarray(Image.open(io.BytesIO(record["image"])))
        assert pixels.shape == expected[name].shape, name
        difference = np.abs(pixels.astype(int) - expected[name]).mean()
        assert difference < (6 if name.endswith(".gif") else 2), name
        assert (record["image"] == (folder / name).read_bytes()) == (name in ("plain.jpg", "progressive.jpg"))
        count += 1
    assert count == len(names) == 12


def test_report_counts_rows_dropped_images_labels_and_tags(pack, write_manifest, folder, capsys):
    for name, content in {"empty.jpg": b"", "page.jpg": b"<html>", "cut.jpg": None, "gone.jpg": b""}.items():
        (folder / name).write_bytes(content or b"")
    Image.fromarray(picture(99, 99)).save(folder / "intact.jpg")
    (folder / "cut.jpg").write_bytes((folder / "intact.jpg").read_bytes()[:700])
    (folder / "labels.txt").write_text("sea\nsky\nland\n")
    (folder / "tags.txt").write_text("blue\nnikon\n")
    path = write_manifest(
        [
            row("1.jpg", labels=["sky", "sea"], tags=["blue", "nikon", "holiday"]),
            row("2.jpg", labels=["sky"], tags=["blue", "holiday"]),
            row("3.jpg", labels=["sky"], tags=["holiday"]),
            row("empty.jpg", tags=["blue"], labels=["sky"]),
            row("page.jpg", tags=["blue"], labels=["sky"]),
            row("cut.jpg", tags=["blue"], labels=["sky"]),
            row("4.jpg", "test", labels=["land", "sea", "sky"], tags=["blue"]),
            row("gone.jpg", "test", labels=["sky"], tags=["blue"]),
        ]
    )
    dataset = pack(
        path,
        labels_file=folder / "labels.txt",
        tags_file=folder / "tags.txt",
        drop_untagged=True,
        max_skipped=0.5,
    )
    report = dataset.report()
    train, test = report["splits"]["train"], report["splits"]["test"]
    assert (train["rows"], train["kept"], test["rows"], test["kept"]) == (6, 2, 2, 1)
    assert train["dropped"] == {
        "no tag of the vocabulary": ["3.jpg"],
        "empty file": ["empty.jpg"],
        "not an image of a known format": ["page.jpg"],
        "does not decode": ["cut.jpg"],
    }
    assert test["dropped"] == {"empty file": ["gone.jpg"]}
    assert train["labels_per_image"] == {"mean": 1.5, "histogram": {"1": 1, "2": 1}}
    assert train["tags_per_image"] == {"mean": 1.5, "histogram": {"1": 1, "2": 1}}
    assert train["label_frequency"] == {"sky": 2, "sea": 1, "land": 0}
    assert train["tag_frequency"] == {"blue": 2, "nikon": 1}
    assert train["tags_outside_vocabulary"] == 3
    assert test["labels_per_image"] == {"mean": 3.0, "histogram": {"3": 1}}
    assert report["checksums"] == dataset.checksums()
    printed = capsys.readouterr().out
    assert "train: 2 of 6 rows kept" in printed
    assert "test: 1 of 2 rows kept" in printed
    assert "does not decode: 1, empty file: 1, no tag of the vocabulary: 1" in printed


def test_packing_the_same_input_twice_gives_equal_files(pack, write_manifest, tmp_path):
    path = write_manifest([row(f"{i}.jpg", "test" if i % 3 else "train") for i in range(30)])
    first = pack(path, data_dir=tmp_path / "one")
    second = pack(path, data_dir=tmp_path / "two")
    assert read_files(first.directory) == read_files(second.directory)


def rows_with_broken_images(folder):
    """Returns rows of intact, broken and missing photographs in both splits."""
    rows = [row(f"{i}.jpg", "test" if i % 3 else "train", labels=["a", "b"][: 1 + i % 2]) for i in range(60)]
    for number, split in enumerate(["train", "test"] * 3):
        (folder / f"page{number}.jpg").write_text("<html>")
        rows.insert(7 * number, row(f"page{number}.jpg", split, id=f"page {9 - number}"))
        rows.insert(9 * number, row(f"gone{number}.jpg", split, id=f"gone {number}"))
    return rows


@pytest.mark.parametrize("resize", [None, 16])
def test_number_of_workers_does_not_change_the_files(
    pack, write_manifest, folder, tmp_path, monkeypatch, resize
):
    monkeypatch.setattr(workers, "PATIENCE", 0.0)
    path = write_manifest(rows_with_broken_images(folder))
    for number in range(6):
        (folder / f"gone{number}.jpg").write_bytes(b"")
    packed = [
        read_files(
            pack(path, data_dir=tmp_path / str(n), workers=n, resize=resize, max_skipped=0.5).directory
        )
        for n in (1, 2, 5)
    ]
    assert packed[0] == packed[1] == packed[2]
    dropped = json.loads(packed[0]["report.json"])["splits"]["train"]["dropped"]
    assert dropped["not an image of a known format"] == ["page 5", "page 7", "page 9"]


def test_record_order_is_shuffled_and_independent_of_the_manifest_order(pack, write_manifest, tmp_path):
    rows = [row(f"{i}.jpg") for i in range(30)] + [row("t.jpg", "test")]
    first = pack(write_manifest(rows), data_dir=tmp_path / "one")
    second = pack(write_manifest(rows[::-1], "turned.jsonl"), data_dir=tmp_path / "two")
    ids = first.annotations("train")[0].tolist()
    assert ids != sorted(ids)
    assert ids == second.annotations("train")[0].tolist()
    assert first.fingerprint == second.fingerprint


def test_image_ids_with_slash_and_backslash_are_distinct(pack, write_manifest):
    rows = [row("1.jpg", id="a/b"), row("2.jpg", id="a\\b"), row("3.jpg", "test")]
    assert set(pack(write_manifest(rows)).annotations("train")[0]) == {"a/b", "a\\b"}


def test_too_many_broken_images_are_an_error_and_leave_no_files(pack, write_manifest, folder, tmp_path):
    (folder / "broken.jpg").write_bytes(b"<html>")
    rows = [row(f"{i}.jpg") for i in range(17)] + [row("t.jpg", "test"), row("broken.jpg")]
    with pytest.raises(UserError, match=r"^1 of 19 images are broken \(not an image of a known format: 1\)"):
        pack(write_manifest(rows))
    assert not (tmp_path / "data").exists()
    rows.append(row("one more.jpg"))  # 1 of 20 is 5 %, which may be skipped
    assert pack(write_manifest(rows)).num_examples("train") == 18


@pytest.mark.parametrize("split", ["train", "test"])
def test_split_without_usable_images_is_an_error(pack, write_manifest, folder, tmp_path, split):
    (folder / "broken.jpg").write_bytes(b"")
    (tmp_path / "data" / "other").mkdir(parents=True)
    other = "test" if split == "train" else "train"
    with pytest.raises(UserError, match=f"no image of the {split} split is left of 1 rows .empty file: 1"):
        pack(write_manifest([row("broken.jpg", split), row("1.jpg", other)]), max_skipped=1.0)
    assert [path.name for path in (tmp_path / "data").rglob("*")] == ["other"]


def test_finished_data_set_is_kept_and_changed_lists_are_reported(pack, write_manifest, folder, capsys):
    (folder / "labels.txt").write_text("a\n")
    rows = [row("1.jpg"), row("2.jpg", "test")]
    path, labels = write_manifest(rows), {"labels_file": folder / "labels.txt"}
    dataset = pack(path, **labels)
    before = read_files(dataset.directory)

    def repeat_message():
        capsys.readouterr()
        assert read_files(pack(path, **labels).directory) == before
        return capsys.readouterr().out.replace(str(dataset.directory), "D").replace(f"{folder}/", "")

    assert repeat_message() == "D is there already; --overwrite packs it again\n"
    write_manifest([*rows, row("3.jpg")])
    changed = "D is there already, but the list has changed since: {}; --overwrite packs it again\n"
    assert repeat_message() == changed.format("my_photos.jsonl")
    (folder / "labels.txt").write_text("a\nb\n")
    assert repeat_message() == changed.format("my_photos.jsonl, labels.txt")
    write_manifest(rows)
    assert repeat_message() == changed.format("labels.txt")
    path.unlink()
    labels["labels_file"].unlink()
    assert repeat_message() == "D is there already; --overwrite packs it again\n"


def test_finished_data_set_of_an_earlier_version_without_list_checksums_is_kept(pack, write_manifest, capsys):
    rows = [row("1.jpg"), row("2.jpg", "test")]
    dataset = pack(write_manifest(rows))
    report = dataset.report()
    assert list(report.pop("lists")) == ["manifest"]
    (dataset.directory / "report.json").write_text(json.dumps(report))
    (dataset.directory / "SHA256SUMS").unlink()
    pack(write_manifest([*rows, row("3.jpg")]))
    assert f"{dataset.directory} is there already; --overwrite" in capsys.readouterr().out


def test_overwrite_keeps_the_old_data_until_the_new_data_is_complete(pack, write_manifest, folder, tmp_path):
    dataset = pack(write_manifest([row("1.jpg"), row("2.jpg", "test")]))
    before = read_files(tmp_path / "data")
    (folder / "broken.jpg").write_bytes(b"")
    with pytest.raises(UserError, match="are broken"):  # after all records are written
        pack(write_manifest([row("1.jpg"), row("2.jpg", "test"), row("broken.jpg")]), overwrite=True)
    assert read_files(tmp_path / "data") == before

    class Interrupted(manifest.Manifest):
        def rows(self, split):
            yield from list(super().rows(split))[:1]
            assert dataset.num_examples("train") == len(list(dataset.read("train"))) == 1
            raise KeyboardInterrupt

    path = write_manifest([row("1.jpg"), row("2.jpg", "test"), row("3.jpg")])
    with pytest.raises(KeyboardInterrupt):
        builder.pack(Interrupted, "mine", tmp_path / "data", manifest=path, overwrite=True)
    assert read_files(tmp_path / "data") == before
    assert pack(path, overwrite=True).num_examples("train") == 2
    assert [path.name for path in (tmp_path / "data").rglob("*") if path.is_dir()] == ["mine", "1.0.0"]


def test_resize_scales_the_short_side(pack, write_manifest, folder):
    Image.fromarray(picture(90, 60)).save(folder / "1.jpg")
    dataset = pack(write_manifest([row("1.jpg"), row("2.jpg", "test")]), resize=30)
    (record,) = dataset.read("train").as_numpy_iterator()
    assert Image.open(io.BytesIO(record["image"])).size == (30, 45)


def test_invalid_pack_arguments_are_refused(pack, write_manifest, tmp_path):
    path = write_manifest([row("1.jpg"), row("2.jpg", "test")])
    for arguments, message in [
        ({"name": "my-photos"}, "expected a data set name of letters, digits and underscores"),
        ({"name": "../up"}, "expected a data set name"),
        ({"resize": 0}, "expected a short side of at least 1 pixel"),
        ({"max_skipped": 1.5}, "expected a share of 0 to 1"),
        ({"data_dir": path}, "is a file"),
    ]:
        with pytest.raises(UserError, match=message):
            pack(path, **arguments)
    assert not (tmp_path / "data").exists()


def test_duplicate_image_id_is_an_error(tmp_path):
    class Twice(RawDataset):
        def read(self, settings):
            return Contents(description="Twice", labels=("a",), tags=(), num_rows={"train": 2, "test": 2})

        def rows(self, split):
            buffer = io.BytesIO()
            Image.fromarray(picture()).save(buffer, "JPEG")
            yield Row(f"{split}-1", buffer.getvalue(), ("a",), ())
            yield Row("both", buffer.getvalue(), ("a",), ())

    with pytest.raises(UserError, match="expected every image id once, got 'both' again"):
        builder.pack(Twice, "twice", tmp_path / "data")


def test_report_is_utf8_json_beside_the_records(pack, write_manifest):
    dataset = pack(write_manifest([row("1.jpg", labels=["ü"]), row("2.jpg", "test", labels=["ü"])]))
    text = (dataset.directory / "report.json").read_text(encoding="utf-8")
    assert '"ü"' in text
    assert json.loads(text)["num_labels"] == 1
