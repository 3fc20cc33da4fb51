"""The manifest builder: splits, vocabularies, filters and warnings."""

import hashlib
import shutil

import pytest
from PIL import Image

from msmm.core.errors import UserError
from msmm.data import records
from tests import conftest
from tests.tfrecords_tools.conftest import picture
from tfrecords_tools.datasets import manifest
from tfrecords_tools.packing import builder

SHARED = conftest.SHARED / "data"


@pytest.fixture
def pack(tmp_path):
    def run(path, name="mine", **arguments):
        builder.pack(manifest.Manifest, name, tmp_path / "data", manifest=path, **arguments)
        return records.open_dataset(tmp_path / "data", name)

    return run


@pytest.fixture
def build(tmp_path):
    """Returns a function that creates a builder, which has read the manifest but written nothing."""

    def run(path, **arguments):
        return builder.create_builder(
            manifest.Manifest, "mine", tmp_path / "data", manifest=path, **arguments
        )

    return run


def row(image, split="train", labels=("a",), tags=()):
    return {"image": image, "labels": list(labels), "tags": list(tags), "split": split}


def unsplit(*names):
    return [{"image": name, "labels": ["a"]} for name in names]


def test_csv_and_json_lines_give_the_same_data_set(pack, write_manifest, folder):
    path = write_manifest(
        [
            row("1.jpg", labels=["sky", "big sea"], tags=["Blue", "nikon"]),
            row("ü 2.jpg", labels=["sky"]),
            row("3.jpg", "test", labels=["big sea"], tags=["blue"]),
        ]
    )
    table = (
        "labels,tags,image,split\n"
        "sky;big sea,Blue;nikon,1.jpg,train\n"
        "sky,,ü 2.jpg,train\n"
        "big sea,blue,3.jpg,test\n"
    )
    (folder / "table.csv").write_text(table, encoding="utf-8")
    one, two = pack(path, "one"), pack(folder / "table.csv", "two")
    assert one.fingerprint == two.fingerprint
    assert (one.labels, one.tags) == (two.labels, two.tags)


def test_rows_without_a_split_are_divided_by_the_hash_of_their_id(build, write_manifest):
    names = [f"{i}.jpg" for i in range(200)]
    packed = build(write_manifest(unsplit(*names)), test_share=0.3)
    test = {entry.id for entry in packed.raw.rows("test")}
    below = {name for name in names if int(hashlib.sha256(name.encode()).hexdigest(), 16) < 0.3 * 2**256}
    assert test == below
    assert 40 < len(test) < 80
    more = build(write_manifest(unsplit(*names, "a.jpg", "b.jpg", "c.jpg")), test_share=0.3)
    assert test == {entry.id for entry in more.raw.rows("test")} - {"a.jpg", "b.jpg", "c.jpg"}


def test_manifest_without_test_rows_is_packed_with_a_warning(pack, build, write_manifest, capsys):
    dataset = pack(write_manifest([row("1.jpg")]))
    assert dataset.splits == ("train",)
    refused = "no row is to test on, and msmm.train refuses a data set without a test split: "
    assert f"worth knowing:\n  {refused}set split to test in some\n" in capsys.readouterr().out
    assert build(write_manifest(unsplit("1.jpg")), test_share=1e-9).contents.oddities == (
        f"{refused}raise --test_share",
    )


def test_label_and_tag_names_with_commas_or_differing_only_in_case_are_reported(
    pack, build, write_manifest, folder
):
    names = ["b,c", "Sky", "sea", "é,", ",d", "a, b"]
    rows = [row(f"{i}.jpg", labels=[name], tags=["x; y", "X; Y"]) for i, name in enumerate(names)]
    rows += [row("t.jpg", "test", labels=["b,c", "sky", "Sea", "SEA"], tags=["e , f"])]
    path, case = write_manifest(rows), "labels that differ only in case are labels of their own: "
    commas = "each is one {0}, with its comma (; separates {0}s in CSV): "
    label = commas.format("label") + "',d', 'a, b', 'b,c' and 1 more"
    case += "SEA and Sea and sea, Sky and sky"
    tag = commas.format("tag") + "'e , f'"
    assert pack(path).report()["oddities"] == [label, case, tag]
    (folder / "labels.txt").write_text("\n".join([*names, "sky", "Sea", "SEA"]))
    (folder / "tags.txt").write_text("e , f")
    assert build(path, labels_file=folder / "labels.txt").contents.oddities == (tag,)
    assert build(path, tags_file=folder / "tags.txt").contents.oddities == (label, case)
    mine = folder.parent / "data" / "mine"
    assert build(path, vocabulary_from=mine).contents.oddities == ()
    assert build(write_manifest([row("1.jpg"), row("2.jpg", "test")])).contents.oddities == ()


