"""A photo library, built by hand, from its files to its records."""

import csv
import json
import os
import pathlib
import shutil
import subprocess

import pytest
from PIL import Image

from msmm.core import checksums
from msmm.core.errors import UserError
from msmm.core.text import normalise_tag
from msmm.photos import sidecars
from msmm.scenes import recipe
from tests.conftest import TINY
from tests.msmm.core.command_line_test import run
from tests.msmm.photos.metadata_test import bag, packet
from tests.tfrecords_tools.conftest import names_by_image
from tests.tfrecords_tools.datasets.conftest import day, fill, oddities, read_all
from tfrecords_tools.datasets import library

needs_exiftool = pytest.mark.skipif(
    not shutil.which("exiftool"), reason="exiftool is not installed (Debian has it: libimage-exiftool-perl)"
)


def test_labels_are_keywords_of_enough_photographs_merged_and_of_the_lowest_level(add, pack, root, capsys):
    fill(add)
    add("a/1.jpg", "Dog", taken=day(1))
    add("a/2.jpg", "dogs", taken=day(2), sidecar=True)
    add("a/3.jpg", "Nature", "Animals", "dog", hierarchy=["Nature|Animals|dog"], taken=day(3))
    add("a/4.jpg", "dog", "cat", "Château", taken=day(4))
    add("a/5.jpg", "Cha\u0302teau", taken=day(5))
    add("a/6.jpg", "cat", taken=day(6))
    add("a/7.jpg", "owl", taken=day(7))
    add("a/8.jpg", taken=day(8))  # unlabelled
    add("a/9.jpg", taken=day(9))
    sidecars.write_labels(str(root / "a/9.jpg"), [], ["sea", "cat"], "model 1", normalise_tag)
    dataset = pack(min_photos=2)
    assert dataset.labels == ("cat", "Château", "dog", "sea")
    labels = {image: names for image, (names, _) in read_all(dataset).items()}
    assert {k: v for k, v in labels.items() if k.startswith("a/")} == {
        "a/1.jpg": {"dog"},
        "a/2.jpg": {"dog"},
        "a/3.jpg": {"dog"},
        "a/4.jpg": {"dog", "cat", "Château"},
        "a/5.jpg": {"Château"},
        "a/6.jpg": {"cat"},
    }
    text = capsys.readouterr().out
    for line in (
        "4 labels: sea: 10, dog: 4, Château: 2, cat: 2",
        "merged into labels: dog = Dog, dogs",
        "1 keywords are no labels, on fewer than 2 photographs: owl: 1",
        "2 of 19 photographs have no keyword: they are unlabelled, not negative examples, and left out",
        "2 keywords that msmm had written are no labels",
    ):
        assert line in text and line in oddities(dataset)
    dropped = {}
    for counts in dataset.report()["splits"].values():
        dropped.update(counts["dropped"])
    assert dropped == {"no label of the vocabulary": ["a/7.jpg"]}
    assert pack(min_photos=4).labels == ("dog", "sea")
    assert pack(min_photos=5).labels == ("sea",)


def test_files_beside_the_records_list_all_keywords(add, pack):
    fill(add)
    for number in range(3):
        add(f"a/{number}.jpg", "Dog", "dogs", "owl"[number:] or "x", taken=day(number))
    dataset = pack(min_photos=3)
    with open(dataset.directory / library.KEYWORDS_FILE, encoding="utf-8") as file:
        rows = {row["keyword"]: row for row in csv.DictReader(file)}
    assert {name: (row["photographs"], row["used as"]) for name, row in rows.items()} == {
        "sea": ("10", "label"),
        "Dog": ("3", "label"),
        "owl": ("1", "nothing"),
        "wl": ("1", "nothing"),
        "l": ("1", "nothing"),
    }
    assert rows["Dog"]["spellings"] == "Dog: 3, dogs: 3"
    assert int(rows["sea"]["train"]) + int(rows["sea"]["test"]) == 10
    assert rows["owl"]["why"] == "on fewer than 3 photographs"
    assert (dataset.directory / library.LABELS_FILE).read_text() == "Dog\nsea\n"
    checksums.check_directory(dataset.directory, "")
    assert library.KEYWORDS_FILE in (dataset.directory / "SHA256SUMS").read_text()


