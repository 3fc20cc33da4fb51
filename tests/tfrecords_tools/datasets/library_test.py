"""A photo library, built by hand, from its files to its records."""

import csv
import json
import os
import pathlib
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from msmm.core import checksums
from msmm.core.errors import UserError
from msmm.core.text import normalise_tag
from msmm.data import records
from msmm.inference import model_dir
from msmm.photos import sidecars, xmp_record
from msmm.photos.review import decisions
from msmm.photos.review.session import Session
from msmm.scenes import recipe
from tests.conftest import TINY
from tests.msmm.conftest import model_directory  # noqa: F401 - a fixture
from tests.msmm.core.command_line_test import run
from tests.msmm.photos.metadata_test import bag, packet
from tests.tfrecords_tools.conftest import names_by_image
from tests.tfrecords_tools.library.difference_hash_test import blotches
from tfrecords_tools.datasets import library
from tfrecords_tools.packing import builder

needs_exiftool = pytest.mark.skipif(
    not shutil.which("exiftool"), reason="exiftool is not installed (Debian has it: libimage-exiftool-perl)"
)


@pytest.fixture
def root(tmp_path):
    return tmp_path / "Pictures"


@pytest.fixture
def add(root):
    """Returns a function that adds a photograph; each looks different unless `seed` says otherwise."""
    count = 0

    def add(name, *keywords, taken=None, hierarchy=(), title=None, seed=None, sidecar=False):
        nonlocal count
        count += 1
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        exif = Image.Exif()
        if taken:
            exif.get_ifd(0x8769)[0x9003] = taken
        properties = [bag("dc:subject", *keywords)] * bool(keywords)
        properties += [bag("lr:hierarchicalSubject", *hierarchy)] * bool(hierarchy)
        properties += [bag("dc:title", title, kind="Alt")] * bool(title)
        content = packet(*properties) if properties else b""
        inside = {"xmp": content} if content and not sidecar else {}
        blotches(count if seed is None else seed).resize((64, 48)).save(path, exif=exif, **inside)
        if sidecar:
            pathlib.Path(f"{path}.xmp").write_bytes(content)
        return path

    return add


@pytest.fixture
def pack(tmp_path, root):
    def pack(**arguments):
        arguments = {"photos": root, "min_photos": 2, "overwrite": True, "workers": 1, **arguments}
        builder.pack(library.Library, "my_library", tmp_path / "data", **arguments)
        return records.open_dataset(tmp_path / "data", "my_library")

    return pack


def read_all(dataset):
    """Returns {image id: (labels, tags)} of all splits."""
    return {k: v for split in dataset.splits for k, v in names_by_image(dataset, split).items()}


def oddities(dataset):
    return "\n".join(dataset.report()["oddities"])


def day(number, time="10:00:00"):
    return f"2019:{number // 28 + 1:02d}:{number % 28 + 1:02d} {time}"


def fill(add, count=10, keyword="sea", start=100):
    """Adds a photograph on each of `count` days."""
    for number in range(count):
        add(f"phone/IMG_{start + number}.jpg", keyword, taken=day(start + number))


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


def test_tags_are_the_context_and_keywords_that_are_no_labels(add, pack):
    for number in range(40):
        sea = "Seas" if number % 4 == 0 else "sea"
        add(f"trip to Rome/{number} harbour.jpg", sea, "Anna", title="Old town", taken=day(number))
        if number < 20:
            add(f"rest/{number}.jpg", "sea", "Berta", taken=day(50 + number))
    dataset = pack(min_photos=60, hide_keywords=0.0)
    assert dataset.labels == ("sea",)
    trip, rest = {"trip to rome", "trip", "rome", "harbour", "old", "town"}, {"rest"}
    assert set(dataset.tags) == trip | rest | {"anna", "berta"}  # not the label's own keywords, sea and seas
    for split, keywords in (("train", True), ("test", False)):
        for image, (_, tags) in names_by_image(dataset, split).items():
            context, keyword = (trip, "anna") if image.startswith("trip") else (rest, "berta")
            assert tags == context | ({keyword} if keywords else set())
    assert dataset.has_context_tags


