import resource
import time
from fractions import Fraction

import numpy as np
import pytest

from msmm.baselines import neighbours
from msmm.baselines.neighbours import find_nearest


def near(tags, pool, own, num=6, seed=0):
    return np.concatenate(list(find_nearest(tags, pool, own, num, seed)))


def by_force(tags, pool, own):
    """The rows of the pool that share a tag with each image, nearest first, the lower row first of equals."""
    found = []
    for i, a in enumerate(tags):
        similar = [Fraction(int((a & b).sum()), max(1, int((a | b).sum()))) for b in pool]
        rows = [row for row, s in enumerate(similar) if s > 0 and row != own[i]]
        found.append(sorted(rows, key=lambda row, similar=similar: (-similar[row], row)))
    return found


@pytest.fixture
def tags():
    """250 images with 0 to 5 of 12 tags: many equally near ones, some without any."""
    rng = np.random.default_rng(0)
    return rng.random((250, 12)) < rng.uniform(0, 0.4, (250, 1))


@pytest.mark.parametrize("within", [True, False])
def test_neighbours_equal_brute_force(tags, within):
    queries, pool = (tags, tags) if within else (tags[:80], tags[80:])
    own = np.arange(len(queries)) if within else np.full(len(queries), -1)
    expected = by_force(queries, pool, own)
    found = near(queries, pool, own)
    assert found.shape == (len(queries), 6)
    for image, rows in enumerate(expected):
        assert found[image, : len(rows)].tolist() == rows[:6]
        assert len(set(found[image])) == 6
        assert own[image] not in found[image]
    assert any(len(rows) < 6 for rows in expected)
    assert any(not row.any() for row in queries)


def test_large_tag_sets_are_compared_exactly():
    rng = np.random.default_rng(1)
    tags = rng.random((40, 1000)) < 0.5  # more than 255 shared
    own = np.arange(40)
    np.testing.assert_array_equal(near(tags, tags, own), [rows[:6] for rows in by_force(tags, tags, own)])


def test_piece_size_does_not_change_the_neighbours(tags, monkeypatch):
    whole = near(tags, tags, np.arange(250))
    monkeypatch.setattr(neighbours, "_PIECE", 7)
    pieces = list(find_nearest(tags, tags, np.arange(250), 6, 0))
    assert len(pieces) == 36
    np.testing.assert_array_equal(np.concatenate(pieces), whole)


def test_images_without_a_shared_tag_get_uniformly_drawn_neighbours():
    nothing = np.zeros((2000, 3), bool)
    own = np.arange(2000) % 20
    found = near(nothing, nothing[:20], own)
    counts = np.bincount(found.ravel(), minlength=20)
    assert (abs(counts - 600) < 100).all()
    assert (np.diff(np.sort(found, axis=1), axis=1) > 0).all()
    assert (found != own[:, None]).all()
    np.testing.assert_array_equal(near(nothing, nothing[:20], own), found)
    assert (near(nothing, nothing[:20], own, seed=1) != found).any()


def test_smallest_pool_without_any_tags():
    found = near(np.zeros((7, 0), bool), np.zeros((7, 0), bool), np.arange(7))
    assert [sorted(row) for row in found] == [[j for j in range(7) if j != i] for i in range(7)]


@pytest.mark.slow
def test_150_000_images_with_1_000_tags_need_less_than_4_gib(capsys):
    """Prints time and memory; tags are drawn as often as Zipf's law has words, 6 an image."""
    rng = np.random.default_rng(0)
    num, vocabulary = 150_000, 1000
    frequency = 1 / np.arange(1, vocabulary + 1)
    per_image = rng.poisson(6, num)
    drawn = rng.choice(vocabulary, per_image.sum(), p=frequency / frequency.sum())
    tags = np.zeros((num, vocabulary), bool)
    tags[np.repeat(np.arange(num), per_image), drawn] = True
    started, worked = time.monotonic(), time.process_time()
    rows = sum(len(piece) for piece in find_nearest(tags, tags, np.arange(num), 6, 0))
    seconds, cpu = time.monotonic() - started, time.process_time() - worked
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # KiB on Linux
    with capsys.disabled():
        print(
            f"\n{rows:,} images x {vocabulary:,} tags: {seconds:.0f} s ({cpu:.0f} s of one core), "
            f"the whole process {peak:.2f} GiB at its peak"
        )
    assert rows == num
    assert peak < 4
