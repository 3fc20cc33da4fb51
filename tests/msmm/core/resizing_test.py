import numpy as np
import pytest

from msmm.core import images, resizing
from msmm.data import preprocessing
from tests.conftest import SHARED

COCO = SHARED / "data/coco_tiny/val2017"


@pytest.mark.skipif(not COCO.exists(), reason="the sample photographs are missing")
@pytest.mark.parametrize("size", [32, 224])
def test_resizing_without_tensorflow_equals_the_training_pipeline(size):
    for path in sorted(COCO.glob("*.jpg"))[:5]:
        picture = images.upright(images.load(path.read_bytes()))
        expected = np.asarray(preprocessing.resize(np.asarray(picture), size)).astype(int)
        difference = np.abs(resizing.resize_picture(picture, size) - expected)
        assert difference.max() <= 1 and (difference > 0).mean() < 0.002


def test_a_picture_of_the_target_size_is_unchanged():
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    np.testing.assert_array_equal(resizing.resize_picture(images.Image.fromarray(pixels), 8), pixels)


@pytest.mark.parametrize(("width", "height", "size"), [(1600, 1200, 224), (1024, 1024, 37), (40, 30_000, 64)])
def test_large_pictures_are_resized_as_small_ones_are(width, height, size, monkeypatch):
    """By other code, with another order of the sums."""
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    picture = images.Image.fromarray(pixels)
    quick = resizing.resize_picture(picture, size)
    monkeypatch.setattr(resizing, "_LARGE", width * height + 1)
    difference = np.abs(resizing.resize_picture(picture, size).astype(int) - quick)
    assert quick.shape == (size, size, 3) and difference.max() <= 1 and (difference > 0).mean() < 0.002
