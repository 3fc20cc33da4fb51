import io

import numpy as np
import pytest
from PIL import Image

from msmm.data import preprocessing
from msmm.data.augmentation import Augmentation
from msmm.data.input_pipeline import (
    Images,
    Share,
    batches_of,
    choose_held_out,
    epoch_flips,
    epoch_rows,
)

CROPPED = Augmentation(crop=0.5)


@pytest.fixture(scope="module")
def cached(dataset):
    images = Images(dataset, "train", 32, cache_gib=1)
    images._in_memory()
    return images


@pytest.fixture(scope="module")
def streamed(dataset):
    return Images(dataset, "train", 32, cache_gib=0)


def test_held_out_images_depend_on_id_and_seed_but_not_on_order():
    ids = np.array([f"image{i}" for i in range(200)])
    mask = choose_held_out(ids, 15, seed=1)
    assert mask.sum() == 15
    shuffled = np.random.default_rng(0).permutation(200)
    np.testing.assert_array_equal(choose_held_out(ids[shuffled], 15, seed=1), mask[shuffled])
    assert (choose_held_out(ids, 15, seed=2) != mask).any()


def test_at_most_a_tenth_of_the_images_is_held_out():
    assert choose_held_out(np.array([f"{i}" for i in range(55)]), 5000, seed=0).sum() == 5


def test_every_epoch_is_a_permutation_of_the_rows():
    rows = np.arange(10, 60)
    first, second = epoch_rows(rows, 0, 0), epoch_rows(rows, 0, 1)
    assert sorted(first) == sorted(second) == list(rows)
    assert (first != second).any()
    np.testing.assert_array_equal(first, epoch_rows(rows, 0, 0))
    assert 400 < epoch_flips(1000, 0, 0).sum() < 600


def test_epoch_order_and_flips_of_the_published_results_are_unchanged():
    assert epoch_rows(np.arange(8), 0, 0).tolist() == [2, 4, 3, 6, 5, 0, 1, 7]
    assert epoch_flips(8, 0, 0).tolist() == [True, True, False, True, True, True, True, True]


@pytest.mark.parametrize("share", [Share(), Share(1, 2)])
def test_cached_and_streamed_images_give_the_same_batches(cached, streamed, share):
    rows = np.arange(1, 100, 2)
    for epoch in (0, 1):
        pairs = zip(*(x.epoch(rows, 16, 5, epoch, True, share) for x in (cached, streamed)), strict=True)
        batches = list(pairs)
        assert len(batches) == 3
        if share == Share():
            order = epoch_rows(rows, 5, epoch)[:48]
            np.testing.assert_array_equal(np.concatenate([numbers for (_, numbers), _ in batches]), order)
        for (images, numbers), (other_images, other_numbers) in batches:
            np.testing.assert_array_equal(numbers, other_numbers)
            np.testing.assert_array_equal(images, other_images)


def test_a_short_last_batch_is_dropped_unless_it_is_the_only_batch():
    rows = np.arange(10)
    assert [len(b) for b in batches_of(rows, 4)] == [4, 4, 2]
    assert [len(b) for b in batches_of(rows, 4, drop_remainder=True)] == [4, 4]
    assert [len(b) for b in batches_of(rows, 16, drop_remainder=True)] == [10]
    assert [len(b) for b in batches_of(rows, 5, drop_remainder=True)] == [5, 5]


def test_streamed_images_equal_cached_images(cached, streamed):
    for flip in (False, True):
        a, b = (np.concatenate(list(images.ordered(16, flip))) for images in (cached, streamed))
        np.testing.assert_array_equal(a, b)
    rows = np.array([7, 3, 50])
    np.testing.assert_array_equal(cached.take(rows), streamed.take(rows))
    rows = np.arange(1, 100, 3)
    for images in (cached, streamed):
        some = np.concatenate(list(images.ordered(16, rows=rows)))
        np.testing.assert_array_equal(some, cached.take(rows))