def test_keyword_that_equals_a_word_of_a_label_is_no_tag(add, pack):
    for number in range(40):
        add(f"{number}.jpg", "traffic lights", *["traffic"] * (number < 30), taken=day(number))
    dataset = pack(min_photos=31, hide_keywords=0.0)
    assert dataset.labels == ("traffic lights",) and dataset.tags == ()


def test_word_of_a_folder_stays_a_tag_where_it_is_a_label_too(add, pack):
    for number in range(40):
        add(f"{'beach' if number % 2 else 'town'}/{number}.jpg", "beach", taken=day(number))
    dataset = pack()
    assert dataset.labels == ("beach",) and set(dataset.tags) == {"beach", "town"}
    for image, (_, tags) in read_all(dataset).items():
        assert tags == {image.split("/")[0]}


def test_keywords_are_hidden_by_a_draw_in_training_and_all_of_them_in_test(add, pack):
    for number in range(120):
        add(f"{number}.jpg", "sea", *(f"{'ab'[number % 2]}x{k}" for k in range(2)), taken=day(number))
    tags, images = {}, {}
    for hide in (0.0, 0.5, 1.0):
        dataset = pack(min_photos=120, hide_keywords=hide)
        images[hide] = {image: names for image, (_, names) in names_by_image(dataset, "train").items()}
        tags[hide] = [len(names) for names in images[hide].values()]
        assert not any(names for _, names in names_by_image(dataset, "test").values())
    assert set(tags[0.0]) == {2} and set(tags[1.0]) == {0} and set(tags[0.5]) == {0, 1, 2}
    assert 0.3 < np.mean(tags[0.5]) < 0.7  # each is shown with probability 1/2 · 1/2
    assert 0.5 < np.mean([not count for count in tags[0.5]]) < 0.75  # 1/2 + 1/2 · 1/4
    other = names_by_image(pack(min_photos=120, split_seed=1), "train")
    assert any(other[image][1] != images[0.5][image] for image in other.keys() & images[0.5].keys())


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


def review(folder, *decided):
    """Writes decisions on photographs as `msmm.app --photos` does."""
    log = decisions.DecisionLog(folder, "a model")
    for name, complete, accepted, rejected in decided:
        decision = decisions.Decision(complete, accepted, (), rejected)
        log.append([decisions.Change(name, decision, xmp_record.Record())])
    log.close()


def test_reviewed_photographs_have_the_accepted_labels_and_no_other(add, pack, root):
    fill(add)
    add("a/1.jpg", "Dog", "cat", taken=day(1))
    add("a/2.jpg", "dogs", "cat", taken=day(2))
    add("a/3.jpg", taken=day(3))
    add("a/4.jpg", taken=day(4))
    add("a/5.jpg", taken=day(5))
    add("a/6.jpg", "Nature", "dog", hierarchy=["Nature|dog"], taken=day(6))
    add("a/7.jpg", taken=day(7))
    add("a/8.jpg", taken=day(8))
    review(
        root,
        ("a/1.jpg", True, ("sea",), ("dog",)),  # an own keyword rejected, another spelling of it
        ("a/2.jpg", False, (), ("dog",)),  # the plural
        ("a/3.jpg", True, (), ("sea",)),  # no label at all: a negative example
        ("a/4.jpg", True, ("cat", "dog"), ()),
        ("a/5.jpg", False, (), ("sea",)),  # nothing is known but that
        ("a/6.jpg", True, ("sea",), ("nature",)),
        ("a/7.jpg", True, ("sea",), ()),
        ("a/7.jpg", False, (), ()),  # undone
        ("gone.jpg", True, ("sea",), ()),
        ("../outside.jpg", True, ("sea",), ()),
    )
    dataset = pack(min_photos=2)
    assert dataset.labels == ("cat", "dog", "sea")
    labels = {image: names for image, (names, _) in read_all(dataset).items() if image.startswith("a/")}
    assert labels == {
        "a/1.jpg": {"cat", "sea"},
        "a/2.jpg": {"cat"},
        "a/3.jpg": set(),
        "a/4.jpg": {"cat", "dog"},
        "a/6.jpg": {"dog", "sea"},
    }
    text = oddities(dataset)
    assert "4 photographs were reviewed as a whole, 1 of them without a keyword" in text
    assert "of 2 others single keywords were reviewed" in text
    assert "3 of 18 photographs have no keyword: they are unlabelled" in text


