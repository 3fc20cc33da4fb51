"""Crops, RandAugment and cutout, by hand-computed pixels and by their properties."""

import numpy as np
import pytest
from PIL import Image

from msmm.data.augmentation import OPERATIONS, Augmentation, epoch_crops

PIXELS = np.random.default_rng(0).integers(20, 200, (32, 48, 3), np.uint8)


def test_crops_lie_within_the_image_and_keep_the_given_share_of_it():
    boxes = epoch_crops(4000, 0, 3, 0.5)
    area = boxes[:, 2] * boxes[:, 3]
    assert (boxes >= 0).all() and (boxes[:, :2] + boxes[:, 2:] <= 1 + 1e-6).all()
    assert 0.43 < area.min() < 0.51 and 0.97 < area.max() <= 1  # below 0.5 where a side became 1
    assert 0.68 < area.mean() < 0.75
    ratio = boxes[:, 2] / boxes[:, 3]
    assert 0.75 - 1e-6 < ratio.min() < 0.8 and 1.25 < ratio.max() < 4 / 3 + 1e-6
    np.testing.assert_array_equal(boxes, epoch_crops(4000, 0, 3, 0.5))
    assert (boxes != epoch_crops(4000, 0, 4, 0.5)).any()


@pytest.mark.parametrize("number", range(len(OPERATIONS)))
def test_every_operation_keeps_the_size_and_is_weaker_at_a_lower_strength(number):
    coarse = Image.fromarray(PIXELS).resize((8, 8)).resize((64, 64), Image.Resampling.NEAREST)
    operation, before = OPERATIONS[number], np.asarray(coarse).astype(int)
    distances = []
    for strength in (0.1, 1.0):
        changed = operation(coarse, strength, 1)
        assert changed.size == coarse.size and changed.mode == "RGB"
        distances.append(np.abs(np.asarray(changed).astype(int) - before).mean())
    if number == 0:
        assert distances == [0, 0]
    elif number in (1, 2):  # autocontrast and equalize have no strength
        assert distances[0] == distances[1] > 0
    else:
        assert distances[1] > 0 and distances[0] < distances[1]


def test_the_strongest_operations_by_hand():
    image = Image.fromarray(PIXELS)
    by_name = dict(
        zip(("solarize", "posterize", "brightness", "shear", "translate"), (4, 6, 8, 10, 12), strict=True)
    )
    strongest = {n: np.asarray(OPERATIONS[i](image, 1.0, 1)).astype(int) for n, i in by_name.items()}
    np.testing.assert_array_equal(strongest["solarize"], 255 - PIXELS.astype(int))  # threshold 0
    np.testing.assert_array_equal(strongest["posterize"], PIXELS & 0xF0)  # 4 bits stay
    np.testing.assert_allclose(strongest["brightness"], np.minimum(PIXELS * 1.9, 255), atol=1)
    # x comes from x + 0.45 * 48 = x + 21.6: 26 columns are left, the others are grey.
    assert (strongest["translate"][:, 27:] == 128).all()
    np.testing.assert_allclose(
        strongest["translate"][:, :9], 0.4 * PIXELS[:, 21:30] + 0.6 * PIXELS[:, 22:31].astype(float), atol=2
    )


def test_cutout_hides_a_square_of_the_given_side():
    image = np.full((40, 60, 3), 200, np.uint8)
    sizes = []
    for seed in range(200):
        hidden = (Augmentation(cutout=0.5).apply(image, (seed,)) == 128).all(axis=2)
        rows, columns = np.flatnonzero(hidden.any(axis=1)), np.flatnonzero(hidden.any(axis=0))
        assert hidden.sum() == len(rows) * len(columns)  # a rectangle
        sizes.append((len(rows), len(columns)))
    assert max(sizes) in {(20, 20), (20, 21), (21, 20), (21, 21)}
    assert min(rows for rows, _ in sizes) < 15  # cut off by the border


def test_nothing_is_changed_by_default_and_the_seed_decides():
    assert not Augmentation().changes_pixels and not Augmentation(crop=0.5).changes_pixels
    changes = Augmentation(randaugment=9, cutout=0.3)
    np.testing.assert_array_equal(changes.apply(PIXELS, (1, 2)), changes.apply(PIXELS, (1, 2)))
    assert (changes.apply(PIXELS, (1, 2)) != changes.apply(PIXELS, (1, 3))).any()
