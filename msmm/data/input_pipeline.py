"""From records to batches: which rows, in which order, mirrored or not.

Order and mirroring depend only on seed, epoch and row, so that an interrupted run continues with the batches
that it would have seen.
"""

import dataclasses
import hashlib
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from msmm.data import preprocessing
from msmm.data.augmentation import Augmentation, epoch_crops
from msmm.data.records import Dataset


def choose_held_out(image_ids, size: int, seed: int) -> np.ndarray:
    """Returns bool [N]: which training images are held out for model selection (decision 25).

    At most `size` and at most a tenth are held out: the images whose ids have the lowest hashes with the
    seed. The order of the rows does not matter.
    """
    size = min(size, len(image_ids) // 10)
    digests = np.array([hashlib.sha256(f"{seed}:{i}".encode()).digest()[:8] for i in image_ids])
    chosen = np.zeros(len(image_ids), bool)
    chosen[np.argsort(digests, kind="stable")[:size]] = True
    return chosen


def epoch_rows(rows: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """Returns `rows` in the order of an epoch."""
    return np.random.default_rng((seed, epoch, 0)).permutation(rows)


def epoch_flips(num_rows: int, seed: int, epoch: int) -> np.ndarray:
    """Returns bool [num_rows]: which rows of a split are mirrored in an epoch."""
    return np.random.default_rng((seed, epoch, 1)).random(num_rows) < 0.5


def batches_of(rows: np.ndarray, batch_size: int, drop_remainder: bool = False) -> Iterator[np.ndarray]:
    """Yields `rows` in batches. `drop_remainder` drops a short last batch, unless it is the only one."""
    for start in range(0, len(rows), batch_size):
        batch = rows[start : start + batch_size]
        if drop_remainder and start and len(batch) < batch_size:
            return
        yield batch


@dataclasses.dataclass(frozen=True)
class Share:
    """The part of each batch that one of several workers trains on: the `index`-th of `workers` parts."""

    index: int = 0
    workers: int = 1

    def of(self, batch):
        """Returns this worker's part of an array or tensor [B, …]; B is a multiple of `workers`."""
        size = len(batch) if isinstance(batch, np.ndarray) else tf.shape(batch)[0]
        return batch[self.index * size // self.workers : (self.index + 1) * size // self.workers]


WHOLE = Share()
UNCHANGED = Augmentation()


class Images:
    """The images of one split at one size: kept decoded in memory where they fit, else read from disk.

    Batches depend neither on that nor on the number of workers.

    Args:
        dataset: a packed data set.
        split: "train" or "test".
        size: side of the square images, pixels.
        cache_gib: memory for decoded images, GiB.
        workers: the number of images decoded at the same time; tuned by tf.data by default.
    """

    def __init__(
        self, dataset: Dataset, split: str, size: int, cache_gib: float, workers: int = tf.data.AUTOTUNE
    ):
        self._dataset, self._split, self.size = dataset, split, size
        self.num_rows = dataset.num_examples(split)
        self._fits = self.num_rows * size * size * 3 <= cache_gib * 2**30
        self._workers = workers
        self._decoded: np.ndarray | None = None

    def ordered(self, batch_size: int, flip: bool = False, rows=None) -> Iterator[np.ndarray]:
        """Yields uint8 [B, S, S, 3] in record order.

        Images are kept in memory from the first `epoch` on: a frozen trunk reads each of them once.

        Args:
            batch_size: B; the last batch may be shorter.
            flip: mirror every image.
            rows: row numbers to read instead of all rows, in this order.
        """
        flips = np.full(self.num_rows, flip)
        if self._decoded is not None:
            wanted = np.arange(self.num_rows) if rows is None else rows
            return (self._kept(batch, flips) for batch in batches_of(wanted, batch_size))
        return (x for x, _ in self._stream(rows, flips, batch_size))

    def epoch(
        self,
        rows: np.ndarray,
        batch_size: int,
        seed: int,
        epoch: int,
        flip: bool,
        share: Share = WHOLE,
        *,
        augmentation: Augmentation = UNCHANGED,
        size: int | None = None,
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields (images uint8 [B, S, S, 3], row numbers int64 [B]) of one shuffled epoch.

        The order is `epoch_rows`, whether the images are kept in memory or not.

        Args:
            rows: the row numbers to train on.
            batch_size: B. A short last batch is dropped, unless it is the only one.
            seed: seed of the order and of the mirroring.
            epoch: number of the epoch, from 0.
            flip: mirror half of the images.
            share: the part of each batch that this worker reads; it decodes no other.
            augmentation: random changes of the images, which are then read from disk.
            size: S of this epoch, pixels; default the size of the images. Other sizes are read from disk.
        """
        flips = epoch_flips(self.num_rows, seed, epoch) & flip
        whole = batches_of(epoch_rows(rows, seed, epoch), batch_size, drop_remainder=True)
        batches = [share.of(batch) for batch in whole]
        crop = augmentation.crop
        boxes = epoch_crops(self.num_rows, seed, epoch, crop) if crop < 1 else None
        size = size or self.size
        if self._fits and augmentation == UNCHANGED and size == self.size:
            return ((self._kept(batch, flips), batch) for batch in batches)

        def change(pixels, row):
            return augmentation.apply(pixels, (seed, epoch, 3, int(row)))

        changes = change if augmentation.changes_pixels else None
        rows = np.concatenate(batches)
        return self._stream(rows, flips, batch_size // share.workers, size, boxes, changes)

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Returns uint8 [len(rows), S, S, 3] of a few rows, in the order given."""
        return np.concatenate(list(self.ordered(len(rows), rows=rows)))

    def _stream(
        self,
        rows: np.ndarray | None,
        flips: np.ndarray,
        batch_size: int,
        size: int | None = None,
        boxes: np.ndarray | None = None,
        change: Callable | None = None,
    ):
        """Yields (uint8 [B, S, S, 3], row numbers int64 [B]) of `rows`, or of all, read from disk.

        boxes: the crop of every row of the split, see `epoch_crops`; change: (pixels, row) -> pixels.
        """
        mirrored, size = tf.constant(flips), size or self.size

        def load(encoded, row):
            if boxes is None:
                image = preprocessing.load(encoded, size)
            else:
                image = preprocessing.load_region(encoded, tf.gather(boxes, row), size)
            image = tf.cond(tf.gather(mirrored, row), lambda: tf.reverse(image, [1]), lambda: image)
            if change:
                image = tf.ensure_shape(tf.numpy_function(change, [image, row], tf.uint8), image.shape)
            return image, row

        records = self._dataset.read_images(self._split, rows)
        loaded = records.map(load, num_parallel_calls=self._workers, deterministic=True)
        return loaded.batch(batch_size).prefetch(2).as_numpy_iterator()

    def _kept(self, rows: np.ndarray, flips: np.ndarray) -> np.ndarray:
        images, mirrored = self._in_memory()[rows], flips[rows]
        if mirrored.any():  # as one tall image: TensorFlow mirrors it ten times as fast as NumPy
            tall = images[mirrored].reshape(-1, self.size, 3)
            images[mirrored] = tf.reverse(tall, [1]).numpy().reshape(-1, self.size, self.size, 3)
        return images

    def _in_memory(self) -> np.ndarray:
        if self._decoded is None:
            decoded = np.empty((self.num_rows, self.size, self.size, 3), np.uint8)
            plain = np.zeros(self.num_rows, bool)
            for images, rows in self._stream(None, plain, 64):
                decoded[rows] = images
            self._decoded = decoded
        return self._decoded
