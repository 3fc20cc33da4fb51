"""Lists as spreadsheets, pandas and other systems write them: read, or refused with a hint."""

import json
import unicodedata

import pytest

from msmm.core import text
from msmm.core.errors import UserError
from tfrecords_tools.raw import image_paths, manifest_file

EXPECTED = [("a.jpg", ("sky", "sea")), ("b.jpg", ("land",))]  # contents of every tolerated list
NFC, NFD = (unicodedata.normalize(form, "Café.jpg") for form in ("NFC", "NFD"))


@pytest.fixture
def write(folder):
    for name in ("a.jpg", "b.jpg", "my photo.jpg", "sub/IMG_1.JPG", "c.jpeg"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"only the existence of the file matters")

    def write(content, name):
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return folder / name

    return write


def read_rows(path):
    return [(entry.image.name, entry.labels) for entry in manifest_file.read(path)]


def error_message(function, *arguments):
    with pytest.raises(UserError) as caught:
        function(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


TOLERATED_CSV = {
    "a sep= line of Excel": "sep=,\r\nimage,labels\r\na.jpg,sky;sea\r\nb.jpg,land\r\n",
    "a sep=; line, so that semicolons are certain": 'sep=;\nimage;labels\na.jpg;"sky;sea"\nb.jpg;land\n',
    "a quoted sep= line with empty columns": '"sep=;";\nimage;labels\na.jpg;"sky;sea"\nb.jpg;land\n',
    "a sep= line behind a byte order mark": b"\xef\xbb\xbfsep=,\nimage,labels\na.jpg,sky;sea\nb.jpg,land\n",
    "blank rows of separators": "image,labels,tags\n,,\na.jpg,sky;sea,\n , ,\t\nb.jpg,land,\n,,\n,,\n",
    "blank rows before the header (Numbers)": ",\n,\nimage,labels\na.jpg,sky;sea\nb.jpg,land\n",
    "trailing empty columns": "image,labels,,,\na.jpg,sky;sea,,,\nb.jpg,land,,,\n",
    "more empty cells than the header": "image,labels\na.jpg,sky;sea,,\nb.jpg,land,\n",
    "empty cells at the end left out (Excel)": "image,labels,tags,groups\na.jpg,sky;sea,,\nb.jpg,land\n",
    "an empty column in the middle": "image,,labels\na.jpg,,sky;sea\nb.jpg,,land\n",
    "the index of pandas": ",image,labels\n0,a.jpg,sky;sea\n1,b.jpg,land\n",
    "the index of pandas, read and written again": "Unnamed: 0,image,labels\n0,a.jpg,sky;sea\n1,b.jpg,land\n",
    "lists of Python in a cell (pandas)": "image,labels\na.jpg,\"['sky', 'sea']\"\nb.jpg,['land']\n",
    "lists of JSON in a cell": 'image,labels\na.jpg,"[""sky"", ""sea""]"\nb.jpg,"[""land""]"\n',
    "UTF-16 with its mark (Unicode text)": "image,labels\r\na.jpg,sky;sea\r\nb.jpg,land\r\n".encode("utf-16"),
    "line ends of an old Mac (Excel for Mac)": "image,labels\ra.jpg,sky;sea\rb.jpg,land\r",
    "the end of a file of DOS": "image,labels\r\na.jpg,sky;sea\r\nb.jpg,land\r\n\x1a",
    "texts as formulas": 'image,labels\n"=""a.jpg""",sky;sea\nb.jpg,"=""land"""\n',
    "escaped carriage returns (openpyxl)": 'image,labels\na.jpg,"sky;_x000D_\nsea"\nb.jpg,land_x000D_\n',
    "a name on each line of a cell (Alt+Enter)": 'image,labels\na.jpg,"sky\nsea"\nb.jpg,"land\n"\n',
    "zero-width and bidirectional characters": "image,la\u200bbels\n"
    "\u202aa.jpg,s\u200bky;\ufeffsea\nb.jpg,\u2060land\u200e\n",
    "no-break spaces (web tables)": "image,labels\na.jpg\u00a0,\u00a0sky;sea\nb.jpg,land\n",
    "copied as path (Windows Explorer)": 'image,labels\n"""a.jpg""",sky;sea\n\u202ab.jpg,land\n',
}


@pytest.mark.parametrize("case", TOLERATED_CSV)
def test_unambiguous_csv_variants_are_read(write, case):
    assert read_rows(write(TOLERATED_CSV[case], "list.csv")) == EXPECTED


A, B = '{"image": "a.jpg", "labels": ["sky", "sea"]}', '{"image": "b.jpg", "labels": ["land"], "tags": null}'
TOLERATED_JSON = {
    "null for what is not given (pandas)": f"{A}\n{B}\n",
    "an array of objects": f"[\n{A},\n{B}\n]\n",
    "an array in one line": f"[{A},{B}]",
    "objects over several lines (jq)": "\n".join(json.dumps(json.loads(row), indent=2) for row in (A, B)),
    "commas at the end of lines": f"{A},\n{B},\n",
    "UTF-16 with its mark (PowerShell)": f"{A}\r\n{B}\r\n".encode("utf-16"),
    "files put together, with a mark within": b"\xef\xbb\xbf" + A.encode() + b"\n\xef\xbb\xbf" + B.encode(),
    "line ends of an old Mac": f"{A}\r{B}\r",
    "zero-width characters": f"{A}\n{B}".replace("sky", "s\u200bk\u00ady").replace("a.jpg", "a.jpg\ufeff"),
}


@pytest.mark.parametrize("case", TOLERATED_JSON)
def test_unambiguous_json_variants_are_read(write, case):
    assert read_rows(write(TOLERATED_JSON[case], "list.json")) == EXPECTED


def test_manifest_entries_keep_their_line_numbers(write):
    table = 'sep=,\nimage,labels\n\na.jpg,"sky\nsea"\n,\nb.jpg,land\n'
    assert [entry.line for entry in manifest_file.read(write(table, "list.csv"))] == [4, 7]
    array = f"[\n{A},\n\n{B}\n]\n"
    assert [entry.line for entry in manifest_file.read(write(array, "list.json"))] == [2, 4]


def test_manifests_written_by_pandas_are_read(write, folder):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {"image": ["a.jpg", "b.jpg"], "labels": [["sky", "sea"], ["land"]], "tags": [["x"], None]}
    )
    for name, save in (
        ("list.csv", frame.to_csv),
        ("list.csv", lambda path: frame.to_csv(path, index=False)),
    ):
        save(folder / name)
        assert read_rows(folder / name) == EXPECTED
    for arguments in ({"orient": "records", "lines": True}, {"orient": "records"}):
        frame.to_json(folder / "list.json", **arguments)
        assert read_rows(folder / "list.json") == EXPECTED
    frame.to_json(folder / "list.json")
    assert "to_json(orient='records', lines=True)" in error_message(manifest_file.read, folder / "list.json")


