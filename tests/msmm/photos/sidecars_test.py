import os
import stat

import pytest

from msmm.core.files import lock
from msmm.photos import sidecars, xmp, xmp_merging
from msmm.photos.keywords import Keywords


def write(photo, *labels, keywords=()):
    return sidecars.write_labels(str(photo), keywords, labels, "model 1", str.casefold)


def packet(*subjects) -> bytes:
    """Returns a packet that another program wrote."""
    return xmp_merging.merge_keywords(None, subjects, [], "", str).replace(
        b"urn:x-msmm:annotate/", b"urn:other/"
    )


@pytest.mark.parametrize(
    ("existing", "written"),
    [
        ([], "a.jpg.xmp"),
        (["a.jpg.xmp"], "a.jpg.xmp"),
        (["a.xmp"], "a.xmp"),
        (["a.XMP"], "a.XMP"),
        (["a.xmp", "a.jpg.xmp"], "a.jpg.xmp"),
        (["a.xmp", "a.cr2"], "a.jpg.xmp"),  # it may belong to the raw file
        (["a.xmp", "a.txt"], "a.xmp"),
    ],
)
@pytest.mark.parametrize("photo", ["a.jpg", "a.dat"])
def test_sidecar_file_is_chosen_by_the_existing_files(tmp_path, photo, existing, written):
    existing = [name.replace("a.jpg", photo) for name in existing]
    written = written.replace("a.jpg", photo)
    (tmp_path / photo).write_bytes(b"")
    for name in existing:
        (tmp_path / name).write_bytes(packet("Rome") if name.lower().endswith("xmp") else b"")
    before = {name: (tmp_path / name).read_bytes() for name in existing}
    assert write(tmp_path / photo, "sky") == str(tmp_path / written)
    new = (tmp_path / written).read_bytes()
    assert xmp.parse(new).subjects == (["Rome", "sky"] if written in existing else ["sky"])
    assert {name: (tmp_path / name).read_bytes() for name in existing if name != written} == {
        name: content for name, content in before.items() if name != written
    }
    assert sorted(os.listdir(tmp_path)) == sorted({photo, *existing, written})


@pytest.mark.parametrize(
    ("photo", "existing", "written"),
    [
        ("a.raf", [], "a.xmp"),  # as Lightroom names it, and darktable reads it
        ("a.CR2", [], "a.xmp"),
        ("a.raf", ["a.raf.xmp"], "a.raf.xmp"),  # darktable's and digiKam's
        ("a.raf", ["a.XMP"], "a.XMP"),
        ("a.raf", ["a.xmp", "a.raf.xmp"], "a.raf.xmp"),
        ("a.raf", ["a.jpg"], "a.xmp"),  # the camera's JPEG beside it
        ("a.raf", ["a.jpg", "a.xmp"], "a.xmp"),
        ("a.jpg", ["a.raf"], "a.jpg.xmp"),
        ("a.raf", ["a.nef"], "a.raf.xmp"),  # two that would share it
        ("a.raf", ["a.nef", "a.xmp"], "a.raf.xmp"),
        ("a.raf", ["a.dng"], "a.xmp"),  # Lightroom writes into DNG files themselves
        ("a.dng", [], "a.dng.xmp"),
        ("a.dng", ["a.xmp"], "a.xmp"),
        ("a.dng", ["a.raf", "a.xmp"], "a.dng.xmp"),
        ("a.heic", [], "a.heic.xmp"),
        ("a.heic", ["a.jpg", "a.xmp"], "a.heic.xmp"),
        ("a.heic", ["a.xmp"], "a.xmp"),
    ],
)
def test_sidecar_of_a_raw_file_is_named_as_programs_expect(tmp_path, photo, existing, written):
    for name in (photo, *existing):
        (tmp_path / name).write_bytes(packet("Rome") if name.lower().endswith("xmp") else b"")
    assert write(tmp_path / photo, "sky") == str(tmp_path / written)
    assert sorted(os.listdir(tmp_path)) == sorted({photo, *existing, written})
    assert sidecars.find_annotator(str(tmp_path / photo)) == "model 1"


def test_a_sidecar_that_darktable_made_of_ours_is_not_annotated_again(tmp_path):
    photo = str(tmp_path / "a.raf")
    (tmp_path / "a.raf").write_bytes(b"")
    (tmp_path / "a.jpg").write_bytes(b"")
    write(photo, "sky")
    (tmp_path / "a.raf.xmp").write_bytes(packet("sky"))
    assert sidecars.find_annotator(photo) == "model 1"
    assert sidecars.find_annotator(str(tmp_path / "a.jpg")) is None  # whose sidecar a.xmp is not
    assert sidecars.read_sidecars(photo) == (Keywords(("sky",)), ["sky"])
    assert sidecars.read_sidecars(str(tmp_path / "a.jpg")) == (Keywords(), [])
    (tmp_path / "a.xmp").write_bytes(b"broken")
    assert sidecars.find_annotator(photo) is None


