"""Official files in various layouts, intact and broken, with NUS-WIDE as the example."""

import shutil
import subprocess
import sys
import zipfile

import pytest
from PIL import Image

from msmm.core.errors import UserError
from tests.conftest import ROOT
from tests.tfrecords_tools.conftest import make_packer, names_by_image, picture
from tfrecords_tools.datasets import nus_wide
from tfrecords_tools.packing.raw_dataset import Settings
from tfrecords_tools.raw.raw_files import RawFiles

PARTS = {"train": "Train", "test": "Test"}
CONCEPTS = ["airport", "lake", "sky"]
TAGS = ["nature", "Sky", "nikon", "2007"]
ROWS = {
    "train": [
        ("actor/0001_11.jpg", [1, 0, 1], [0, 1, 1, 0]),
        ("actor/0002_12.jpg", [0, 1, 0], [1, 0, 0, 0]),
        ("zebra/0001_13.jpg", [0, 0, 1], [0, 0, 0, 1]),
    ],
    "test": [
        ("zebra/0002_14.jpg", [1, 1, 1], [1, 1, 1, 1]),
        ("zebra/0003_15.jpg", [0, 1, 0], [0, 1, 0, 0]),
    ],
}
EXPECTED = {
    split: {
        image: (
            {n for n, v in zip(CONCEPTS, labels, strict=True) if v},
            {n.lower() for n, v in zip(TAGS, tags, strict=True) if v},
        )
        for image, labels, tags in rows
    }
    for split, rows in ROWS.items()
}


@pytest.fixture
def pack(tmp_path):
    return make_packer(nus_wide.NusWide, "nus_wide", tmp_path)


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "NUS WIDE"
    for folder in ("ConceptsList", "ImageList", "Groundtruth/TrainTestLabels", "NUS_WID_Tags"):
        (root / folder).mkdir(parents=True)
    (root / "ConceptsList/Concepts81.txt").write_bytes("".join(f"{c}\r\n" for c in CONCEPTS).encode())
    (root / "NUS_WID_Tags/TagList1k.txt").write_text("".join(f"{t}\n" for t in TAGS))
    number = 0
    for split, rows in ROWS.items():
        part = PARTS[split]
        names = "".join(image.replace("/", "\\") + "\r\n" for image, _, _ in rows)
        (root / f"ImageList/{part}Imagelist.txt").write_bytes(names.encode())
        lines = "".join("\t".join(map(str, tags)) + "\t\n" for _, _, tags in rows)
        (root / f"NUS_WID_Tags/{part}_Tags1k.dat").write_text(lines)
        for i, concept in enumerate(CONCEPTS):
            lines = "".join(f"{labels[i]}\n" for _, labels, _ in rows)
            (root / f"Groundtruth/TrainTestLabels/Labels_{concept}_{part}.txt").write_text(lines)
        for image, _, _ in rows:
            path = root / "Flickr" / image
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture(seed=number)).save(path)
            number += 1
    return root


