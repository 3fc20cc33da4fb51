"""OpenClipart from intact and broken folders, as Debian's packages unpack them."""

import os

import pytest
from PIL import Image

from msmm.core.errors import UserError
from msmm.data import records
from tests.tfrecords_tools.packing.near_duplicates_test import drawing
from tests.tfrecords_tools.raw.svg_metadata_test import PUBLIC
from tfrecords_tools.datasets import openclipart
from tfrecords_tools.packing import builder

SVG = (
    '<svg xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:cc="http://web.resource.org/cc/" '
    'xmlns:dc="http://purl.org/dc/elements/1.1/"><cc:license r:resource="{licence}"/>'
    "<dc:subject>{keywords}</dc:subject></svg>"
)


@pytest.fixture
def root(tmp_path):
    return tmp_path / "raw" / "usr" / "share" / "openclipart"


@pytest.fixture
def add(root):
    """Returns a function that adds a drawing to the raw directory."""

    def add(name, image=None, tags=("thing",), licence=PUBLIC):
        for kind in ("svg", "png"):
            (root / kind / name).parent.mkdir(parents=True, exist_ok=True)
        keywords = "".join(f"<r:li>{tag}</r:li>" for tag in tags)
        (root / "svg" / f"{name}.svg").write_text(SVG.format(licence=licence, keywords=keywords))
        image = image or drawing(sum(name.encode()) * 1000 + len(name))
        image.save(root / "png" / f"{name}.png")

    return add


@pytest.fixture
def pack(tmp_path, monkeypatch):
    def pack(least_images=1, **arguments):
        monkeypatch.setattr(openclipart, "LEAST_IMAGES", least_images)
        arguments = {"raw_dir": tmp_path / "raw", "max_skipped": 0.5, **arguments}
        builder.pack(openclipart.OpenClipart, "openclipart", tmp_path / "data", **arguments)
        return records.open_dataset(tmp_path / "data", "openclipart")

    return pack


def read_records(dataset):
    """Returns {image id: (split, labels, tags)}."""
    return {
        record["image_id"].decode(): (
            split,
            [dataset.labels[i] for i in record["labels"]],
            [dataset.tags[i] for i in record["tags"]],
        )
        for split in dataset.splits
        for record in dataset.read(split).as_numpy_iterator()
    }


def fill(add):
    """Adds enough drawings for both splits."""
    for n in range(16):
        add(f"food/fruit/fill{n}", drawing(n), ["Fruit", "sweet"])


def test_labels_tags_and_filters_of_openclipart(add, pack, root, capsys):
    fill(add)
    add("signs_and_symbols/flags/europe/malta", drawing(100), ["Flag", "signs_and_symbols", "unsorted"])
    add("recreation/games/cards/white/queen", drawing(101), ["card", "hash", "HASH(0x8675f78)"])
    add("icons/hammer", drawing(109), ["Fruit", "tag of no training image"])
    add("shapes/stars/star01", drawing(102))
    add("computer/icons/flat-theme/action/go", drawing(103))
    add("food/pie", drawing(104), ["pie"], licence="http://creativecommons.org/licenses/by/2.0/")
    add("food/cake", drawing(105), [])
    add("food/blank", Image.new("RGBA", (64, 64)), ["Fruit"])
    add("food/nut", drawing(106), ["Fruit"])
    (root / "png/food/nut.png").write_bytes(b"")
    add("food/lost", drawing(107), ["Fruit"])
    (root / "png/food/lost.png").unlink()
    add("food/odd", drawing(108))
    (root / "svg/food/odd.svg").write_text("<svg")
    dataset = pack()
    records_by_id = read_records(dataset)
    assert records_by_id["signs_and_symbols/flags/europe/malta"][1:] == (
        ["europe", "flags", "signs and symbols"],
        ["flag", "signs and symbols"],
    )
    assert records_by_id["recreation/games/cards/white/queen"][1:] == (
        ["cards", "games", "recreation"],
        ["card"],
    )
    assert records_by_id["food/fruit/fill0"][1:] == (["food", "fruit"], ["fruit", "sweet"])
    assert records_by_id["icons/hammer"] == ("test", ["icons"], ["fruit"])
    assert len(records_by_id) == 19
    dropped = {}
    for counts in dataset.report()["splits"].values():
        for cause, ids in counts["dropped"].items():
            dropped.setdefault(cause, []).extend(ids)
    assert dropped == {
        "blank picture": ["food/blank"],
        "empty file": ["food/nut"],
        "missing file": ["food/lost"],
        "no tag of the vocabulary": ["food/cake"],
    }
    out = capsys.readouterr().out
    for line in (
        "1 drawings left out: broken XML",
        "2 drawings left out: in directories without motifs",
        "1 drawings left out: not in the public domain",
    ):
        assert line in out


def test_picture_in_two_folders_is_one_image_with_the_labels_and_tags_of_both(add, pack, root):
    fill(add)
    add("tools/nail", drawing(50), ["nail"])
    (root / "svg/icons").mkdir()
    (root / "png/icons").mkdir()
    os.symlink("../tools/nail.png", root / "png/icons/nail.png")
    (root / "svg/icons/nail.svg").write_text(SVG.format(licence=PUBLIC, keywords="<r:li>work</r:li>"))
    records_by_id = read_records(pack())
    assert records_by_id["icons/nail"][1:] == (["icons", "tools"], ["nail", "work"])
    assert "tools/nail" not in records_by_id


