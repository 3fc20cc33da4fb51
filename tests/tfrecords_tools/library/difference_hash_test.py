"""Difference hashes of copies and of unrelated photographs."""

import io
import itertools

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from tfrecords_tools.library.difference_hash import difference_hash, similar_pairs


def blotches(seed):
    """Returns a picture of soft blotches, different for every seed."""
    grid = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), np.uint8)
    return Image.fromarray(grid).resize((200, 150), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def pictures():
    return [blotches(seed) for seed in range(12)]


def encoded(image, quality):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


def test_copies_are_similar_and_other_pictures_are_not(pictures):
    hashes = [difference_hash(image) for image in pictures]
    for image in pictures:
        hashes += [
            difference_hash(encoded(image.resize((90, 90)), 60)),
            difference_hash(ImageEnhance.Brightness(image).enhance(0.8)),
        ]
    families = [{n, 12 + 2 * n, 13 + 2 * n} for n in range(12)]
    wanted = {pair for family in families for pair in itertools.combinations(sorted(family), 2)}
    assert set(similar_pairs(hashes)) == wanted


def test_uniform_pictures_are_like_no_other():
    white, black = Image.new("RGB", (80, 60), "white"), Image.new("RGB", (80, 60))
    faint = Image.fromarray(np.tile(np.linspace(100, 115, 80).astype(np.uint8), (60, 1))).convert("RGB")
    assert [difference_hash(image) for image in (white, black, faint)] == [b"", b"", b""]
    assert list(similar_pairs([b"", b"", bytes(32), b""])) == []


def test_blocks_of_hashes_are_compared_with_one_another(monkeypatch):
    from tfrecords_tools.library import difference_hash as module

    generator = np.random.default_rng(0)
    hashes = [generator.bytes(32) for _ in range(9)]
    hashes += [b"", hashes[1], hashes[8]]
    monkeypatch.setattr(module, "_BLOCK", 4)
    assert sorted(similar_pairs(hashes)) == [(1, 10), (8, 11)]
    assert list(similar_pairs([])) == []
