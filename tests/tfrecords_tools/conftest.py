"""Fixtures that make small photographs, manifests and packed data sets."""

import json

import numpy as np
import pytest
from PIL import Image

from msmm.data import records
from tfrecords_tools.packing import builder


def picture(height=24, width=32, seed=0):
    """Returns a smooth uint8 [height, width, 3] picture: JPEG changes it little, and its rotations differ."""
    y, x = np.mgrid[0:height, 0:width]
    shift = 40 * np.random.default_rng(seed).random(3)
    planes = [x * 200 / width, y * 200 / height, (x + y) * 100 / (width + height)]
    return (np.stack(planes, -1) + shift).astype(np.uint8)


def make_packer(kind, name, tmp_path, default=None):
    """Returns a function that packs a raw directory (by default `default`) and opens the data set."""

    def pack(raw_dir=default, data_dir="data", **arguments):
        builder.pack(kind, name, tmp_path / data_dir, raw_dir=raw_dir, **arguments)
        return records.open_dataset(tmp_path / data_dir, name)

    return pack


@pytest.fixture
def folder(tmp_path):
    """Returns an empty folder for images and manifests."""
    path = tmp_path / "photos of mine"
    path.mkdir()
    return path


@pytest.fixture
def write_manifest(folder):
    """Returns a function that writes rows (dicts) as JSON lines and creates missing images as small JPEGs."""

    def write(rows, name="my_photos.jsonl"):
        for number, row in enumerate(rows):
            path = folder / row["image"]
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(picture(seed=number)).save(path)
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / name).write_text(text, encoding="utf-8")
        return folder / name

    return write


def names_by_image(dataset, split):
    """Returns the annotations of a split: {image id: (label names, tag names)}."""
    ids, tags, labels = dataset.annotations(split)
    return {
        str(image_id): (
            {dataset.labels[i] for i in np.flatnonzero(labels[row])},
            {dataset.tags[i] for i in np.flatnonzero(tags[row])},
        )
        for row, image_id in enumerate(ids)
    }