def move_to_zip(folder, archive, inside=""):
    """Moves a folder into a zip file, below `inside`."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                file.write(path, f"{inside}{path.relative_to(folder)}")
    shutil.rmtree(folder)


def test_pack_of_the_official_layout_contains_its_labels_and_tags(pack, tree):
    dataset = pack(tree)
    assert {split: names_by_image(dataset, split) for split in dataset.splits} == EXPECTED
    assert (dataset.labels, dataset.tags) == (("airport", "lake", "sky"), ("nature", "sky", "nikon", "2007"))
    images = {r["image_id"].decode(): r["image"] for r in dataset.read("train").as_numpy_iterator()}
    assert images["actor/0001_11.jpg"] == (tree / "Flickr/actor/0001_11.jpg").read_bytes()
    settings = dataset.report()["settings"]
    assert (settings["max_skipped"], settings["drop_untagged"], settings["drop_unlabelled"]) == (
        0.5,
        True,
        True,
    )


def official_zips(tree):
    move_to_zip(tree / "ConceptsList", tree / "ConceptsList.zip")
    move_to_zip(tree / "ImageList", tree / "ImageList.zip", "ImageList/")
    move_to_zip(tree / "Groundtruth", tree / "Groundtruth.zip")
    move_to_zip(tree / "NUS_WID_Tags", tree / "NUS_WID_Tags.zip", "NUS_WID_Tags/")


def zips_and_photographs_zipped(tree):
    official_zips(tree)
    move_to_zip(tree / "Flickr", tree / "Flickr.zip", "Flickr/")


def hugging_face(tree):
    (tree / "both").mkdir()
    for folder in ("ConceptsList", "Groundtruth"):
        (tree / folder).rename(tree / "both" / folder)
    move_to_zip(tree / "both", tree / "NUS-WIDE.zip", "NUS-WIDE/")
    move_to_zip(tree / "NUS_WID_Tags", tree / "NUS_WID_Tags.zip")


def flat(tree):
    photographs = list((tree / "Flickr").rglob("*.jpg"))
    (tree / "images").mkdir()
    for path in photographs:
        path.rename(tree / "images" / path.name)
    shutil.rmtree(tree / "Flickr")


def flat_in_the_root(tree):
    flat(tree)
    for path in (tree / "images").iterdir():
        path.rename(tree / path.name)
    (tree / "images").rmdir()


def one_folder_deeper(tree):
    (tree / "NUS-WIDE").mkdir()
    for path in list(tree.iterdir()):
        if path.name != "NUS-WIDE":
            path.rename(tree / "NUS-WIDE" / path.name)


LAYOUTS = (
    official_zips,
    zips_and_photographs_zipped,
    hugging_face,
    flat,
    flat_in_the_root,
    one_folder_deeper,
)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_other_layouts_of_the_files_give_the_same_records(pack, tree, layout):
    expected = pack(tree, "first").fingerprint
    layout(tree)
    assert pack(tree, "second").fingerprint == expected


def test_copy_nearest_to_the_raw_directory_is_read(pack, tree):
    expected = pack(tree, "first").fingerprint
    (tree / "old/of another year").mkdir(parents=True)
    (tree / "old/of another year/TagList1k.txt").write_text("a\nb\nc\nd\n")
    with zipfile.ZipFile(tree / "a.zip", "w") as file:
        file.writestr("Concepts81.txt", "airport\n")
    assert pack(tree, "second").fingerprint == expected


def test_missing_image_list_is_an_error_that_names_the_download(tree):
    hugging_face(tree)
    shutil.rmtree(tree / "ImageList")
    with pytest.raises(UserError) as failure:
        nus_wide.NusWide(raw_dir=tree).read(Settings())
    message = str(failure.value)
    assert "has no TrainImagelist.txt, TestImagelist.txt: put ImageList.zip, which lists the image" in message
    assert "Hugging Face" in message and "https://lms.comp.nus.edu.sg/" in message


def test_missing_photographs_are_reported_and_limited_by_max_skipped(pack, tree):
    """At most half of the photographs may be missing; Flickr's notices count as missing."""
    (tree / "Flickr/actor/0001_11.jpg").unlink()
    Image.new("P", (500, 374)).save(tree / "Flickr/zebra/0003_15.jpg", "GIF")
    dataset = pack(tree)
    dropped = {split: counts["dropped"] for split, counts in dataset.report()["splits"].items()}
    assert dropped == {
        "train": {"missing file": ["actor/0001_11.jpg"]},
        "test": {"Flickr's notice in its place": ["zebra/0003_15.jpg"]},
    }
    (tree / "Flickr/actor/0002_12.jpg").unlink()
    with pytest.raises(UserError, match=r"3 of 5 images are broken .missing file: 2, Flickr's notice"):
        pack(tree, overwrite=True)
    assert pack(tree, overwrite=True, max_skipped=0.6).num_examples("train") == 1


def test_flickr_notices_in_a_zip_file_are_dropped(pack, tree):
    Image.new("P", (500, 374)).save(tree / "Flickr/zebra/0003_15.jpg", "PNG")
    zips_and_photographs_zipped(tree)
    dropped = pack(tree).report()["splits"]["test"]["dropped"]
    assert dropped == {"Flickr's notice in its place": ["zebra/0003_15.jpg"]}