@pytest.mark.parametrize(("on_disk", "written"), [(NFC, NFD), (NFD, NFC), (NFC, NFC), (NFD, NFD)])
def test_file_names_match_in_composed_and_decomposed_unicode(write, folder, on_disk, written):
    (folder / f"é{on_disk}").mkdir()
    (folder / f"é{on_disk}" / on_disk).write_bytes(b"x")
    (entry,) = manifest_file.read(write(f"image,labels\né{written}/{written},sky\n", "list.csv"))
    assert entry.image.read_bytes() == b"x"
    assert entry.id == f"é{written}/{written}"  # unchanged, because the split of a row depends on its id


@pytest.mark.parametrize(
    "given", ["file://{}/my%20photo.jpg", " {}/my photo.jpg ", "'{}/my photo.jpg'", "./sub/../my photo.jpg"]
)
def test_copied_paths_and_file_urls_are_resolved(write, folder, given):
    row = json.dumps({"image": given.format(folder), "labels": ["sky"]})
    (entry,) = manifest_file.read(write(row, "list.jsonl"))
    assert entry.image.resolve() == (folder / "my photo.jpg").resolve()


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("SUB/img_1.jpg", "; there is 'sub/IMG_1.JPG'"),
        ("sub\\IMG_1.JPG", "; there is 'sub/IMG_1.JPG' (/ separates folders)"),
        ("C:\\Users\\me\\photos\\sub\\img_1.JPG", "; there is 'sub/IMG_1.JPG' (/ separates folders)"),
        ("D:/photos/A.jpg", "; there is 'a.jpg' (/ separates folders)"),
        ("\\\\server\\share\\b.jpg", "; there is 'b.jpg' (/ separates folders)"),
        (
            "C:\\elsewhere\\z.jpg",
            "; it is a path of Windows: write paths from the folder of the list, with /",
        ),
        ("my%20photo.jpg", "; there is 'my photo.jpg'"),
        ("c.jpg", "; there is 'c.jpeg'"),
        ("c", "; there is 'c.jpeg'"),
        ("/home/someone/photos/a.jpg", "; there is 'a.jpg'"),
        ("z.jpg", ""),
        ("a\0.jpg", ""),
        ("x" * 5000, ""),
    ],
)
def test_missing_image_file_is_an_error_with_a_suggestion(write, folder, given, hint):
    path = write(json.dumps({"image": given, "labels": ["sky"]}), "list.jsonl")
    assert (
        error_message(manifest_file.read, path)
        == f"{path}:1: image: no such file: {given!r} in {folder}{hint}"
    )


