"""Prints a hash over all training batches: `python -m tests.reliability.batches DATA THREADS`."""

import hashlib
import sys

if __name__ == "__main__":
    import numpy as np
    import tensorflow as tf

    tf.config.threading.set_inter_op_parallelism_threads(int(sys.argv[2]))
    tf.config.threading.set_intra_op_parallelism_threads(int(sys.argv[2]))
    from msmm.data import input_pipeline, records

    dataset = records.open_dataset(sys.argv[1], "scenes")
    digest = hashlib.sha256()
    for cache_gib in (0.0, 1.0):
        images = input_pipeline.Images(dataset, "train", 32, cache_gib)
        rows = np.arange(0, images.num_rows, 2)
        for epoch in range(2):
            for batch, numbers in images.epoch(rows, 7, seed=3, epoch=epoch, flip=True):
                digest.update(batch.tobytes())
                digest.update(numbers.tobytes())
        for batch in images.ordered(16, flip=True):
            digest.update(batch.tobytes())
    print(digest.hexdigest())