def test_labels_file_chooses_orders_and_reaches_upper_levels(add, pack, tmp_path):
    fill(add)
    for number in range(4):
        add(f"a/{number}.jpg", "dog", hierarchy=["Animals|dog"], taken=day(number))
        add(f"b/{number}.jpg", "owls", hierarchy=["Animals|owls"], taken=day(30 + number))
    (tmp_path / "labels.txt").write_text("sea\nanimals\nOwl\nunicorn\n")
    dataset = pack(labels_file=tmp_path / "labels.txt", min_photos=1000)
    assert dataset.labels == ("sea", "animals", "Owl")
    labels = {image: names for image, (names, _) in read_all(dataset).items()}
    assert labels["a/0.jpg"] == {"animals"} and labels["b/0.jpg"] == {"animals", "Owl"}
    assert "no photograph has it: unicorn: 0" in oddities(dataset)
    assert "not among the given labels: dog: 4" in oddities(dataset)
    (tmp_path / "labels.txt").write_text("sea\nSea\n")
    with pytest.raises(UserError, match="'sea' and 'Sea' are one keyword"):
        pack(labels_file=tmp_path / "labels.txt")


def test_vocabulary_of_another_data_set_keeps_all_its_labels(add, pack, tmp_path):
    fill(add, 10, "sea")
    fill(add, 10, "dog", start=200)
    first = pack()
    shutil.copytree(first.directory.parent, tmp_path / "other" / "my_library")
    fill(add, 10, "owl", start=250)
    dataset = pack(vocabulary_from=tmp_path / "other" / "my_library")
    assert (dataset.labels, dataset.tags) == (first.labels, first.tags)
    assert {"owl"} not in [labels for labels, _ in read_all(dataset).values()]


def test_label_of_test_events_alone_is_kept_only_with_the_vocabulary_of_another_data_set(add, pack, tmp_path):
    fill(add, 10, "sea")
    fill(add, 10, "dog", start=200)
    first = pack()
    shutil.copytree(first.directory.parent, tmp_path / "other" / "my_library")
    for number in range(8):
        add(f"two days/a{number}.jpg", "sea", taken=day(1))
    for number in range(2):
        add(f"two days/b{number}.jpg", "dog", "sea", taken=day(2))
    arguments = {"photos": tmp_path / "Pictures" / "two days"}
    dataset = pack(vocabulary_from=tmp_path / "other" / "my_library", **arguments)
    assert [labels for labels, _ in names_by_image(dataset, "test").values()] == [{"dog", "sea"}] * 2
    dataset = pack(**arguments)
    assert dataset.labels == ("sea",)
    assert "1 keywords are no labels, all its photographs are of test events: dog: 2" in oddities(dataset)


@pytest.mark.parametrize("seed", range(4))
def test_split_separates_no_day_burst_folder_or_copy(add, pack, seed):
    events = {}

    def put(event, name, **arguments):
        add(name, "sea", **arguments)
        events[name] = event

    for number in range(20):
        for shot in range(3):
            put(f"day {number}", f"phone/{number} {shot}.jpg", taken=day(number, f"1{shot}:00:00"))
        for shot in range(2):
            put(f"folder {number}", f"event {number}/{shot}.jpg")
        put(f"copy {number}", f"x{number}.jpg", seed=1000 + number)
        put(f"copy {number}", f"edited/y{number}.jpg", seed=1000 + number, taken=day(100 + number))
        put(f"night {number}", f"p/{number} a.jpg", taken=f"20{number:02d}:12:31 23:59:50")
        put(f"night {number}", f"q/{number} b.jpg", taken=f"20{number + 1:02d}:01:01 00:00:20")
    dataset = pack(split_seed=seed)
    splits = {}
    for split in dataset.splits:
        for image in names_by_image(dataset, split):
            splits.setdefault(events[image], set()).add(split)
    assert len(splits) == 80 and all(len(names) == 1 for names in splits.values())
    assert 0.15 <= dataset.num_examples("test") / len(events) <= 0.25