def oddities_of(build, write_manifest, labels, **arguments):
    rows = [{"image": f"{i}.jpg", "labels": names} for i, names in enumerate(labels)]
    oddities = build(write_manifest(rows), test_share=1e-9, **arguments).contents.oddities
    return [sentence for sentence in oddities if not sentence.startswith("no row is to test on")]


@pytest.mark.parametrize(
    ("labels", "sentences"),
    [
        ([["sky|sea"]] * 40 + [["sky"]] * 2,
         ["every row has one label at most, 40 of them with '|' (; separates labels in CSV): 'sky|sea'"]),
        ([["sky/sea"], ["a & b"], ["c"]],
         ["every row has one label at most, 1 of them with '/' (; separates labels in CSV): 'sky/sea'",
          "every row has one label at most, 1 of them with '&' (; separates labels in CSV): 'a & b'"]),
        ([["sky/sea", "b"], ["a & b"]], []),  # with several labels per row, these may be parts of names
        ([["sky|sea", "b"], ["c"]], ["1 labels with '|' (; separates labels in CSV): 'sky|sea'"]),
        ([["sky；sea"], ["c", "d"]], ["1 labels with '；' (; separates labels in CSV): 'sky；sea'"]),
        ([["|sky|"], ["c"]], []),
        ([["sky sea"], ["sky"], ["sea", "big sky"]],
         ["each is one label, of words that are labels themselves: 'sky sea'"]),
        ([["traffic light"], ["traffic-light", "Traffic_Light"]],
         ["labels that differ only in spaces or signs: traffic light and traffic-light"]),
        ([["nan"], ["#REF!", "Null"], ["N/A"], ["banana"]],
         ["labels that look like an empty or broken cell: '#REF!', 'N/A', 'Null' and 1 more"]),
        ([["02-Jan"], ["Mar-95", "2026-01-02 00:00:00"], ["x-ray"]],
         ["labels that look like dates which a spreadsheet has made: '02-Jan', '2026-01-02 00:00:00', "
          "'Mar-95'"]),
        ([["CafÃ©"], ["b\ufffd", "itâ€™s"], ["Ãber"]],
         ["labels that were read in a wrong encoding before: 'CafÃ©', 'b\ufffd', 'itâ€™s'"]),
    ],
)  # fmt: skip
def test_suspicious_label_names_are_reported(build, write_manifest, labels, sentences):
    assert oddities_of(build, write_manifest, labels) == sentences


def test_line_breaks_in_cells_and_rounded_ids_are_reported(build, write_manifest, folder):
    write_manifest([row("1.jpg"), row("2.jpg")])
    table = 'image,labels,tags,id\n1.jpg,"sky\nsea",,1.5E+12\n2.jpg,land,"a\nb",12\n'
    (folder / "table.csv").write_text(table)
    contents = build(folder / "table.csv", test_share=1e-9).contents
    assert (contents.labels, contents.tags) == (("land", "sea", "sky"), ("a", "b"))
    assert contents.oddities[:2] == (
        "2 rows have a line break in a cell: each of its lines is a name of its own",
        "ids that a spreadsheet has rounded: 1.5E+12",
    )