def test_image_listed_in_both_splits_is_packed_once(pack, tree):
    listed = (tree / "ImageList/TestImagelist.txt").read_text().replace("zebra\\0003_15", "actor\\0002_12")
    (tree / "ImageList/TestImagelist.txt").write_text(listed)
    dataset = pack(tree, max_skipped=0.0)
    assert list(names_by_image(dataset, "test")) == ["zebra/0002_14.jpg"]
    assert dataset.report()["splits"]["test"]["dropped"] == {
        "listed a second time": ["actor/0002_12.jpg (test row 2)"]
    }


def test_image_listed_again_in_the_same_row_of_both_splits_is_packed_once(pack, tree):
    for part, other in (("Train", "actor\\0002_12"), ("Test", "zebra\\0003_15")):
        path = tree / f"ImageList/{part}Imagelist.txt"
        path.write_text(path.read_text().replace(other, "actor\\0001_11"))
    dataset = pack(tree, max_skipped=0.0)
    assert list(names_by_image(dataset, "train")) == ["actor/0001_11.jpg", "zebra/0001_13.jpg"]
    assert list(names_by_image(dataset, "test")) == ["zebra/0002_14.jpg"]
    for split in PARTS:
        again = dataset.report()["splits"][split]["dropped"]["listed a second time"]
        assert again == [f"actor/0001_11.jpg ({split} row 2)"]


def test_corrupt_label_value_is_read_as_zero_and_reported(pack, tree):
    path = tree / "Groundtruth/TrainTestLabels/Labels_lake_Train.txt"
    path.write_text("-1130179\n1\n0\n")
    dataset = pack(tree)
    assert names_by_image(dataset, "train") == EXPECTED["train"]
    assert dataset.report()["oddities"] == ["Labels_lake_Train.txt:1 has -1130179, read as 0"]


def remove(name):
    return lambda tree: next(tree.rglob(name)).unlink()


def rewrite(name, old, new):
    def change(tree):
        path = next(tree.rglob(name))
        text = path.read_bytes()
        assert old in text
        path.write_bytes(text.replace(old, new, 1))

    return change


