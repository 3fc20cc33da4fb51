"""Keywords of one photograph: levels of hierarchies, places where they are, and those that msmm wrote."""

import pytest

from msmm.core.text import normalise_tag
from msmm.photos import sidecars
from msmm.photos.keywords import Keywords
from tests.msmm.photos.metadata_test import bag, iptc, jpeg, packet, resources, segment, xmp_segment
from tfrecords_tools.library.photos import read_library_photo, split_levels


@pytest.mark.parametrize(
    ("words", "paths", "leaves", "upper"),
    [
        (["dog"], [], ["dog"], []),
        # Lightroom and darktable write the levels above a keyword as keywords, too.
        (
            ["Nature", "Animals", "dog"],
            [("Nature", "Animals", "dog")],
            ["dog"],
            ["Nature", "Animals"],
        ),
        (["dog"], [("Animals",), ("Animals", "dog")], ["dog"], ["Animals"]),
        ([], [("Animals",)], ["Animals"], []),
        (["Nature|sky"], [], ["sky"], ["Nature"]),  # a path as a plain keyword
        (["Nature/sky"], [("Nature", "sky")], ["sky"], ["Nature"]),
        (["AC/DC"], [], ["AC/DC"], []),
        (["Sky"], [("Nature", "sky")], ["Sky"], ["Nature"]),
        (["nature"], [("Nature", "sky")], ["sky"], ["Nature"]),
        (["|"], [], [], []),
        (["|sky"], [], ["sky"], []),
        (["person"], [("person", "person")], ["person"], ["person"]),  # called like the level above it
        ([], [("Nature", "Animals"), ("Nature", "Animals", "dog")], ["dog"], ["Nature", "Animals"]),
    ],
)
def test_lowest_levels_are_keywords_and_upper_ones_are_not(words, paths, leaves, upper):
    assert split_levels(Keywords(tuple(words), tuple(paths))) == (tuple(leaves), tuple(upper))


def test_keywords_of_iptc_xmp_sidecars_and_texts_are_read(tmp_path):
    path = tmp_path / "2019 Rome" / "a.jpg"
    path.parent.mkdir()
    path.write_bytes(
        jpeg(
            segment(0xED, b"Photoshop 3.0\0" + resources(iptc("château".encode()))),
            xmp_segment(packet(bag("lr:hierarchicalSubject", "Nature|Animals|dog"))),
        )
    )
    (path.parent / "a.jpg.xmp").write_bytes(packet(bag("dc:subject", "sea")))
    (path.parent / "a.txt").write_text("tree, snow")
    photo = read_library_photo(str(path), str(tmp_path))
    assert set(photo.leaves) == {"château", "dog", "sea", "tree", "snow"}
    assert photo.upper == ("Nature", "Animals")
    assert photo.context == ("rome",) and photo.machine == 0 and photo.cause is None


def test_folders_above_the_collection_are_no_context(tmp_path):
    root = tmp_path / "holidays"
    (root / "sub").mkdir(parents=True)
    (root / "sub" / "a.jpg").write_bytes(jpeg())
    (root / "b.jpg").write_bytes(jpeg())
    assert read_library_photo(str(root / "sub" / "a.jpg"), str(root)).context == ("sub",)
    assert read_library_photo(str(root / "b.jpg"), str(root)).context == ()


@pytest.mark.parametrize("copied", [False, True])
def test_keywords_that_msmm_wrote_are_not_read(tmp_path, copied):
    """copied: the sidecar's packet was put into the photograph, and the sidecar deleted."""
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg(xmp_segment(packet(bag("dc:subject", "sea", "dog")))))
    # The photographer's "sea" is among the model's labels, so only "sky" is the model's.
    written = sidecars.write_labels(str(path), ["sea", "dog"], ["sky", "sea"], "model 1", normalise_tag)
    if copied:
        with open(written, "rb") as file:
            path.write_bytes(jpeg(xmp_segment(file.read())))
        (tmp_path / "a.jpg.xmp").unlink()
    photo = read_library_photo(str(path), str(tmp_path))
    assert set(photo.leaves) == {"sea", "dog"}
    assert photo.machine == 1


def test_a_keyword_that_msmm_wrote_for_the_raw_file_beside_is_still_read(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg(xmp_segment(packet(bag("dc:subject", "cat", "holiday")))))
    raw = tmp_path / "a.cr2"
    raw.write_bytes(b"II*\0\x10\0\0\0CR\x02\0")
    sidecars.write_labels(str(raw), ["Rome"], ["cat", "dog"], "model 1", normalise_tag)
    photo = read_library_photo(str(path), str(tmp_path))
    assert photo.leaves == ("cat", "holiday", "Rome") and photo.machine == 1  # "dog"


def test_broken_photograph_has_a_cause_and_no_keywords(tmp_path):
    (tmp_path / "a.jpg").write_bytes(jpeg()[:300])
    (tmp_path / "a.jpg.xmp").write_bytes(packet(bag("dc:subject", "sea")))
    photo = read_library_photo(str(tmp_path / "a.jpg"), str(tmp_path))
    assert (photo.cause, photo.leaves) == ("does not decode", ())


def test_unreadable_keywords_are_reported(tmp_path):
    (tmp_path / "a.jpg").write_bytes(jpeg())
    (tmp_path / "a.jpg.xmp").write_bytes(b"no XML")
    assert read_library_photo(str(tmp_path / "a.jpg"), str(tmp_path)).problems == (
        "broken XMP in its sidecar",
    )