def test_keywords_of_both_sidecars_are_read_and_added_labels_are_recognised(tmp_path):
    (tmp_path / "a.xmp").write_bytes(packet("Rome"))
    (tmp_path / "a.jpg.xmp").write_bytes(packet("Nikon"))
    photo = str(tmp_path / "a.jpg")
    assert sidecars.find_annotator(photo) is None
    write(photo, "sky")
    assert sidecars.read_sidecars(photo) == (Keywords(("Nikon", "sky", "Rome")), ["sky"])
    assert sidecars.find_annotator(photo) == "model 1"


def test_a_sidecar_keeps_its_permissions_and_symbolic_link(tmp_path):
    real = tmp_path / "elsewhere.xmp"
    real.write_bytes(packet("Rome"))
    real.chmod(0o640)
    (tmp_path / "a.jpg.xmp").symlink_to(real)
    write(tmp_path / "a.jpg", "sky")
    assert (tmp_path / "a.jpg.xmp").is_symlink() and xmp.parse(real.read_bytes()).subjects == ["Rome", "sky"]
    assert stat.S_IMODE(real.stat().st_mode) == 0o640


@pytest.mark.parametrize("content", [b"no XML", packet("Rome")[:-40], b"<!DOCTYPE x []>" + packet("a")])
def test_an_invalid_sidecar_is_left_unchanged(tmp_path, content):
    (tmp_path / "a.jpg.xmp").write_bytes(content)
    with pytest.raises(sidecars.CannotWrite, match="in its sidecar"):
        sidecars.find_annotator(str(tmp_path / "a.jpg"))
    with pytest.raises(sidecars.CannotWrite, match="in its sidecar"):
        write(tmp_path / "a.jpg", "sky")
    assert (tmp_path / "a.jpg.xmp").read_bytes() == content
    assert os.listdir(tmp_path) == ["a.jpg.xmp"]


@pytest.mark.parametrize("content", [b"", bytes(4096), b"\xef\xbb\xbf\r\n"], ids=["empty", "zeros", "mark"])
def test_a_sidecar_that_a_crash_left_blank_counts_as_none(tmp_path, content):
    """A full disk, a crash or a program of synchronisation leaves such files; they hold nothing to lose."""
    photo, sidecar = str(tmp_path / "a.jpg"), tmp_path / "a.jpg.xmp"
    sidecar.write_bytes(content)
    assert sidecars.find_annotator(photo) is None and sidecars.read_sidecars(photo) == (Keywords(), [])
    write(photo, "sky", keywords=["Rome"])
    assert xmp.parse(sidecar.read_bytes()).subjects == ["Rome", "sky"]
    assert sidecars.find_annotator(photo) == "model 1"
    assert sidecars.remove_labels(photo, str.casefold) == ["sky"] and not sidecar.exists()


def test_a_sidecar_linked_to_its_photograph_does_not_overwrite_the_photograph(tmp_path, photo):
    path = photo("a.jpg")
    before = path.read_bytes()
    (tmp_path / "a.jpg.xmp").symlink_to("a.jpg")
    with pytest.raises(sidecars.CannotWrite):
        write(path, "sky")
    assert path.read_bytes() == before


def test_a_folder_named_like_a_sidecar_is_reported(tmp_path):
    (tmp_path / "a.jpg.xmp").mkdir()
    with pytest.raises(sidecars.CannotWrite, match="unreadable sidecar"):
        sidecars.find_annotator(str(tmp_path / "a.jpg"))
    with pytest.raises(sidecars.CannotWrite):
        write(tmp_path / "a.jpg", "sky")


def test_a_sidecar_locked_by_another_process_is_not_written(tmp_path):
    """Two processes that write `a.jpg.xmp.partial` at once could rename a mixed file."""
    with open(tmp_path / "a.jpg.xmp.partial", "ab") as partial:
        assert lock(partial.fileno())
        partial.write(b"half of")
        partial.flush()
        with pytest.raises(sidecars.CannotWrite, match="another process writes its sidecar"):
            write(tmp_path / "a.jpg", "sky")
    assert (tmp_path / "a.jpg.xmp.partial").read_bytes() == b"half of"
    assert os.listdir(tmp_path) == ["a.jpg.xmp.partial"]


def test_the_partial_sidecar_of_a_killed_process_is_overwritten(tmp_path):
    (tmp_path / "a.jpg.xmp.partial").write_bytes(b"half of a much longer packet" * 1000)
    write(tmp_path / "a.jpg", "sky")
    assert os.listdir(tmp_path) == ["a.jpg.xmp"]
    assert xmp.parse((tmp_path / "a.jpg.xmp").read_bytes()).subjects == ["sky"]


def test_a_broken_sidecar_leaves_no_partial_file(tmp_path):
    (tmp_path / "a.jpg.xmp").write_bytes(b"<x")
    with pytest.raises(sidecars.CannotWrite):
        write(tmp_path / "a.jpg", "sky")
    assert os.listdir(tmp_path) == ["a.jpg.xmp"]


def test_a_name_too_long_for_a_sidecar_is_reported(tmp_path):
    with pytest.raises(sidecars.CannotWrite, match="File name too long"):
        write(tmp_path / f"{'日' * 80}.jpg", "sky")  # 244 bytes, before .xmp.partial is appended
