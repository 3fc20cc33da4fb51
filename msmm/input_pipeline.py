"""Records to batches: which rows, in which order, mirrored or not.

Order and mirroring are functions of (seed, epoch) and the row alone, so that a run that was
interrupted continues with the batches that it would have seen.
"""

import hashlib
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from msmm import preprocessing
from msmm.records import Dataset

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


class Images:
    """The images of one split at one size: kept decoded in memory where they fit, else read anew.

    Args:
        dataset: a packed data set.
        split: "train" or "test".
        size: side of the square images, pixels.
        cache_gib: memory to spend on decoded images, GiB.
    """

    def __init__(self, dataset: Dataset, split: str, size: int, cache_gib: float):
        self._dataset, self._split, self.size = dataset, split, size
        self.num_rows = dataset.num_examples(split)
        self._fits = self.num_rows * size * size * 3 <= cache_gib * 2**30
        self._decoded = None

    def ordered(self, batch_size: int, flip: bool = False, rows=None) -> Iterator[np.ndarray]:
        """Yields float32 [B, S, S, 3] in 0 … 255, in record order, all of them mirrored if `flip`.

        rows: ascending row numbers, instead of all.
        """
        if self._fits:
            decoded, wanted = self._in_memory(), np.arange(self.num_rows) if rows is None else rows
            images = (decoded[batch] for batch in batches_of(wanted, batch_size))
        else:
            images = (x.numpy() for x, _ in self._decode(self._read(rows)).batch(batch_size).prefetch(2))
        for batch in images:
            yield (batch[:, :, ::-1] if flip else batch).astype(np.float32)

    def epoch(self, rows: np.ndarray, batch_size: int, seed: int, epoch: int, flip: bool):
        """Yields (images float32 [B, S, S, 3], row numbers int64 [B]) over `rows`, shuffled."""
        flips = epoch_flips(self.num_rows, seed, epoch) & flip
        for images, batch in self._shuffled(rows, batch_size, seed, epoch):
            images[flips[batch]] = images[flips[batch], :, ::-1]
            yield images.astype(np.float32), batch

    def take(self, rows: np.ndarray) -> np.ndarray:
        """uint8 [len(rows), S, S, 3] of a few rows, in the order given."""
        if self._fits:
            return self._in_memory()[rows]
        found = {int(r): x.numpy() for x, r in self._decode(self._read(rows))}
        return np.stack([found[int(r)] for r in rows])

    def _shuffled(self, rows, batch_size, seed, epoch):
        if self._fits:
            for batch in batches_of(epoch_rows(rows, seed, epoch), batch_size, drop_remainder=True):
                yield self._in_memory()[batch], batch
            return
        records = self._read(rows).shuffle(_SHUFFLE_BUFFER, seed=seed * 100_003 + epoch)
        remainder = len(rows) >= batch_size
        for images, batch in self._decode(records).batch(batch_size, drop_remainder=remainder).prefetch(2):
            yield images.numpy(), batch.numpy()

    def _read(self, rows=None) -> tf.data.Dataset:
        records = self._dataset.read(self._split).enumerate()
        if rows is not None:
            wanted = np.zeros(self.num_rows, bool)
            wanted[rows] = True
            records = records.filter(lambda row, _: tf.gather(tf.constant(wanted), row))
        return records.map(lambda row, example: (example["image"], row))

    def _decode(self, records: tf.data.Dataset) -> tf.data.Dataset:
        return records.map(
            lambda encoded, row: (tf.ensure_shape(self._pixels(encoded), (self.size, self.size, 3)), row),
            num_parallel_calls=tf.data.AUTOTUNE,
        )

    def _pixels(self, encoded):
        return preprocessing.resize(preprocessing.decode(encoded), self.size)

    def _in_memory(self) -> np.ndarray:
        if self._decoded is None:
            decoded = np.empty((self.num_rows, self.size, self.size, 3), np.uint8)
            for images, rows in self._decode(self._read()).batch(64).prefetch(2):
                decoded[rows.numpy()] = images
            self._decoded = decoded
        return self._decoded
