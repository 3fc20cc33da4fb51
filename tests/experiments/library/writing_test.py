"""The library is read back by the code that packs a person's library."""

import shutil

import pytest

from experiments.library import planning, writing
from msmm.core import photo_files
from tfrecords_tools.library.photos import read_library_photo

pytestmark = pytest.mark.skipif(
    not shutil.which("exiftool"), reason="exiftool is not installed (Debian has it: libimage-exiftool-perl)"
)


@pytest.fixture(scope="module")
def plans(photographs):
    formats = [name for name in writing.list_formats() if _is_read(name)]
    return planning.plan_library(photographs[:90], seed=0, formats=formats)


@pytest.fixture(scope="module")
def folder(plans, tmp_path_factory):
    folder = tmp_path_factory.mktemp("library") / "Pictures"
    kinds = writing.write_library(plans, folder)
    assert sum(kinds[name] for name in planning.FORMATS) == len(plans)
    assert kinds["without keywords"] == sum(not plan.keywords for plan in plans)
    return folder


def _is_read(extension):
    form = {"heic": "HEIC", "dng": photo_files.CAMERA_RAW}.get(extension)
    return form is None or photo_files.missing_package(form) is None


def test_every_keyword_is_read_back_from_where_it_was_written(plans, folder):
    places = set()
    for plan in plans:
        photo = read_library_photo(str(folder / plan.path), str(folder))
        assert (photo.cause, photo.problems) == (None, ())
        assert set(photo.leaves) == set(plan.keywords)
        if plan.keywords:
            places.add(plan.place)
            assert photo.upper == (("Things",) if plan.place == planning.HIERARCHY else ())
            assert photo.taken == plan.taken.replace(":", "-", 2).replace(" ", "T")
    assert places == planning.PLACES.keys()


def test_captions_cities_and_cameras_are_words_beside_the_pixels(plans, folder):
    described = [plan for plan in plans if plan.caption and plan.format != "dng"]
    assert described
    for plan in described:
        words = read_library_photo(str(folder / plan.path), str(folder)).context
        assert {"caption", plan.city.casefold(), plan.camera[1].casefold()} <= set(words)


def test_the_photographs_of_mscoco_stay_and_bare_copies_equal_them(plans, folder, tmp_path):
    writing.copy_bare(plans, tmp_path / "Bare")
    for plan in plans:
        copy = tmp_path / "Bare" / writing.bare_name(plan)
        assert copy.read_bytes() == plan.source.read_bytes() and b"Exif" not in copy.read_bytes()
    assert len(list((tmp_path / "Bare").iterdir())) == len(plans)
