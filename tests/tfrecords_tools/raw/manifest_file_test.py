import json
import pathlib

import pytest

from msmm.core import text
from msmm.core.errors import UserError
from msmm.core.text import normalise_label, normalise_tag
from tfrecords_tools.raw import manifest_file

GOOD = {"image": "a.jpg", "labels": ["sky"], "tags": ["Blue"], "split": "train", "id": "1"}


@pytest.fixture
def write(folder):
    for name in ("a.jpg", "b.jpg", "ein Foto ü.jpg"):
        (folder / name).write_bytes(b"only the existence of the file matters")

    def write(content, name="list.jsonl"):
        path = folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def error_message(path):
    with pytest.raises(UserError) as caught:
        manifest_file.read(path)
    text = str(caught.value)
    assert "\n" not in text
    return text.replace(str(path), path.name)


def lines(*rows):
    return "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)


def test_json_line_is_read_as_an_entry(write, folder):
    (entry,) = manifest_file.read(write(lines(GOOD)))
    assert entry == manifest_file.Entry(1, "1", folder / "a.jpg", ("sky",), ("blue",), "train")


def test_only_image_and_labels_are_required(write, folder):
    (entry,) = manifest_file.read(write(lines({"image": "ein Foto ü.jpg", "labels": ["b", "a"]})))
    assert entry == manifest_file.Entry(1, "ein Foto ü.jpg", folder / "ein Foto ü.jpg", ("b", "a"), (), None)


def test_absolute_image_paths_are_read(write, folder, tmp_path):
    (tmp_path / "far.jpg").write_bytes(b"x")
    (entry,) = manifest_file.read(write(lines({"image": str(tmp_path / "far.jpg"), "labels": ["a"]})))
    assert entry.image == tmp_path / "far.jpg"


def test_csv_and_json_lines_give_the_same_entries(write):
    rows = [
        {
            "id": "1",
            "image": "a.jpg",
            "labels": ["big sky", "sea"],
            "tags": ["Blue", "a, b"],
            "split": "train",
        },
        {"id": "2", "image": "ein Foto ü.jpg", "labels": ["sea"], "tags": [], "split": "test"},
    ]
    table = (
        'id,image,labels,tags,split\n1,a.jpg,big sky; sea,"Blue;a, b;",train\n2,ein Foto ü.jpg,sea,,test\n'
    )
    from_csv = manifest_file.read(write(table, "list.csv"))
    from_json = manifest_file.read(write(lines(*rows)))
    assert [entry.line for entry in from_csv] == [2, 3]
    assert [vars(entry) | {"line": 0} for entry in from_csv] == [vars(e) | {"line": 0} for e in from_json]


def test_field_and_split_names_are_case_insensitive(write):
    table = '"Image",\tLABELS ,Split\na.jpg,Sky,TEST\nb.jpg,sky,Train\n'
    rows = [{"Image": "a.jpg", "LABELS": ["Sky"], "Split": "TEST"}]
    rows += [{"image": "b.jpg", "labels": ["sky"], "split": "Train"}]
    for path in (write(table, "list.csv"), write(lines(*rows))):
        entries = manifest_file.read(path)
        assert [(entry.labels, entry.split) for entry in entries] == [(("Sky",), "test"), (("sky",), "train")]


@pytest.mark.parametrize("name", ["list.jsonl", "list.csv"])
def test_byte_order_mark_windows_line_ends_and_blank_lines_are_accepted(write, name):
    text = (
        lines(GOOD, "", {**GOOD, "id": "2", "image": "b.jpg"})
        if name == "list.jsonl"
        else "id,image,labels\n1,a.jpg,x\n\n2,b.jpg,y\n"
    )
    entries = manifest_file.read(write(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode(), name))
    assert [(entry.id, entry.line) for entry in entries] == (
        [("1", 1), ("2", 3)] if name == "list.jsonl" else [("1", 2), ("2", 4)]
    )


def test_unicode_line_separator_in_a_label_does_not_end_the_line(write):
    row = json.dumps({"image": "a.jpg", "labels": ["big\u2028sky"]}, ensure_ascii=False)
    assert manifest_file.read(write(row))[0].labels == ("big sky",)


def with_changes(**changes):
    return {**GOOD, **changes}


