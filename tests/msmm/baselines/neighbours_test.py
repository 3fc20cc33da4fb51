import resource
import time
from fractions import Fraction

import numpy as np
import pytest

from msmm.baselines import neighbours
from msmm.baselines.neighbours import find_nearest


def nearest_neighbours(tags, pool, own, num=6, seed=0):
    return np.concatenate(list(find_nearest(tags, pool, own, num, seed)))


def brute_force_neighbours(tags, pool, own):
    """Returns for each image the pool rows that share a tag, nearest first; ties go to the lower row."""
    nearest_rows = []
    for i, a in enumerate(tags):
        similar = [Fraction(int((a & b).sum()), max(1, int((a | b).sum()))) for b in pool]
        rows = [row for row, s in enumerate(similar) if s > 0 and row != own[i]]
        nearest_rows.append(sorted(rows, key=lambda row, similar=similar: (-similar[row], row)))
    return nearest_rows


@pytest.fixture
def tags():
    """Tags of 250 images, 0 to 5 of 12 each: many ties, some images without tags."""
    rng = np.random.default_rng(0)
    return rng.random((250, 12)) < rng.uniform(0, 0.4, (250, 1))


@pytest.mark.parametrize("within", [True, False])
def test_neighbours_equal_brute_force(tags, within):
    queries, pool = (tags, tags) if within else (tags[:80], tags[80:])
    own = np.arange(len(queries)) if within else np.full(len(queries), -1)
    expected = brute_force_neighbours(queries, pool, own)
    nearest_rows = nearest_neighbours(queries, pool, own)
    assert nearest_rows.shape == (len(queries), 6)
    for image, rows in enumerate(expected):
        assert nearest_rows[image, : len(rows)].tolist() == rows[:6]
        assert len(set(nearest_rows[image])) == 6
        assert own[image] not in nearest_rows[image]
    assert any(len(rows) < 6 for rows in expected)
    assert any(not row.any() for row in queries)


def test_large_tag_sets_are_compared_exactly():
    rng = np.random.default_rng(1)
    tags = rng.random((40, 1000)) < 0.5  # more than 255 shared tags
    own = np.arange(40)
    np.testing.assert_array_equal(
        nearest_neighbours(tags, tags, own), [rows[:6] for rows in brute_force_neighbours(tags, tags, own)]
    )


def test_piece_size_does_not_change_the_neighbours(tags, monkeypatch):
    together = nearest_neighbours(tags, tags, np.arange(250))
    monkeypatch.setattr(neighbours, "_PIECE", 7)
    pieces = list(find_nearest(tags, tags, np.arange(250), 6, 0))
    assert len(pieces) == 36
    np.testing.assert_array_equal(np.concatenate(pieces), together)


def test_images_without_a_shared_tag_get_uniformly_drawn_neighbours():
    nothing = np.zeros((2000, 3), bool)
    own = np.arange(2000) % 20
    nearest_rows = nearest_neighbours(nothing, nothing[:20], own)
    counts = np.bincount(nearest_rows.ravel(), minlength=20)
    assert (abs(counts - 600) < 100).all()
    assert (np.diff(np.sort(nearest_rows, axis=1), axis=1) > 0).all()
    assert (nearest_rows != own[:, None]).all()
    np.testing.assert_array_equal(nearest_neighbours(nothing, nothing[:20], own), nearest_rows)
    assert (nearest_neighbours(nothing, nothing[:20], own, seed=1) != nearest_rows).any()


def test_smallest_pool_without_any_tags():
    nearest_rows = nearest_neighbours(np.zeros((7, 0), bool), np.zeros((7, 0), bool), np.arange(7))
    assert [sorted(row) for row in nearest_rows] == [[j for j in range(7) if j != i] for i in range(7)]


@pytest.mark.slow
def test_150_000_images_with_1_000_tags_need_less_than_4_gib(capsys):
    """Prints time and memory; tag frequencies follow Zipf's law, with 6 tags per image."""
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
            f"the together process {peak:.2f} GiB at its peak"
        )
    assert rows == num
    assert peak < 4