def cut_zip(tree):
    official_zips(tree)
    data = (tree / "Groundtruth.zip").read_bytes()
    (tree / "Groundtruth.zip").write_bytes(data[: len(data) // 2])


def damaged_zip(tree):
    with zipfile.ZipFile(tree / "Tags.zip", "w") as file:
        file.write(tree / "NUS_WID_Tags/TagList1k.txt", "TagList1k.txt")
    data = (tree / "Tags.zip").read_bytes()
    (tree / "Tags.zip").write_bytes(data.replace(b"nature", b"nurture"[:6], 1))
    (tree / "NUS_WID_Tags/TagList1k.txt").unlink()


BROKEN = {
    "no concepts": (remove("Concepts81.txt"), "has no Concepts81.txt: put ConceptsList.zip there, from http"),
    "no test list": (remove("TestImagelist.txt"), "has no TestImagelist.txt: put ImageList.zip, which lists"),
    "no tag list": (remove("TagList1k.txt"), "has no TagList1k.txt: put NUS_WID_Tags.zip there"),
    "no tag matrix": (remove("Test_Tags1k.dat"), "has no Test_Tags1k.dat: put NUS_WID_Tags.zip there"),
    "no label file": (remove("Labels_sky_Test.txt"), "has no Labels_sky_Test.txt: put Groundtruth.zip there"),
    "no label files": (
        lambda tree: shutil.rmtree(tree / "Groundtruth"),
        "has no Labels_airport_Train.txt, Labels_airport_Test.txt, Labels_lake_Train.txt and 3 more: put",
    ),
    "a label one line short": (
        rewrite("Labels_sky_Train.txt", b"1\n", b""),
        "the train split differ in rows: 3 in TrainImagelist.txt, Train_Tags1k.dat, Labels_airport_Train.txt "
        "and 1 more; 2 in Labels_sky_Train.txt",
    ),
    "a tag matrix one line short": (
        rewrite("Test_Tags1k.dat", b"0\t1\t0\t0\t\n", b""),
        "the test split differ in rows: 2 in TestImagelist.txt, Labels_airport_Test.txt, "
        "Labels_lake_Test.txt and 1 more; 1 in Test_Tags1k.dat",
    ),
    "an image list one line long": (
        rewrite("TestImagelist.txt", b"zebra", b"zebra\\9.jpg\r\nzebra"),
        "; 3 in TestImagelist.txt",
    ),
    "a tag matrix a column short": (
        rewrite("Train_Tags1k.dat", b"1\t0\t0\t0\t\n", b"1\t0\t0\t\n"),
        "Train_Tags1k.dat:2: expected 4 values of 0 or 1 in the line, got 3",
    ),
    "a tag list a line short": (
        rewrite("TagList1k.txt", b"nikon\n", b""),
        "Train_Tags1k.dat:1: expected 3 values of 0 or 1 in the line, got 4",
    ),
    "an unknown concept": (rewrite("Concepts81.txt", b"lake", b"lagoon"), "has no Labels_lagoon_Train.txt, "),
    "a concept short": (
        rewrite("Concepts81.txt", b"lake\r\n", b""),
        "Labels_lake_Test.txt is about 'lake', which Concepts81.txt does not name",
    ),
    "a concept twice": (rewrite("Concepts81.txt", b"sky", b"lake"), "Concepts81.txt names 'lake' twice"),
    "no concept at all": (lambda tree: next(tree.rglob("Concepts81.txt")).write_text("\n"), "is empty"),
    "two labels a line": (rewrite("Labels_sky_Test.txt", b"1\n", b"1 0\n"), "expected 1 values of 0 or 1"),
    "tags not in UTF-8": (rewrite("TagList1k.txt", b"nikon", b"n\xefkon"), "TagList1k.txt:3: expected UTF-8"),
    "no photographs": (lambda tree: shutil.rmtree(tree / "Flickr"), "no photographs in"),
    "a zip file cut off": (cut_zip, "Groundtruth.zip is no whole zip file"),
    "a zip file damaged": (damaged_zip, "Tags.zip:TagList1k.txt (Bad CRC-32"),
    "no folder": (shutil.rmtree, "no folder "),
    "a file for a folder": (
        lambda tree: (shutil.rmtree(tree), tree.write_text("")),
        "no folder ",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_raw_directory_is_refused_in_one_line(tree, name):
    change, message = BROKEN[name]
    change(tree)
    with pytest.raises(UserError) as failure:
        nus_wide.NusWide(raw_dir=tree).read(Settings())
    assert message in str(failure.value)
    assert "\n" not in str(failure.value)


def test_error_if_no_photograph_is_found(pack, tree, tmp_path):
    shutil.rmtree(tree / "Flickr")
    (tree / "Flickr").mkdir()
    with pytest.raises(UserError, match=r"no image of the train split is left of 3 rows .missing file: 3"):
        pack(tree)
    assert not (tmp_path / "data").exists()


def test_pack_command_refuses_a_missing_image_list_in_one_line(tree, tmp_path):
    (tree / "ImageList/TrainImagelist.txt").unlink()
    command = [sys.executable, "-m", "tfrecords_tools.pack", "--dataset=nus_wide"]
    command += [f"--raw_dir={tree}", f"--data_dir={tmp_path / 'data'}"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ") and "has no TrainImagelist.txt" in line
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("zipped", [False, True])
def test_folder_of_images_is_found_in_any_case(tmp_path, zipped):
    """The archives of MSCOCO are unpacked by hand into folders of any name."""
    (tmp_path / "Train2014").mkdir()
    (tmp_path / "Train2014/a.jpg").write_bytes(b"a")
    if zipped:
        move_to_zip(tmp_path / "Train2014", tmp_path / "images.zip", "Train2014/")
    files = RawFiles(tmp_path, ("train2014", "val2014"))
    found = files.image("train2014/a.jpg")
    assert (found if zipped else found.read_bytes()) == b"a"
    assert files.has_images("train2014") and files.has_images("Train2014") and files.has_images()
    assert not files.has_images("val2014")