def test_header_line_in_a_vocabulary_file_is_reported(build, write_manifest, folder):
    path = write_manifest([row("1.jpg", labels=["sky"], tags=["tags"])])
    (folder / "labels.csv").write_text("Label\nsky\n")
    (folder / "tags.csv").write_text("Tags\nblue\n")  # here the first line is a tag
    contents = build(path, labels_file=folder / "labels.csv", tags_file=folder / "tags.csv").contents
    expected = f"{folder / 'labels.csv'}: the first line is 'Label': delete it if it is no name but a header"
    assert contents.oddities[0] == expected and len(contents.oddities) == 2


def test_label_vocabulary_contains_only_labels_of_training_rows(pack, write_manifest):
    dataset = pack(
        write_manifest(
            [
                row("1.jpg", labels=["b", "a"]),
                row("2.jpg", "test", labels=["only here", "a"]),
                row("3.jpg", "test", labels=["only here"]),
            ]
        )
    )
    assert dataset.labels == ("a", "b")
    counts = dataset.report()["splits"]["test"]
    assert counts["labels_outside_vocabulary"] == {"only here": 2}
    assert counts["dropped"] == {"no label of the vocabulary": ["3.jpg"]}


def test_error_names_the_unknown_labels_of_an_empty_test_split(pack, write_manifest):
    rows = [row("1.jpg", labels=["sky"]), row("2.jpg", "test", labels=["Sky"])]
    with pytest.raises(UserError, match=r"1 rows \(no label of the vocabulary: 1\), which has no Sky: mend"):
        pack(write_manifest(rows))


def test_labels_file_determines_the_class_ids(pack, write_manifest, folder):
    (folder / "labels.txt").write_text("zebra\nape\nnever seen\n")
    rows = [row("1.jpg", labels=["ape"]), row("2.jpg", "test", labels=["zebra"])]
    dataset = pack(write_manifest(rows), labels_file=folder / "labels.txt")
    assert dataset.labels == ("zebra", "ape", "never seen")
    assert dataset.annotations("train")[2].tolist() == [[False, True, False]]


def test_label_missing_in_the_labels_file_is_an_error_with_a_suggestion(build, write_manifest, folder):
    (folder / "labels.txt").write_text("ape\n")
    path = write_manifest([row("1.jpg", labels=["ape"]), row("2.jpg", "test", labels=["ape", "Ape"])])
    with pytest.raises(
        UserError, match=r"my_photos.jsonl:2: labels: 'Ape' is not in .*labels.txt; there is 'ape'"
    ):
        build(path, labels_file=folder / "labels.txt")


def test_tag_vocabulary_is_ordered_by_image_count_then_alphabetically(build, write_manifest):
    path = write_manifest(
        [
            row("1.jpg", tags=["often", "c", "C", "c "]),
            row("2.jpg", tags=["often", "b"]),
            row("3.jpg", tags=["OFTEN", "b", "a"]),
            row("4.jpg", "test", tags=["c", "c", "d"]),
        ]
    )
    assert build(path).contents.tags == ("often", "b", "a", "c")
    assert build(path, num_tags=3).contents.tags == ("often", "b", "a")
    assert build(path, num_tags=0).contents.tags == ()


def test_tags_file_is_normalised_like_the_tags_of_images(pack, write_manifest, folder):
    (folder / "tags.txt").write_text("Golden Gate\nfog\n")
    rows = [row("1.jpg", tags=["golden  gate"]), row("2.jpg", "test", tags=["FOG", "sun"])]
    dataset = pack(write_manifest(rows), tags_file=folder / "tags.txt")
    assert dataset.tags == ("golden gate", "fog")
    assert dataset.annotations("train")[1].tolist() == [[True, False]]
    assert dataset.annotations("test")[1].tolist() == [[False, True]]


def test_manifest_without_tags_gives_an_empty_tag_vocabulary(pack, write_manifest):
    dataset = pack(write_manifest([row("1.jpg"), row("2.jpg", "test")]))
    assert dataset.tags == ()
    assert dataset.annotations("train")[1].shape == (1, 0)
    assert [record["tags"].tolist() for record in dataset.read("test").as_numpy_iterator()] == [[]]


