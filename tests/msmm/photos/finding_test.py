import io
import os

import pytest

from msmm.core.errors import UserError
from msmm.photos.finding import Finder

JPEG = b"\xff\xd8\xff\xe0 and so on"


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Files by name; the current directory is that of the test."""
    monkeypatch.chdir(tmp_path)

    def make(**files):
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    make(**{"b/two.JPG": JPEG, "a.png": b"", "b/one.jpg": JPEG, "b/notes.txt": b"x", "b/c/three.tif": b"II"})
    return make


def found(*paths, listed=b""):
    return [path for path, cause in Finder(paths, io.BytesIO(listed)) if cause is None]


def causes(*paths, listed=b""):
    return {path: cause for path, cause in Finder(paths, io.BytesIO(listed)) if cause}


def test_a_folder_is_searched_to_its_ground_in_the_order_of_names(tree):
    assert found(".") == ["./a.png", "./b/one.jpg", "./b/two.JPG", "./b/c/three.tif"]
    assert found("b/") == found("b") == ["b/one.jpg", "b/two.JPG", "b/c/three.tif"]


def test_hidden_files_and_folders_are_left_out_of_folders_but_not_by_name(tree):
    tree(**{".trash/x.jpg": JPEG, "b/._one.jpg": b"\0\5\x16\7"})
    assert found("b", ".") == found("b") + ["./a.png"]
    assert found(".trash") == [".trash/x.jpg"]


def test_a_photograph_under_another_name_is_known_by_its_content(tree):
    tree(**{"d/IMG_1": JPEG, "d/x.dat": b"\x89PNG\r\n\x1a\n", "d/y.bin": b"RIFF\0\0\0\0WEBP",
            "d/film.avi": b"RIFF\0\0\0\0AVI ", "d/scan.raw": b"II*\0"})  # fmt: skip
    assert found("d") == ["d/IMG_1", "d/x.dat", "d/y.bin"]


def test_a_format_that_is_not_read_is_said(tree):
    tree(**{"d/IMG.HEIC": b"x", "d/raw.cr2": b"II*\0"})
    assert found("d") == []
    assert causes("d") == {
        "d/IMG.HEIC": ".heic is not read: export it as JPEG",
        "d/raw.cr2": ".cr2 is not read: export it as JPEG",
    }


def test_globs(tree):
    assert found("b/*.jpg") == ["b/one.jpg"]
    assert found("**/*.[jJ][pP][gG]") == ["b/one.jpg", "b/two.JPG"]
    tree(**{"odd[1].jpg": JPEG})
    assert found("odd[1].jpg") == ["odd[1].jpg"]  # a name before it is a pattern


@pytest.mark.parametrize("ended_by", [b"\n", b"\r\n", b"\0"])
def test_a_list_on_standard_input(tree, ended_by):
    names = [b"b/one.jpg", b"a.png", b"gone.jpg", "b/ü \n.jpg".encode() if ended_by == b"\0" else b"b/c"]
    tree(**{os.fsdecode(names[3]): JPEG} if ended_by == b"\0" else {})
    last = os.fsdecode(names[3]) if ended_by == b"\0" else "b/c/three.tif"
    for listed in (ended_by.join(names), ended_by.join(names) + ended_by):
        assert found("-", listed=listed) == ["b/one.jpg", "a.png", last]
        assert causes("-", listed=listed) == {"gone.jpg": "missing file"}


def test_a_nul_in_a_list_of_lines_is_no_files_name(tree):
    listed = b"b/one.jpg\n" * 10_000 + b"a\0.png\n"  # after the first block
    assert found("-", listed=listed) == ["b/one.jpg"]
    assert causes("-", listed=listed) == {"a\0.png": "missing file"}


def test_every_photograph_comes_once(tree):
    os.symlink("one.jpg", "b/link.jpg")
    assert found("b/one.jpg", "./b/one.jpg", "b", "b/*.jpg") == ["b/one.jpg", "b/two.JPG", "b/c/three.tif"]


def test_loops_of_links_end(tree, tmp_path):
    os.symlink("..", "b/c/up")
    os.symlink(tmp_path, "b/round")
    os.symlink("self.jpg", "b/self.jpg")
    os.symlink("nothing.jpg", "b/broken.jpg")
    assert sorted(found(".")) == ["./a.png", "./b/c/three.tif", "./b/one.jpg", "./b/two.JPG"]
    said = causes(".")
    assert said["./b/broken.jpg"] == "missing file"
    assert said["./b/self.jpg"].startswith("unreadable file (")


def test_a_folder_of_links_brings_what_they_lead_to(tree, tmp_path):
    (tmp_path / "album").mkdir()
    os.symlink("../b/one.jpg", "album/best.jpg")
    os.symlink("../b/c", "album/more")
    assert found("album") == ["album/best.jpg", "album/more/three.tif"]


def test_a_pipe_is_not_waited_for(tree):
    os.mkfifo("b/pipe.jpg")
    assert "b/pipe.jpg" not in found("b") and causes("b/pipe.jpg") == {"b/pipe.jpg": "not a file"}


def test_a_path_that_is_not_there_is_said_before_anything_is_done(tree):
    with pytest.raises(UserError, match=r"no such file or folder: 'x\*\.jpg'"):
        Finder(["b", "x*.jpg"], io.BytesIO())
