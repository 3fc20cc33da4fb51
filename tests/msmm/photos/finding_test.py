import io
import os

import pytest

from msmm.core.errors import UserError
from msmm.core.photo_files import CACHE_SIGNATURE
from msmm.photos.finding import Finder
from tests.msmm.core.packages import without_packages  # noqa: F401 - a fixture
from tests.msmm.core.photo_files_test import NO_HEIC, NO_RAW

JPEG = b"\xff\xd8\xff\xe0 and so on"


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Returns a function that writes files by name; the current directory is tmp_path."""
    monkeypatch.chdir(tmp_path)

    def make(**files):
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    make(**{"b/two.JPG": JPEG, "a.png": b"", "b/one.jpg": JPEG, "b/notes.txt": b"x", "b/c/three.tif": b"II"})
    return make


def find_paths(*paths, listed=b""):
    return [path for path, cause in Finder(paths, io.BytesIO(listed)) if cause is None]


def find_causes(*paths, listed=b""):
    return {path: cause for path, cause in Finder(paths, io.BytesIO(listed)) if cause}


def test_folders_are_searched_recursively_in_the_order_of_names(tree):
    assert find_paths(".") == ["./a.png", "./b/one.jpg", "./b/two.JPG", "./b/c/three.tif"]
    assert find_paths("b/") == find_paths("b") == ["b/one.jpg", "b/two.JPG", "b/c/three.tif"]


def test_hidden_files_and_folders_are_left_out_unless_named(tree):
    tree(**{".trash/x.jpg": JPEG, "b/._one.jpg": b"\0\5\x16\7"})
    assert find_paths("b", ".") == find_paths("b") + ["./a.png"]
    assert find_paths(".trash") == [".trash/x.jpg"]


def test_photographs_with_other_extensions_are_found_by_content(tree):
    tree(**{"d/IMG_1": JPEG, "d/x.dat": b"\x89PNG\r\n\x1a\n", "d/y.bin": b"RIFF\0\0\0\0WEBP",
            "d/film.avi": b"RIFF\0\0\0\0AVI ", "d/scan.raw": b"II*\0"})  # fmt: skip
    assert find_paths("d") == ["d/IMG_1", "d/x.dat", "d/y.bin"]


def test_a_format_that_is_not_read_is_reported(tree, without_packages):  # noqa: F811
    tree(**{"d/IMG.HEIC": b"x", "d/raw.cr2": b"II*\0", "d/a.psd": b"8BPS\0\1"})
    assert find_paths("d") == []
    assert find_causes("d") == {
        "d/IMG.HEIC": NO_HEIC,
        "d/raw.cr2": NO_RAW,
        "d/a.psd": ".psd is not read: export it as JPEG",
    }


def find_left_out(*paths, exclude=(), listed=b""):
    """Returns the paths found and the counts of what was left out."""
    finder = Finder(paths, io.BytesIO(listed), exclude)
    return [path for path, _ in finder], dict(+finder.left_out)


def test_file_content_overrides_the_extension_in_a_folder(tree, without_packages):  # noqa: F811
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
    tree(**{"d/IMG_1.heic": JPEG, "d/IMG_2": heic, "d/IMG_3.dng": JPEG, "d/film.mov": b"\0\0\0\x14ftypqt  "})
    assert find_paths("d") == ["d/IMG_1.heic", "d/IMG_3.dng"]
    assert find_causes("d") == {"d/IMG_2": NO_HEIC}


def test_videos_are_left_out_and_counted_unless_named(tree):
    film = b"\0\0\0\x14ftypqt  "
    tree(**{"d/a.jpg": JPEG, "d/a.mov": film, "d/e/b.MP4": b"", "d/PXL_1.MP": b"\0\0\0\x14ftypisom",
            "d/c.mov": JPEG, "d/.hidden.mov": film, "d/x.mov.part": film})  # fmt: skip
    os.mkfifo("d/pipe.mp4")  # which nobody writes to
    assert find_left_out("d") == (["d/a.jpg", "d/c.mov"], {"videos": 3})
    assert find_left_out("d/*.[jm]*")[0] == ["d/a.jpg", "d/c.mov", "d/pipe.mp4"]
    assert find_left_out("-", listed=b"d/a.jpg\nd/a.mov") == (["d/a.jpg"], {"videos": 1})
    assert find_left_out("d", exclude=["*.MP4"])[1] == {"videos": 2, "by --exclude": 1}
    assert find_causes("d/a.mov") == {"d/a.mov": "videos are not annotated"}


LEFTOVERS = (
    "a.jpg_original",
    "a.jpg~",
    "a.jpg.bak",
    "a.jpg (copy)",
    "a (copy).jpg",
    "a - Kopie.jpg",
    "a(1).jpg",
)


def test_backup_copies_are_left_out_and_counted(tree):
    tree(**{f"d/{name}": JPEG for name in ("a.jpg", *LEFTOVERS)})
    tree(**{"d/b (copy).jpg": JPEG, "d/a copy.jpg": JPEG + b"edited", "d/notes.bak": b"text"})
    expected = ["d/a copy.jpg", "d/a.jpg", "d/b (copy).jpg"]  # an edited copy, and one without its original
    assert find_left_out("d") == (expected, {"backup copies": len(LEFTOVERS)})
    assert find_left_out("d/*.jpg*")[0] == sorted(expected)
    listed = "\n".join(f"d/{name}" for name in ("a.jpg", *LEFTOVERS)).encode()
    assert find_left_out("-", listed=listed) == (["d/a.jpg"], {"backup copies": len(LEFTOVERS)})
    # A copy that is named explicitly is found.
    assert find_paths("d/a.jpg~") == ["d/a.jpg~"] and find_paths("d/*.jpg_original") == ["d/a.jpg_original"]


PROGRAM_FOLDERS = {
    "@eaDir/a.jpg/SYNOPHOTO_THUMB_XL.jpg": "folders of Synology",
    "#recycle/a.jpg": "folders of Synology",
    ".thumbnails/a.jpg": "folders of thumbnails",
    "Thumbs/a.jpg": "folders of thumbnails",
    ".stversions/a.jpg": "folders of Syncthing",
    "Catalog Previews.lrdata/0/a.jpg": "folders of Lightroom",
    "Photos Library.photoslibrary/originals/0/a.jpg": "folders of Apple Photos",
    "mipmaps-01ab.d/3/7.jpg": "folders of darktable",
    ".picasaoriginals/a.jpg": "folders of Picasa",
    "appdata_oc1a2b3c/preview/a.jpg": "folders of Nextcloud",
    "$RECYCLE.BIN/$R0.jpg": "folders of a recycle bin",
    "__MACOSX/a.jpg": "folders of macOS",
    ".hidden/a.jpg": "hidden folders",
    ".a.jpg": "hidden files",
    ".a.heic.icloud": "photographs that iCloud has not downloaded",
    "program/a.jpg": "cache folders",
}


@pytest.mark.parametrize("name", PROGRAM_FOLDERS)
def test_folders_of_other_programs_are_left_out_and_counted(tree, name):
    tree(**{f"d/{name}": JPEG, "d/a.jpg": JPEG, "d/program/CACHEDIR.TAG": CACHE_SIGNATURE + b"\n#"})
    if name != "program/a.jpg":
        os.remove("d/program/CACHEDIR.TAG")
    assert find_left_out("d") == (["d/a.jpg"], {PROGRAM_FOLDERS[name]: 1})
    assert find_paths(f"d/{name}") == [f"d/{name}"]


def test_globs_and_lists_leave_out_the_same_folders(tree):
    tree(**{"d/@eaDir/a.jpg/x.jpg": JPEG, "d/e/Thumbs/b.jpg": JPEG, "d/a.jpg": JPEG})
    counts = {"files in folders of Synology": 1, "files in folders of thumbnails": 1}
    assert find_left_out("d/**/*.jpg")[0] == ["d/a.jpg"]
    assert find_left_out("-", listed=b"d/a.jpg\nd/@eaDir/a.jpg/x.jpg\nd/e/Thumbs/b.jpg") == (
        ["d/a.jpg"],
        counts,
    )
    assert find_paths("d/@eaDir/*/*.jpg") == ["d/@eaDir/a.jpg/x.jpg"]  # named by the glob itself


def test_originals_of_a_named_photo_library_are_found(tree):
    library = "d/Photos Library.photoslibrary"
    tree(**{f"{library}/{name}/a.jpg": JPEG for name in ("originals/0", "resources/derivatives", "database")})
    assert find_left_out(library) == ([f"{library}/originals/0/a.jpg"], {"folders of Apple Photos": 2})


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.png", ["d/a.jpg", "d/s/b.jpg", "d/é/c.jpg"]),
        ("s", ["d/a.jpg", "d/a.png", "d/é/c.jpg"]),
        ("s/", ["d/a.jpg", "d/a.png", "d/é/c.jpg"]),
        ("a.jpg/", ["d/a.jpg", "d/a.png", "d/s/b.jpg", "d/é/c.jpg"]),  # not a folder
        ("d/s", ["d/a.jpg", "d/a.png", "d/é/c.jpg"]),
        ("s/*.jpg", ["d/a.jpg", "d/a.png", "d/é/c.jpg"]),
        ("[a-b].*", ["d/é/c.jpg"]),
        ("e\u0301", ["d/a.jpg", "d/a.png", "d/s/b.jpg"]),  # as macOS writes é
        ("A.JPG", ["d/a.jpg", "d/a.png", "d/s/b.jpg", "d/é/c.jpg"]),
        ("*", []),
    ],
)
def test_exclude_patterns(tree, pattern, expected):
    tree(**dict.fromkeys(("d/a.jpg", "d/a.png", "d/s/b.jpg", "d/é/c.jpg"), JPEG))
    finder = Finder(["d"], io.BytesIO(), [pattern])
    assert [path for path, _ in finder] == expected
    assert (finder.left_out["by --exclude"] > 0) == (len(expected) < 4)
    assert ("matches nothing" in finder.describe_left_out()) == (len(expected) == 4)


def test_exclude_applies_to_named_files_globs_and_lists(tree):
    tree(**dict.fromkeys(("d/a.jpg", "d/b.jpg"), JPEG))
    for paths, listed in ((["d/a.jpg", "d/b.jpg"], b""), (["d/*"], b""), (["-"], b"d/a.jpg\nd/b.jpg")):
        assert find_left_out(*paths, listed=listed, exclude=["b.*"]) == (["d/a.jpg"], {"by --exclude": 1})


def test_closed_standard_input_is_an_empty_list(tree):
    assert list(Finder(["-", "a.png"], None)) == [("a.png", None)]


def test_an_empty_exclude_is_refused():
    for pattern in ("", "/"):
        with pytest.raises(UserError, match="expected a glob in --exclude"):
            Finder(["."], io.BytesIO(), [pattern])


def test_left_out_files_are_described_in_one_line(tree):
    tree(**{"d/@eaDir/x.jpg": JPEG, "d/a.jpg": JPEG, "d/a.jpg~": JPEG})
    finder = Finder(["d"], io.BytesIO(), ["*.gif"])
    list(finder)
    line = "left out: backup copies: 1, folders of Synology: 1; --exclude=*.gif matches nothing"
    assert finder.describe_left_out() == line


def test_globs_are_expanded(tree):
    assert find_paths("b/*.jpg") == ["b/one.jpg"]
    assert find_paths("**/*.[jJ][pP][gG]") == ["b/one.jpg", "b/two.JPG"]
    tree(**{"odd[1].jpg": JPEG})
    assert find_paths("odd[1].jpg") == ["odd[1].jpg"]  # an existing file before a pattern


@pytest.mark.parametrize("separator", [b"\n", b"\r\n", b"\0"])
def test_a_list_of_paths_on_standard_input_is_read(tree, separator):
    names = [b"b/one.jpg", b"a.png", b"gone.jpg", "b/ü \n.jpg".encode() if separator == b"\0" else b"b/c"]
    tree(**{os.fsdecode(names[3]): JPEG} if separator == b"\0" else {})
    last = os.fsdecode(names[3]) if separator == b"\0" else "b/c/three.tif"
    for listed in (separator.join(names), separator.join(names) + separator):
        assert find_paths("-", listed=listed) == ["b/one.jpg", "a.png", last]
        assert find_causes("-", listed=listed) == {"gone.jpg": "missing file"}


def test_a_path_with_nul_in_a_list_is_reported_missing(tree):
    listed = b"b/one.jpg\n" * 10_000 + b"a\0.png\n"  # after the first block
    assert find_paths("-", listed=listed) == ["b/one.jpg"]
    assert find_causes("-", listed=listed) == {"a\0.png": "missing file"}


def test_every_photograph_is_found_once(tree):
    os.symlink("one.jpg", "b/link.jpg")
    assert find_paths("b/one.jpg", "./b/one.jpg", "b", "b/*.jpg") == [
        "b/one.jpg",
        "b/two.JPG",
        "b/c/three.tif",
    ]


def test_loops_of_symbolic_links_end(tree, tmp_path):
    os.symlink("..", "b/c/up")
    os.symlink(tmp_path, "b/round")
    os.symlink("self.jpg", "b/self.jpg")
    os.symlink("nothing.jpg", "b/broken.jpg")
    assert sorted(find_paths(".")) == ["./a.png", "./b/c/three.tif", "./b/one.jpg", "./b/two.JPG"]
    reported = find_causes(".")
    assert reported["./b/broken.jpg"] == "missing file"
    assert reported["./b/self.jpg"].startswith("unreadable file (")


def test_symbolic_links_in_a_folder_are_followed(tree, tmp_path):
    (tmp_path / "album").mkdir()
    os.symlink("../b/one.jpg", "album/best.jpg")
    os.symlink("../b/c", "album/more")
    assert find_paths("album") == ["album/best.jpg", "album/more/three.tif"]


def test_a_named_pipe_is_reported_and_not_opened(tree):
    os.mkfifo("b/pipe.jpg")
    assert "b/pipe.jpg" not in find_paths("b") and find_causes("b/pipe.jpg") == {"b/pipe.jpg": "not a file"}


def test_a_missing_path_is_refused_at_once(tree):
    with pytest.raises(UserError, match=r"no such file or folder: 'x\*\.jpg'"):
        Finder(["b", "x*.jpg"], io.BytesIO())