def test_images_are_kept_in_memory_from_the_first_epoch_on(dataset):
    images = Images(dataset, "train", 32, cache_gib=1)
    streamed = list(images.ordered(16)) + list(images.ordered(16, rows=np.arange(7)))
    assert images._decoded is None
    next(iter(images.epoch(np.arange(100), 16, 5, 0, False)))
    assert images._decoded is not None
    kept = list(images.ordered(16)) + list(images.ordered(16, rows=np.arange(7)))
    for x, y in zip(streamed, kept, strict=True):
        np.testing.assert_array_equal(x, y)


def test_ordered_images_equal_the_records_decoded_by_pillow(dataset, cached):
    encoded = [example["image"].numpy() for example in dataset.read("train").take(5)]
    pillow = np.stack([np.asarray(Image.open(io.BytesIO(e)).convert("RGB")) for e in encoded])
    ours = next(cached.ordered(5))
    # Pillow and TensorFlow use different versions of the JPEG library.
    assert np.abs(ours - pillow).max() <= 2


@pytest.mark.parametrize("source", ["cached", "streamed"])
def test_batches_depend_only_on_seed_and_epoch(source, request):
    images, plain = request.getfixturevalue(source), request.getfixturevalue("cached")._in_memory()
    rows = np.arange(0, 100, 2)

    def epoch(number, flip=True):
        return list(images.epoch(rows, 16, 5, number, flip))

    again = zip(epoch(0), epoch(0), strict=True)
    assert all((xa == xb).all() and (ra == rb).all() for (xa, ra), (xb, rb) in again)
    seen = np.concatenate([r for _, r in epoch(0)])
    assert len(seen) == 48 and set(seen) <= set(rows) and len(set(seen)) == 48
    assert (seen != np.concatenate([r for _, r in epoch(1)])).any()
    flips = epoch_flips(100, 5, 0)
    for x, r in epoch(0):
        expected = np.where(flips[r][:, None, None, None], plain[r][:, :, ::-1], plain[r])
        np.testing.assert_array_equal(x, expected)
    for x, r in epoch(0, flip=False):
        np.testing.assert_array_equal(x, plain[r])


def test_resizing_averages_a_gradient_and_keeps_the_target_size():
    gradient = np.tile(np.linspace(0, 255, 96).astype(np.uint8)[None, :, None], (48, 1, 3))
    resized = np.asarray(preprocessing.resize(gradient, 32))
    assert resized.shape == (32, 32, 3) and resized.dtype == np.uint8
    expected = gradient.reshape(48, 32, 3, 3).mean(axis=(0, 2))  # three columns into one
    assert np.abs(resized[16] - expected).max() <= 2
    assert preprocessing.resize(resized, 32) is resized


@pytest.mark.parametrize(
    ("height", "width", "size"), [(48, 96, 32), (224, 299, 224), (375, 500, 64), (20, 30, 48), (33, 32, 32)]
)
def test_resizing_equals_tf_image_bit_for_bit(height, width, size):
    import tensorflow as tf

    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    expected = tf.saturate_cast(tf.round(tf.image.resize(image, (size, size), antialias=True)), tf.uint8)
    np.testing.assert_array_equal(preprocessing.resize(image, size), expected)


@pytest.mark.parametrize(
    ("height", "width", "ratio"),
    [(32, 32, 1), (255, 600, 1), (256, 600, 2), (600, 511, 2), (512, 512, 4), (1100, 1025, 8)],
)
def test_a_large_jpeg_is_decoded_at_a_reduced_scale(height, width, ratio):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
    image = image.repeat(8, axis=0).repeat(8, axis=1)[:height, :width]
    encoded = io.BytesIO()
    Image.fromarray(image).save(encoded, "JPEG", quality=95)
    encoded = encoded.getvalue()
    loaded = np.asarray(preprocessing.load(encoded, 32))
    np.testing.assert_array_equal(loaded, preprocessing.resize(preprocessing.decode(encoded, ratio), 32))
    full = np.asarray(preprocessing.resize(preprocessing.decode(encoded), 32))
    assert np.abs(loaded.astype(int) - full).mean() < 3