def without(field):
    return {key: value for key, value in GOOD.items() if key != field}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (lines(GOOD, '{"image": "b.jpg", "labels"'), "list.jsonl:2: broken JSON: "),
        (lines(GOOD, "[1, 2]"), "list.jsonl:2: expected a JSON object"),
        ("[\n]\n", "list.jsonl has no rows"),
        ('"text"', "list.jsonl:1: expected a JSON object"),
        ("[" * 100_000, "list.jsonl:1: broken JSON"),
        (lines(GOOD, with_changes(id="2", image="c.jpg")), "list.jsonl:2: image: no such file: 'c.jpg' in "),
        (lines(with_changes(image="../photos of mine")), "list.jsonl:1: image: is a folder"),
        (lines(with_changes(image="")), "list.jsonl:1: image: "),
        (lines(with_changes(image="a\0.jpg")), "list.jsonl:1: image: no such file"),
        (lines(with_changes(image="a" * 5000)), "list.jsonl:1: image: no such file"),
        (lines(with_changes(image=7)), "list.jsonl:1: image: expected a text, got 7"),
        (lines(without("image")), "list.jsonl:1: image: is missing"),
        (lines(without("labels")), "list.jsonl:1: labels: is missing"),
        (lines(with_changes(labels=[])), "list.jsonl:1: labels: expected at least one label"),
        (lines(with_changes(labels=["sky", " "])), "list.jsonl:1: labels: expected labels with a name"),
        (lines(with_changes(labels="sky")), 'list.jsonl:1: labels: expected a list of texts, got "sky"'),
        (lines(with_changes(labels=[3])), "list.jsonl:1: labels: expected a list of texts, got [3]"),
        (lines(with_changes(labels={"sky": 1})), "list.jsonl:1: labels: expected a list of texts"),
        (lines(with_changes(labels=["\ud800"])), "list.jsonl:1: labels: expected valid Unicode"),
        (lines(with_changes(tags="blue")), "list.jsonl:1: tags: expected a list of texts"),
        (lines(with_changes(labels=None)), "list.jsonl:1: labels: expected a list of texts, got null"),
        (lines(with_changes(split="val")), "list.jsonl:1: split: expected train or test, got 'val'"),
        (
            lines(GOOD, {"image": "b.jpg", "labels": ["sea"]}),
            "list.jsonl:2: split: expected a split in every row",
        ),
        (lines(without("split"), with_changes(id="2")), "list.jsonl:2: split: expected a split in every row"),
        (lines(with_changes(id="")), "list.jsonl:1: id: expected a text, got an empty one"),
        (lines(with_changes(id=5)), "list.jsonl:1: id: expected a text, got 5"),
        (lines(GOOD, "", with_changes(image="b.jpg")), "list.jsonl:3: id: '1' is on line 1 already"),
        (lines(without("id"), without("id")), "list.jsonl:2: id: 'a.jpg' is on line 1 already"),
        (
            lines(with_changes(label=["sky"])),
            "list.jsonl:1: label: unknown field, expected image, labels, tags",
        ),
        ('{"image": "a.jpg", "labels": ["x"], "labels": ["y"]}', "list.jsonl:1: labels: is there twice"),
        ("", "list.jsonl has no rows"),
        ("\n \n", "list.jsonl has no rows"),
        (
            lines(GOOD).encode() + b'{"image": "b\xff.jpg"}',
            "list.jsonl:2: expected UTF-8 text, got byte 0xff: save it as UTF-8",
        ),
        (lines(GOOD).encode("utf-16-le"), "list.jsonl:1: expected UTF-8 text, got UTF-16: save it as UTF-8"),
    ],
)
def test_invalid_json_lines_are_refused(write, content, expected):
    assert error_message(write(content)).startswith(expected)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("image,labels\na.jpg,\n", "list.csv:2: labels: expected at least one label"),
        ("image,labels\na.jpg, ; \n", "list.csv:2: labels: expected at least one label"),
        ("image,labels\n,sky\n", "list.csv:2: image: "),
        ("image,labels\na.jpg,sky\nc.jpg,sky\n", "list.csv:3: image: no such file: 'c.jpg'"),
        (
            "image,labels\na.jpg,sky,sea\n",
            "list.csv:2: expected 2 cells as in the header, got 3: ; separates names within a cell",
        ),
        ("image,labels\na.jpg\n", "list.csv:2: expected 2 cells as in the header, got 1"),
        ("image,label\na.jpg,sky\n", "list.csv:1: label: unknown column"),
        (
            "image,labels,Rating\na.jpg,sky,5\n",
            "list.csv:1: Rating: unknown column, expected image, labels, tags, split, id, groups: "
            "delete or rename it",
        ),
        ("image,labels,\na.jpg,sky,sea\n", "list.csv:2: column 3 has no name, but contains 'sea': "),
        ("image;labels\na.jpg;sky\n", "list.csv: expected commas between cells, got semicolons: save it as "),
        ('\n"Image";"labels";"a, b"\n', "list.csv: expected commas between cells, got semicolons"),
        ("image\tlabels\na.jpg\tsky;sea\n", "list.csv: expected commas between cells, got tabs"),
        ("image;labels\ra.jpg;sky\r", "list.csv: expected commas between cells, got semicolons"),
        (
            "image,labels\n".encode("utf-16-be"),
            'list.csv:1: expected UTF-8 text, got UTF-16: save it as "CSV UTF-8 (comma delimited)"',
        ),
        ("image,labels\ncafé.jpg,sky\n".encode("cp1252"), "list.csv:2: expected UTF-8 text, got byte 0xe9: "),
        ("a.jpg,sky\n", "list.csv:1: a.jpg: unknown column"),
        ("image\na.jpg\n", "list.csv:1: labels: is missing"),
        ("image,labels,Labels\na.jpg,x,y\n", "list.csv:1: labels: is there twice"),
        ('image,labels\na.jpg,"sky\n', "list.csv:2: broken CSV"),
        ('image,labels\n"a.jpg"x,sky\n', "list.csv:2: broken CSV"),
        (
            "image,labels,split\na.jpg,sky,train\nb.jpg,sky,\n",
            "list.csv:3: split: expected a split in every row",
        ),
        ("image,labels,split\na.jpg,sky,Val\n", "list.csv:2: split: expected train or test, got 'Val'"),
        ('image,labels\n"a.jpg","sky;\nsea"\na.jpg,sky\n', "list.csv:4: id: 'a.jpg' is on line 2 already"),
        ("image,labels\n", "list.csv has no rows"),
        ("", "list.csv has no rows"),
    ],
)
def test_invalid_csv_is_refused(write, content, expected):
    assert error_message(write(content, "list.csv")).startswith(expected)