def test_packing_is_deterministic_and_seeded(add, pack, tmp_path):
    for number in range(60):
        add(f"phone/{number}.jpg", "sea", "Anna"[: number % 4 + 1], taken=day(number))
    first = pack(min_photos=60)
    fingerprint, test = first.fingerprint, set(names_by_image(first, "test"))
    assert pack(min_photos=60, workers=2).fingerprint == fingerprint
    assert set(names_by_image(pack(min_photos=60, split_seed=1), "test")) != test


def test_broken_and_unsupported_files_are_listed_and_not_negative(add, pack, root):
    fill(add)
    (root / "broken.jpg").write_bytes((root / "phone/IMG_100.jpg").read_bytes()[:400])
    (root / "empty.jpg").write_bytes(b"")
    for name in ("a.psd", "b.psd", "c.jp2"):
        (root / name).write_bytes(b"x")
    dataset = pack()
    assert dataset.report()["splits"]["train"]["dropped"] == {
        "does not decode": ["broken.jpg"],
        "empty file": ["empty.jpg"],
    }
    assert "2 photographs left out: .psd is not read: export it as JPEG" in oddities(dataset)
    assert "1 photographs left out: .jp2 is not read" in oddities(dataset)
    with pytest.raises(UserError, match="2 of 12 images are broken"):
        pack(max_skipped=0.1)


def test_names_in_any_script_and_bytes_that_are_no_utf8(add, pack, root):
    fill(add)
    add("東京 2019/日本 🏖.jpg", "海", taken=day(1))
    add("東京 2019/b.jpg", "海", taken=day(2))
    odd = os.fsencode(root / "phone") + b"/\xe9t\xe9.jpg"
    os.rename(os.fsencode(add("phone/x.jpg", "海", taken=day(3))), odd)
    dataset = pack()
    images = read_all(dataset)
    assert images["東京 2019/日本 🏖.jpg"][0] == {"海"}
    assert images["phone/\\xe9t\\xe9.jpg"][0] == {"海"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"photos": "/no/where"},
            "expected the folder of the photographs in --photos, there is no /no/where",
        ),
        ({"min_photos": 0}, "expected --min_photos of 1 or more, got 0"),
        ({"min_photos": 11}, r"no keyword of .* the most frequent ones are sea: 10: lower --min_photos"),
        ({"test_share": 1.0}, "expected a test share between 0 and 1"),
        ({"hide_keywords": 1.5}, "expected --hide_keywords of 0 to 1"),
    ],
)
def test_mistakes_are_reported_in_one_line(add, pack, tmp_path, arguments, message):
    fill(add)
    with pytest.raises(UserError, match=message) as caught:
        pack(**arguments)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "data").exists()


def test_collections_without_photographs_keywords_or_events_are_refused(add, pack, root):
    root.mkdir()
    with pytest.raises(UserError, match="no photographs in"):
        pack()
    add("a.jpg")
    with pytest.raises(UserError, match=r"none of 1 photographs in .* has a keyword"):
        pack()
    add("b.jpg", "sea", taken=day(1))
    with pytest.raises(UserError, match="expected photographs of two or more days or folders"):
        pack()