def test_empty_classes_are_counted_after_all_filters(pack, write_manifest, folder):
    (folder / "broken.jpg").write_bytes(b"")
    path = write_manifest(
        [
            row("1.jpg", labels=["both", "train only"], tags=["t"]),
            row("2.jpg", labels=["both"], tags=["t"]),
            row("3.jpg", labels=["train only"], tags=["t"]),
            row("4.jpg", labels=["tested broken", "tested untagged"], tags=["t"]),
            row("5.jpg", "test", labels=["both"], tags=["t"]),
            row("broken.jpg", "test", labels=["tested broken"], tags=["t"]),
            row("6.jpg", "test", labels=["tested untagged"], tags=["other"]),
        ]
    )
    (folder / "tags.txt").write_text("t\n")
    everything = pack(path, "everything", tags_file=folder / "tags.txt", max_skipped=0.5)
    assert everything.labels == ("both", "tested broken", "tested untagged", "train only")
    dataset = pack(
        path,
        tags_file=folder / "tags.txt",
        max_skipped=0.5,
        drop_untagged=True,
        drop_empty_classes=True,
    )
    assert dataset.labels == ("both",)
    train, test = (dataset.report()["splits"][split] for split in ("train", "test"))
    assert train["dropped"] == {"no label of the vocabulary": ["3.jpg", "4.jpg"]}
    assert (train["kept"], test["kept"]) == (2, 1)
    assert all(dataset.annotations(split)[2].any(0).all() for split in dataset.splits)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"test_share": 0.0}, "expected a test share between 0 and 1, got 0.0"),
        ({"test_share": 1e-9, "rows": [row("1.jpg", "test")]}, "has no train rows"),
        ({"num_tags": -1}, "expected a number of tags of 0 or more, got -1"),
        ({"labels_file": "nowhere.txt"}, "cannot read nowhere.txt: No such file"),
        (
            {"drop_empty_classes": True, "rows": [row("1.jpg"), row("2.jpg", "test", labels=["b"])]},
            "no class has usable images in every split",
        ),
    ],
)
def test_invalid_manifest_arguments_are_refused(build, write_manifest, arguments, message):
    path = write_manifest(arguments.pop("rows", [row("1.jpg")]))
    with pytest.raises(UserError, match=message):
        build(path, **arguments)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("x/my_photos.jsonl", "my_photos"),
        ("x/my photos-2.csv", "my_photos_2"),
        ("summer in Rome/manifest.jsonl", "summer_in_Rome"),
        ("x/фото.csv", "_"),  # which is refused, with the advice to choose one
    ],
)
def test_default_data_set_name_is_derived_from_the_manifest_path(path, name):
    assert manifest.Manifest(manifest=path).default_name() == name


def test_downloaded_photographs_are_packed_verbatim_where_they_are_rgb_jpeg(pack, folder):
    coco = sorted(SHARED.glob("coco_tiny/train2017/*.jpg"))[:20]
    flickr = sorted(SHARED.glob("nus_wide_sample/Flickr/actor/*.jpg"))
    if not coco or not flickr:
        pytest.skip("the sample photographs are missing")
    for path in coco + flickr:
        shutil.copy(path, folder / path.name)
    lines = [f"{p.name},photo,{'test' if i % 4 == 0 else 'train'}" for i, p in enumerate(coco + flickr)]
    (folder / "list.csv").write_text("\n".join(["image,labels,split", *lines]))
    dataset = pack(folder / "list.csv", max_skipped=0.2)
    kept = sum(dataset.num_examples(split) for split in dataset.splits)
    dropped = [
        ids for split in dataset.splits for ids in dataset.report()["splits"][split]["dropped"].values()
    ]
    assert kept + sum(map(len, dropped)) == len(coco + flickr)
    for record in dataset.read("train").as_numpy_iterator():
        name = record["image_id"].decode()
        stored = Image.open(folder / name)
        verbatim = record["image"] == (folder / name).read_bytes()
        assert verbatim == (stored.format == "JPEG" and stored.mode == "RGB"), name


def test_pictures_with_different_seeds_differ():
    assert (picture(seed=0) != picture(seed=1)).any()
