"""Images with nearly the same tags: exact nearest neighbours by the Jaccard index.

    J(a, b) = |t_a ∩ t_b| / |t_a ∪ t_b|

One image is compared with the whole pool at a time. The images of each of its tags are counted, and the
maximum is taken once per neighbour. So memory is eight bytes per tag that an image of the pool has and a few
vectors. A matrix product would multiply the (mostly) zeros, and the selection from its rows would cost
several times the product.
"""

from collections.abc import Iterator

import numpy as np

_PIECE = 4096  # images


def find_nearest(
    tags: np.ndarray, pool: np.ndarray, own: np.ndarray, num: int, seed: int
) -> Iterator[np.ndarray]:
    """Yields the `num` nearest images of a pool for each image, nearest first, int64 [some, num] at a time.

    Of equally near images the lower row comes first. Only images that share a tag are near; if they
    are fewer than `num`, images drawn uniformly from the rest of the pool are added.

    Args:
        tags: bool [N, T].
        pool: bool [P, T], P > num.
        own: [N], the row of the pool that is the image itself, never its neighbour; -1 if there is none.
        num: neighbours per image.
        seed: of the added images, which depend on it and the image's row alone: not on the other images.
    """
    sizes = pool.sum(axis=1, dtype=np.float32)
    images, present = np.nonzero(pool)
    columns = np.split(
        images[np.argsort(present, kind="stable")],
        np.bincount(present, minlength=pool.shape[1]).cumsum()[:-1],
    )
    for start in range(0, len(tags), _PIECE):
        rows = range(start, min(start + _PIECE, len(tags)))
        nearest = (_best(_jaccard(tags[row], columns, sizes), own[row], num) for row in rows)
        yield np.stack(
            [
                _filled(near, own[row], num, len(pool), (seed, row))
                for near, row in zip(nearest, rows, strict=True)
            ]
        )


def _jaccard(tags: np.ndarray, columns: list[np.ndarray], sizes: np.ndarray) -> np.ndarray:
    """Returns J of one image with each of the pool, float32 [P]. Equal fractions give equal numbers.

    columns: the rows of the pool with each tag. sizes: tags of each image of the pool, [P].
    """
    shared = np.zeros(len(sizes), np.float32)
    for column in np.flatnonzero(tags):
        shared[columns[column]] += 1  # no row occurs twice in a column
    union = sizes + np.float32(tags.sum())
    union -= shared
    np.maximum(union, 1, out=union)  # two images without tags
    return np.divide(shared, union, out=shared)


def _best(similarity: np.ndarray, own: int, num: int) -> list[int]:
    """Returns up to `num` rows of the highest similarity above 0; argmax takes the lowest of equals."""
    if own >= 0:
        similarity[own] = 0
    near = []
    for _ in range(num):
        row = int(similarity.argmax())
        if similarity[row] == 0:
            break
        near.append(row)
        similarity[row] = 0
    return near


def _filled(near: list[int], own: int, num: int, size: int, seed: tuple[int, int]) -> np.ndarray:
    if len(near) == num:
        return np.array(near)
    # Enough, however many of them are near already.
    drawn = np.random.default_rng(seed).choice(size, min(size, 2 * num), replace=False)
    others = [row for row in drawn if row != own and row not in near]
    return np.array([*near, *others][:num])
