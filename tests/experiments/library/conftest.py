import numpy as np
import pytest
from PIL import Image

from tfrecords_tools.raw.mscoco_files import Photograph

TRUTHS = (
    ("people", "snow"),
    ("dog", "beach"),
    ("cat",),
    ("people", "dining table", "pizza"),
    ("street", "car"),
)


@pytest.fixture(scope="session")
def photographs(tmp_path_factory):
    """300 photographs with their labels, of which the files are few."""
    folder = tmp_path_factory.mktemp("coco")
    rng, rows = np.random.default_rng(0), []
    for number in range(300):
        path = folder / f"{number % 30}.jpg"
        if not path.exists():
            pixels = rng.integers(0, 256, (6, 8, 3), np.uint8)
            Image.fromarray(pixels).resize((80, 60), Image.Resampling.BICUBIC).save(path)
        caption = f"A caption, number {number}"
        rows.append((Photograph(path.name, path, (), (caption,)), TRUTHS[number % len(TRUTHS)]))
    return rows
