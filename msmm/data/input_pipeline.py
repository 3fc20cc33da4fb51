"""Records to batches: which rows, in which order, mirrored or not.

Order and mirroring are functions of (seed, epoch) and the row alone, so that a run that was
interrupted continues with the batches that it would have seen.
"""

import dataclasses
import hashlib
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from msmm.data import preprocessing
from msmm.data.records import Dataset

_SHUFFLE_BUFFER = 4096  # encoded images; the records already lie in the order of a hash


def held_out(image_ids, size: int, seed: int) -> np.ndarray:
    """Bool [N]: the `size` training images, at most a tenth, kept for selection (decision 25).

    They are those whose id hashes lowest with the seed, whatever the order of the rows.
    """
    size = min(size, len(image_ids) // 10)
    digests = np.array([hashlib.sha256(f"{seed}:{i}".encode()).digest()[:8] for i in image_ids])
    chosen = np.zeros(len(image_ids), bool)
    chosen[np.argsort(digests, kind="stable")[:size]] = True
    return chosen


def epoch_rows(rows: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """`rows` in the order of an epoch."""
    return np.random.default_rng((seed, epoch, 0)).permutation(rows)


def epoch_flips(num_rows: int, seed: int, epoch: int) -> np.ndarray:
    """Bool [num_rows]: which rows of a split an epoch mirrors."""
    return np.random.default_rng((seed, epoch, 1)).random(num_rows) < 0.5


def batches_of(rows: np.ndarray, batch_size: int, drop_remainder: bool = False) -> Iterator[np.ndarray]:
    """Cuts `rows` into batches. The short last one is dropped if asked for, unless it is the only one."""
    for start in range(0, len(rows), batch_size):
        batch = rows[start : start + batch_size]
        if drop_remainder and start and len(batch) < batch_size:
            return
        yield batch


@dataclasses.dataclass(frozen=True)
class Share:
    """What one of several workers trains on of each batch: the `index`-th of `workers` equal parts."""

    index: int = 0
    workers: int = 1

    def of(self, batch):
        """This worker's part of an array or tensor [B, …]; B is a multiple of `workers`."""
        size = len(batch) if isinstance(batch, np.ndarray) else tf.shape(batch)[0]
        return batch[self.index * size // self.workers : (self.index + 1) * size // self.workers]


WHOLE = Share()


class Images:
    """The images of one split at one size: kept decoded in memory where they fit, else read anew.

    Batches are the same whatever the number of workers.

    Args:
        dataset: a packed data set.
        split: "train" or "test".
        size: side of the square images, pixels.
        cache_gib: memory to spend on decoded images, GiB.
        workers: images decoded at the same time; as many as pays, if not given.
    """

    def __init__(
        self, dataset: Dataset, split: str, size: int, cache_gib: float, workers: int = tf.data.AUTOTUNE
    ):
        self._dataset, self._split, self.size = dataset, split, size
        self.num_rows = dataset.num_examples(split)
        self._fits = self.num_rows * size * size * 3 <= cache_gib * 2**30
        self._workers = workers
        self._decoded = None

    def ordered(self, batch_size: int, flip: bool = False, rows=None) -> Iterator[np.ndarray]:
        """Yields uint8 [B, S, S, 3], in record order, all of them mirrored if `flip`.

        rows: ascending row numbers, instead of all.
        """
        flips = np.full(self.num_rows, flip)
        if self._fits:
            wanted = np.arange(self.num_rows) if rows is None else rows
            batches = batches_of(wanted, batch_size)
            return (self._kept(batch, flips) for batch in batches)
        return (x for x, _ in self._stream(self._dataset.read_images(self._split, rows), flips, batch_size))

    def epoch(
        self, rows: np.ndarray, batch_size: int, seed: int, epoch: int, flip: bool, share: Share = WHOLE
    ):
        """Yields (images uint8 [B, S, S, 3], row numbers int64 [B]) over `rows`, shuffled; or the share of
        one of several workers in each batch, which decodes no other."""
        flips = epoch_flips(self.num_rows, seed, epoch) & flip
        if self._fits:
            batches = batches_of(epoch_rows(rows, seed, epoch), batch_size, drop_remainder=True)
            return ((self._kept(batch, flips), batch) for batch in (share.of(whole) for whole in batches))
        records = self._dataset.read_images(self._split, rows)
        records = records.shuffle(_SHUFFLE_BUFFER, seed=seed * 100_003 + epoch)
        if len(rows) >= batch_size:
            records = records.take(len(rows) // batch_size * batch_size)
        if share.workers > 1:
            records = (
                records.batch(batch_size).map(lambda *batch: tuple(share.of(x) for x in batch)).unbatch()
            )
        return self._stream(records, flips, batch_size // share.workers)

    def take(self, rows: np.ndarray) -> np.ndarray:
        """uint8 [len(rows), S, S, 3] of a few rows, in the order given."""
        if self._fits:
            return self._in_memory()[rows]
        ascending, places = np.unique(rows, return_inverse=True)
        return np.concatenate(list(self.ordered(len(ascending), rows=ascending)))[places]

    def _stream(self, records: tf.data.Dataset, flips: np.ndarray, batch_size: int):
        """Batches of (uint8 [B, S, S, 3], row numbers int64 [B]) of encoded images, in their order."""
        mirrored = tf.constant(flips)

        def load(encoded, row):
            image = preprocessing.load(encoded, self.size)
            return tf.cond(tf.gather(mirrored, row), lambda: tf.reverse(image, [1]), lambda: image), row

        loaded = records.map(load, num_parallel_calls=self._workers, deterministic=True)
        return loaded.batch(batch_size).prefetch(2).as_numpy_iterator()

    def _kept(self, rows: np.ndarray, flips: np.ndarray) -> np.ndarray:
        images, mirrored = self._in_memory()[rows], flips[rows]
        if mirrored.any():  # as one tall image, which TensorFlow mirrors ten times as fast as NumPy
            tall = images[mirrored].reshape(-1, self.size, 3)
            images[mirrored] = tf.reverse(tall, [1]).numpy().reshape(-1, self.size, self.size, 3)
        return images

    def _in_memory(self) -> np.ndarray:
        if self._decoded is None:
            decoded = np.empty((self.num_rows, self.size, self.size, 3), np.uint8)
            plain = np.zeros(self.num_rows, bool)
            for images, rows in self._stream(self._dataset.read_images(self._split), plain, 64):
                decoded[rows] = images
            self._decoded = decoded
        return self._decoded