def test_of_reviews_of_several_folders_the_latest_counts(add, pack, root, monkeypatch):
    fill(add)
    add("a/1.jpg", taken=day(1))
    review(root / "a", ("1.jpg", True, ("sea",), ()))
    assert read_all(pack(min_photos=2))["a/1.jpg"][0] == {"sea"}
    later = (root / "a" / decisions.FILE).read_text().replace('"time": "20', '"time": "30')
    review(root, ("a/1.jpg", True, (), ()))
    assert read_all(pack(min_photos=2))["a/1.jpg"][0] in (set(), {"sea"})  # within a second
    (root / "a" / decisions.FILE).write_text(later)
    assert read_all(pack(min_photos=2))["a/1.jpg"][0] == {"sea"}
    (root / "a" / decisions.FILE).write_text(later.replace('"time": "30', '"time": "10'))
    assert read_all(pack(min_photos=2))["a/1.jpg"][0] == set()


def test_a_conflict_copy_of_a_review_is_reported(add, pack, root):
    fill(add)
    (root / "phone" / "msmm_review.sync-conflict-20260501-100000-ABCDEFG.jsonl").write_text("{}")
    assert "ABCDEFG.jsonl is not read: its name is that of a conflict copy" in oddities(pack(min_photos=2))


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


def test_a_damaged_review_is_named_and_a_torn_end_is_not(add, pack, root):
    fill(add)
    add("a/1.jpg", taken=day(1))
    review(root, ("a/1.jpg", True, ("sea",), ()))
    path = root / decisions.FILE
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:40])
    assert read_all(pack(min_photos=2))["a/1.jpg"][0] == {"sea"}
    path.write_bytes(whole[:40] + b"\n" + whole)
    with pytest.raises(UserError, match=f"{decisions.FILE}:1 is damaged"):
        pack(min_photos=2)


def test_a_review_is_packed_as_labels(add, pack, root, model_directory):  # noqa: F811
    """From the page's session to the records, sidecars included."""
    fill(add)
    for number in range(2):
        add(f"a/{number}.jpg", "Rome", taken=day(number), sidecar=bool(number))
    session = Session(str(root), model_dir.load(model_directory), num_workers=1)
    session.start()
    while session.proposer.num_ready < len(session.paths):
        assert not session.proposer.failure
    index = {name: number for number, name in enumerate(session.names)}
    session.decide(index["a/0.jpg"], ["Rome", "lake"], ["sea"])
    session.decide(index["a/1.jpg"], ["lake"], ["Rome"])
    session.decide(index["phone/IMG_100.jpg"], [], ["sea"])
    session.close()
    labels = {image: names for image, (names, _) in read_all(pack(min_photos=1)).items()}
    assert labels["a/0.jpg"] == {"Rome", "lake"} and labels["a/1.jpg"] == {"lake"}
    assert labels["phone/IMG_100.jpg"] == set() and labels["phone/IMG_101.jpg"] == {"sea"}
    assert "Rome" in (root / "a/1.jpg.xmp").read_text() and "lake" in (root / "a/0.jpg.xmp").read_text()
