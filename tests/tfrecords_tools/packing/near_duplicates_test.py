"""Families of near-duplicates, compared with their definition and with edited copies of pictures."""

import io

import numpy as np
import pytest
from PIL import Image

from msmm.core import workers
from tfrecords_tools.packing import near_duplicates


def drawing(seed, size=120):
    """Returns flat coloured rectangles on white; drawings with different seeds are not near-duplicates."""
    rng = np.random.default_rng(seed)
    pixels = np.full((size, size, 3), 255, np.uint8)
    for _ in range(6):
        top, left = rng.integers(0, size - 20, 2)
        height, width = rng.integers(20, 70, 2)
        pixels[top : top + height, left : left + width] = rng.integers(0, 256, 3)
    return Image.fromarray(pixels)


def png(image):
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def families(pictures):
    with workers.Workers(1) as pool:
        return near_duplicates.families(near_duplicates.thumbnails([png(p) for p in pictures], pool))


@pytest.mark.parametrize(
    "edit",
    [
        lambda image: image.resize((400, 300)),
        lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        lambda image: image.point(lambda value: value * 3 // 4),  # darker
        lambda image: Image.merge("RGB", [image.convert("L")] * 3),
        lambda image: Image.merge(
            "RGBA", [*image.split(), image.convert("L").point(lambda v: 255 * (v < 250))]
        ),
    ],
)
def test_edited_copy_belongs_to_the_family_of_the_original(edit):
    pictures = [drawing(0), drawing(1), drawing(2), edit(drawing(1))]
    assert families(pictures) == [0, 1, 2, 1]


def test_near_duplicate_families_are_transitive():
    one, other = np.asarray(drawing(3)).astype(float), np.asarray(drawing(4)).astype(float)
    steps = [
        Image.fromarray((one + (other - one) * share).astype(np.uint8)) for share in np.linspace(0, 1, 9)
    ]
    assert families([steps[0], steps[8]]) == [0, 1]
    for order in ([8, 7, 6, 5, 4, 3, 2, 1, 0], [4, 0, 8, 2, 6, 1, 7, 3, 5], [1, 7, 3, 5, 0, 8, 2, 6, 4]):
        assert families([steps[i] for i in order]) == [0] * 9


def test_broken_and_blank_pictures_belong_to_no_family():
    plain = Image.new("RGB", (50, 50), "white")
    with workers.Workers(1) as pool:
        pictures = [png(plain), b"", png(drawing(0)), png(plain), b"<html>"]
        thumbnails = near_duplicates.thumbnails(pictures, pool)
    assert near_duplicates.families(thumbnails) == [0, 1, 2, 3, 4]
    assert not thumbnails[[1, 4]].any()


def test_similar_pairs_equal_thresholded_correlation_of_all_pairs(monkeypatch):
    monkeypatch.setattr(near_duplicates, "BLOCK", 7)
    rng = np.random.default_rng(0)
    base = rng.integers(0, 256, (12, 32, 32, 3))
    noise = rng.normal(0, 1, (40, 32, 32, 3)) * rng.uniform(1, 25, (40, 1, 1, 1))
    thumbnails = np.clip(base[rng.integers(0, 12, 40)] + noise, 0, 255).astype(np.uint8)
    thumbnails[::5] = thumbnails[::5, :, ::-1]

    def alike(a, b):
        colour, grey = ((np.corrcoef(f(a), f(b))[0, 1]) for f in (np.ravel, lambda t: t.mean(-1).ravel()))
        return colour > near_duplicates.COLOUR or grey > near_duplicates.GREY

    expected = [
        (i, j)
        for i in range(40)
        for j in range(i + 1, 40)
        if alike(thumbnails[i], thumbnails[j]) or alike(thumbnails[i], thumbnails[j, :, ::-1])
    ]
    assert 20 < len(expected) < 700
    assert near_duplicates.similar(thumbnails) == expected