def test_the_number_of_workers_does_not_change_the_batches(dataset, streamed):
    rows = np.arange(3, 99)
    one, three = (Images(dataset, "train", 24, cache_gib=0, workers=n) for n in (1, 3))
    several = Images(dataset, "train", 24, cache_gib=0)
    epochs = [images.epoch(rows, 16, 7, 2, True) for images in (one, three, several)]
    for batches in zip(*epochs, strict=True):
        for x, r in batches[1:]:
            np.testing.assert_array_equal(r, batches[0][1])
            np.testing.assert_array_equal(x, batches[0][0])


@pytest.mark.parametrize("source", ["cached", "streamed"])
def test_shares_of_all_workers_form_the_whole_batch(source, request):
    images, rows = request.getfixturevalue(source), np.arange(0, 100, 2)
    full = list(images.epoch(rows, 16, 5, 1, True))
    shares = [list(images.epoch(rows, 16, 5, 1, True, Share(i, 4))) for i in range(4)]
    assert len(full) == 3 and all(len(share) == 3 for share in shares)
    for batch, parts in zip(full, zip(*shares, strict=True), strict=True):
        for i in range(2):
            np.testing.assert_array_equal(batch[i], np.concatenate([part[i] for part in parts]))


def test_a_region_equals_the_crop_of_the_decoded_photograph():
    pixels = np.random.default_rng(0).integers(0, 255, (12, 16, 3), np.uint8).repeat(20, 0).repeat(20, 1)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=95)
    box = np.array([0.25, 0.125, 0.5, 0.75], np.float32)  # rows 60 … 180, columns 40 … 280
    region = preprocessing.load_region(file.getvalue(), box, 64).numpy()
    with Image.open(file) as image:
        expected = image.crop((40, 60, 280, 180)).resize((64, 64), Image.Resampling.BILINEAR)
    assert np.abs(region.astype(int) - np.asarray(expected)).max() <= 3
    whole = preprocessing.load_region(file.getvalue(), np.array([0, 0, 1, 1], np.float32), 64).numpy()
    np.testing.assert_array_equal(whole, preprocessing.load(file.getvalue(), 64).numpy())


def test_epochs_of_other_sizes_and_crops_have_the_same_order(cached):
    rows = np.arange(50)
    plain = np.concatenate([numbers for _, numbers in cached.epoch(rows, 16, 5, 0, True)])
    for options in ({"size": 64}, {"augmentation": CROPPED}, {"augmentation": CROPPED, "size": 64}):
        batches = list(cached.epoch(rows, 16, 5, 0, True, **options))
        np.testing.assert_array_equal(np.concatenate([numbers for _, numbers in batches]), plain)
        assert batches[0][0].shape == (16, *(2 * [options.get("size", 32)]), 3)


@pytest.mark.parametrize("changes", [CROPPED, Augmentation(randaugment=5, cutout=0.5)])
def test_workers_change_images_as_one_process_does(cached, changes):
    rows = np.arange(50)
    whole = [x for x, _ in cached.epoch(rows, 16, 5, 0, True, augmentation=changes)]
    second = [x for x, _ in cached.epoch(rows, 16, 5, 0, True, Share(1, 2), augmentation=changes)]
    for images, half in zip(whole, second, strict=True):
        np.testing.assert_array_equal(images[8:], half)


def test_images_are_changed_anew_in_each_epoch_and_again_alike(cached):
    rows, changes = np.arange(48), Augmentation(randaugment=5)

    def epoch(number):
        batches = cached.epoch(rows, 16, 5, number, False, augmentation=changes)
        return {int(row): x for images, numbers in batches for x, row in zip(images, numbers, strict=True)}

    plain = {int(row): x for x, row in zip(next(cached.ordered(48, rows=rows)), rows, strict=True)}
    first, again, second = epoch(0), epoch(0), epoch(1)
    assert all((first[row] == again[row]).all() for row in rows)
    assert sum((first[row] != plain[row]).any() for row in rows) > 30
    assert sum((first[row] != second[row]).any() for row in rows) > 30