def test_missing_image_in_the_home_folder_is_suggested(write, folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder))
    assert image_paths.suggest_image(folder / "sub", "~/a.jpg") == f"; there is '{folder / 'a.jpg'}'"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("image;labels\na.jpg;sky\n", "or write sep=; in a line before the header"),
        ("image|labels\na.jpg|sky\n", "expected commas between cells, got vertical bars"),
        ("image,labels,\na.jpg,sky,sea\n", "column 3 has no name, but contains 'sea': name or delete it"),
        (",image,labels\nx,a.jpg,sky\n", "column 1 has no name, but contains 'x'"),
        ("image,labels,tags\na.jpg\n", "expected 3 cells as in the header, got 1"),
        (b"PK\x03\x04\x14\x00\x06\x00", "got a workbook (or zip file): save it as"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "got an Excel workbook: save it as"),
        ("image,labels\n".encode("utf-16-le"), "got UTF-16: save it as"),
        (b"\xff\xfei\x00m\x00a", "got damaged UTF-16: save it as"),
    ],
)
def test_ambiguous_csv_variants_are_refused_with_a_hint(write, content, expected):
    assert expected in error_message(manifest_file.read, write(content, "list.csv"))


TOLERATED_NAMES = {
    "a sep= line": "sep=;\nsky\nbig sea\n",
    "quotes of a cell with a comma": '"sky"\nbig sea\n',
    "empty columns behind": "sky,,\nbig sea,,\n",
    "empty columns behind, in another region": "sky;\r\n;\r\nbig sea;\r\n",
    "line ends of an old Mac": "sky\rbig sea\r",
    "UTF-16 with its mark (Notepad)": "sky\r\nbig sea\r\n".encode("utf-16"),
    "UTF-32 with its mark": "sky\nbig sea\n".encode("utf-32"),
    "zero-width characters and tabs": "s\u200bky\t\n\u200b\n\ufeffbig\u00a0 sea\u200d\n",
    "the end of a file of DOS": "sky\r\nbig sea\r\n\x1a",
}


@pytest.mark.parametrize("case", TOLERATED_NAMES)
def test_unambiguous_vocabulary_variants_are_read(write, case):
    path = write(TOLERATED_NAMES[case], "labels.txt")
    assert text.read_names(path, text.normalise_label) == ("sky", "big sea")


def test_quoted_vocabulary_name_keeps_its_comma_and_quotes(write):
    path = write('"a, b"\n"the ""best"""\n6" nails\n', "labels.txt")
    assert text.read_names(path, text.normalise_label) == ("a, b", 'the "best"', '6" nails')


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("sky,sea,land\n", "expected one name per line, got all in one line, with ',' between"),
        ("sky|sea|land", "got all in one line, with '|' between"),
        ("0,sky\n1,sea\n", "got a number and ',' before each: delete the column of numbers"),
        (",label\n0,sky\n1,sea\n", "got a number and ',' before each"),
        ("1\tsky\n2\tsea\n", "got a number and '\\t' before each"),
        (b"PK\x03\x04", "expected UTF-8 text, got a workbook"),
    ],
)
def test_table_as_vocabulary_is_refused_with_a_hint(write, content, expected):
    assert expected in error_message(text.read_names, write(content, "labels.txt"), text.normalise_label)


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("soft\u00adhyphen", "softhyphen"),
        ("\u200fbidi\u200e", "bidi"),
        ("می\u200cخواهم", "می\u200cخواهم"),  # Persian needs this joiner
        ("👩\u200d🔬", "👩\u200d🔬"),
        ("sea\u200d", "sea"),
        ("s\u200cky", "sky"),
        ("a\x07b", "ab"),
    ],
)
def test_invisible_characters_are_removed_from_names(name, label):
    assert text.normalise_label(name) == label
    assert text.normalise_tag(name) == text.normalise_tag(label)
