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
