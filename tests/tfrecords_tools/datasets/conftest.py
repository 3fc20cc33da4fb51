"""A photo library, built by hand."""

import pathlib

import pytest
from PIL import Image

from msmm.data import records
from tests.msmm.conftest import model_directory  # noqa: F401 - a fixture
from tests.msmm.photos.metadata_test import bag, packet
from tests.tfrecords_tools.conftest import names_by_image
from tests.tfrecords_tools.library.difference_hash_test import blotches
from tfrecords_tools.datasets import library
from tfrecords_tools.packing import builder


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