def test_row_of_an_image_that_another_row_has_is_refused(write, folder):
    """Its rows would go to different splits, and its labels would contradict each other."""
    (folder / "symbolic.jpg").symlink_to("a.jpg")
    (folder / "hard.jpg").hardlink_to(folder / "a.jpg")
    for again in ("a.jpg", "./a.jpg", str(folder / "a.jpg"), "symbolic.jpg", "hard.jpg"):
        path = write(f"id,image,labels\n1,a.jpg,cat\n2,b.jpg,cat\n3,{again},dog\n", "list.csv")
        expected = f"list.csv:4: image: {again!r} is on line 2 already: put all labels of an image in one row"
        assert error_message(path) == expected
    path = write("image,labels\na.jpg,cat\n./a.jpg,dog\n", "list.csv")
    assert error_message(path).startswith("list.csv:3: image: './a.jpg' is on line 2 already: put all")


def test_files_that_are_not_manifests_are_refused(folder, write):
    assert error_message(folder / "nowhere.jsonl").startswith("cannot read nowhere.jsonl: No such file")
    (folder / "folder.csv").mkdir()
    assert error_message(folder / "folder.csv") == "cannot read folder.csv: Is a directory"
    assert (
        error_message(write("x", "list.xlsx"))
        == "expected a manifest that ends in .jsonl or .csv, got list.xlsx"
    )


def test_normalised_labels_keep_case_and_compose_accents():
    assert normalise_label("  Cafe\u0301   au\tlait \n") == "Café au lait"


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        (" Golden  Gate ", "golden gate"),
        ("ＦＵＬＬ width", "full width"),
        ("Straße", "strasse"),
        ("ﬁne\u00a0art", "fine art"),
        ("①", "1"),
        ("\u0390", "\u0390"),  # case folding decomposes it
        ("  ", ""),
    ],
)
def test_normalised_tags_are_case_folded(text, tag):
    assert normalise_tag(text) == tag
    assert normalise_tag(tag) == tag


def test_vocabulary_file_keeps_the_order_of_names(folder):
    path = folder / "labels.txt"
    path.write_bytes(b"\xef\xbb\xbfzebra\r\n\r\n  big  sky \r\n")
    assert text.read_names(path, normalise_label) == ("zebra", "big sky")


@pytest.mark.parametrize(
    ("content", "expected"),
    [("sky\nSea\n\nsea\n", "labels.txt:4: 'sea' is on line 2 already"), ("\n", "labels.txt has no names")],
)
def test_invalid_vocabulary_file_is_refused(folder, content, expected):
    path = pathlib.Path(folder / "labels.txt")
    path.write_text(content)
    with pytest.raises(UserError) as caught:
        text.read_names(path, normalise_tag)
    assert str(caught.value).replace(str(path), path.name).startswith(expected)