@needs_exiftool
def test_keywords_that_exiftool_wrote_are_read(add, pack, root):
    for number in range(12):
        path = add(f"event {number // 2}/IMG_{number}.jpg")
        command = ["exiftool", "-q", "-overwrite_original", "-codedcharacterset=utf8"]
        if number % 3 == 0:
            command += ["-IPTC:Keywords=Küste", "-IPTC:City=Kiel", "-IPTC:Caption-Abstract=Segel am Abend"]
        elif number % 3 == 1:
            command += ["-XMP-dc:Subject=küste", "-XMP-photoshop:City=Kiel", "-XMP-dc:Description=Segel"]
        else:
            command += [
                "-XMP-lr:HierarchicalSubject=Orte|Küste",
                "-EXIF:ImageDescription=Segel",
                "-Model=D90",
            ]
        subprocess.run(
            [*command, "-DateTimeOriginal=2019:07:01 10:00:00" if number < 2 else "-q", path], check=True
        )
    dataset = pack(min_photos=12)
    assert dataset.labels == ("Küste",) and read_all(dataset).keys() == {
        f"event {number // 2}/IMG_{number}.jpg" for number in range(12)
    }
    assert {"segel", "kiel", "event"} <= set(dataset.tags)


def draw_library(root):
    """Draws 60 scenes in six folders, tagged with what they show, and six photographs without keywords."""
    for number in range(66):
        scene = recipe.draw(seed=7, index=number, size=64)
        path = (
            root
            / f"2019 {('Rome', 'Annecy', 'Oslo', 'Kiel', 'Paris', 'Bergen')[number % 6]}"
            / f"{number}.jpg"
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        exif = Image.Exif()
        exif[0x0110] = "D90"
        words = [label.title() if number % 3 else label for label in scene.labels] + ["Anna"] * (
            number % 5 == 0
        )
        content = packet(bag("dc:subject", *words)) if number < 60 else b""
        inside = {"xmp": content} if content and number % 2 else {}
        scene.image.save(path, exif=exif, **inside)
        if content and not inside:
            pathlib.Path(f"{path}.xmp").write_bytes(content)


@pytest.mark.slow
def test_a_library_is_packed_trained_and_annotated(tmp_path):
    draw_library(tmp_path / "Pictures")
    before = {path: path.read_bytes() for path in (tmp_path / "Pictures").rglob("*") if path.is_file()}
    result = run(
        "tfrecords_tools.pack", "--dataset=library", "--photos=Pictures", "--min_photos=10", cwd=tmp_path
    )
    assert result.returncode == 0, result.stderr
    assert "6 of 66 photographs have no keyword: they are unlabelled" in result.stdout
    assert before == {p: p.read_bytes() for p in (tmp_path / "Pictures").rglob("*") if p.is_file()}
    settings = [f"--{name}={value}" for name, value in TINY.items()]
    result = run(
        "msmm.train", "--dataset=my_library", "--stage=all", *settings, "--held_out=10", cwd=tmp_path
    )
    assert result.returncode == 0, result.stderr
    model = tmp_path / "runs/my_library/seed0/model"
    info = json.loads((model / "model.json").read_text())
    assert info["context_tags"] is True and info["images"]["train"] + info["images"]["test"] <= 60
    tags = (model / "tags.txt").read_text().split("\n")
    assert {"d90", "oslo"} <= set(tags)
    # The folder, and not only keywords, reaches the model.
    result = run(
        "msmm.annotate", "Pictures/2019 Oslo/62.jpg", f"--model={model}", "--format=json", cwd=tmp_path
    )
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["tags"] == ["oslo", "d90"]


def test_hashtags_and_joined_keywords_are_the_keywords_in_them(add, pack):
    add("a/1.jpg", "#Sea; dog", taken=day(1))
    add("a/2.jpg", "sea", "cat;#dog", taken=day(2))
    add("a/3.jpg", "sea", "cat", taken=day(3))
    add("b/4.jpg", "#dog", taken=day(4))
    dataset = pack(min_photos=2)
    assert dataset.labels == ("#dog", "cat", "sea")  # as its owner mostly writes it
    assert {image: names for image, (names, _) in read_all(dataset).items()} == {
        "a/1.jpg": {"sea", "#dog"},
        "a/2.jpg": {"sea", "cat", "#dog"},
        "a/3.jpg": {"sea", "cat"},
        "b/4.jpg": {"#dog"},
    }