def test_folders_with_too_few_images_are_not_labels(add, pack):
    fill(add)
    add("food/bread", drawing(60), ["sweet"])
    add("tools/saw", drawing(61), ["sweet"])
    dataset = pack(least_images=17)
    assert dataset.labels == ("food",)
    assert "tools/saw" not in read_records(dataset)


def test_images_dropped_without_tags_do_not_count_for_the_class_size(add, pack):
    fill(add)
    for n in range(9):
        add(f"tools/saw{n}", drawing(60 + n), ["sweet"] if n < 8 else [])
    assert pack(least_images=9, overwrite=True).labels == ("food", "fruit")
    assert pack(least_images=9, overwrite=True, drop_untagged=False).labels == ("food", "fruit", "tools")


def test_near_duplicates_are_in_the_same_split(add, pack):
    for n in range(30):
        image = drawing(n)
        add(f"food/a{n}", image)
        add(f"plants/b{n}", image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).resize((90, 60)))
        add(f"tools/c{n}", image.point(lambda value: 255 - (255 - value) * 2 // 3))
    records_by_id = read_records(pack())
    splits = [
        {records_by_id[name][0] for name in (f"food/a{n}", f"plants/b{n}", f"tools/c{n}")} for n in range(30)
    ]
    assert all(len(split) == 1 for split in splits)
    assert {"train", "test"} == set.union(*splits)


def test_drop_class_tags_fills_the_vocabulary_with_other_tags(add, pack, monkeypatch):
    monkeypatch.setattr(openclipart, "NUM_TAGS", 2)
    for n in range(16):
        add(f"food/fruit/fill{n}", drawing(n), ["Fruits", "sweet", "red"][: 3 - n % 2])
    assert pack(overwrite=True).tags == ("fruits", "sweet")
    assert pack(overwrite=True, drop_class_tags=True).tags == ("sweet", "red")


@pytest.mark.parametrize("inside", [".", "usr/share", "usr/share/openclipart"])
def test_raw_dir_may_be_any_parent_folder_of_the_packages(add, tmp_path, pack, inside):
    fill(add)
    assert len(read_records(pack(raw_dir=tmp_path / "raw" / inside))) == 16


def damage(root, fault):
    """Damages a raw directory in the given way."""
    import shutil

    raw = root.parents[2]
    if fault in ("svg", "png"):
        shutil.rmtree(root / fault)
    elif fault in ("missing", "file", "empty"):
        shutil.rmtree(raw)
        if fault == "file":
            raw.write_text("")
        elif fault == "empty":
            raw.mkdir()
    elif fault == "packed":
        shutil.rmtree(raw / "usr")
        (raw / "openclipart-svg_1%3a0.18+dfsg-19_all.deb").write_bytes(b"!<arch>\n")
    else:
        for path in list(root.rglob("*.*")):
            if fault == "no drawings" or (fault == "no pictures" and path.suffix == ".png"):
                path.unlink()
            elif fault == "no XML" and path.suffix == ".svg":
                path.write_text("")
            elif fault == "not free" and path.suffix == ".svg":
                path.write_text("<svg/>")
            elif fault == "no pictures but pages" and path.suffix == ".png":
                path.write_text(f"<html>{path}")


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("missing", "no folder .*raw: expected Debian's packages"),
        ("file", "no folder .*raw: expected Debian's packages"),
        ("empty", "expected svg/ and png/ in .*dpkg-deb -x"),
        ("packed", "expected svg/ and png/ in .*dpkg-deb -x"),
        ("svg", "svg/ is missing: unpack Debian's package openclipart-svg there too"),
        ("png", "png/ is missing: unpack Debian's package openclipart-png there too"),
        ("no drawings", "no drawing in the public domain in .*svg"),
        ("no XML", "no drawing in the public domain in .*svg"),
        ("not free", "no drawing in the public domain in .*svg"),
        ("no pictures", "no image of the train split is left of .* rows .missing file: "),
        (
            "no pictures but pages",
            "no image of the train split is left of .* .not an image of a known format: ",
        ),
    ],
)
def test_broken_raw_directory_is_refused_in_one_line(add, root, pack, tmp_path, fault, message):
    fill(add)
    damage(root, fault)
    with pytest.raises(UserError, match=message) as caught:
        pack()
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "data").exists()


def test_error_if_no_folder_has_enough_images_for_a_label(add, pack):
    fill(add)
    with pytest.raises(UserError, match=r"no directory of .* has 17 images"):
        pack(least_images=17)


@pytest.mark.slow
@pytest.mark.skipif(
    not openclipart.INSTALLED.is_dir(), reason="Debian's openclipart packages are not installed"
)
def test_debian_packages_give_the_known_splits_and_vocabularies(tmp_path):
    builder.pack(openclipart.OpenClipart, "openclipart", tmp_path, resize=256)
    dataset = records.open_dataset(tmp_path, "openclipart")
    assert {split: dataset.num_examples(split) for split in dataset.splits} == {"train": 2787, "test": 952}
    assert len(dataset.labels) == 67 and len(dataset.tags) == 500
    assert read_records(dataset)["animals/baby-tux_alex_kuehne_01"][1:] == (
        ["animals", "birds"],
        ["animal", "bird", "linux", "penguin", "tux"],
    )
