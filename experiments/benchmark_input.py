"""Measures the input pipeline from disk to the network, beside the decoding of the JPEG files alone.

    python -m experiments.benchmark_input
    python -m experiments.benchmark_input --images=photos       your own JPEG files, all together
    python -m experiments.benchmark_input --training=resnet50   and a training, alone and fed by the pipeline

Without --images, scenes are drawn with noise, so that files are as large as photographs of that size. There
are four sizes: squares of the network's size, 4:3 after `pack --resize`, MSCOCO's size, and a camera's size.
All candidates read the same files and take turns in one process; the median of --repeats counts. "Decoding
alone" is tf.io.decode_jpeg on all cores, of files in memory. It is measured by default and with the accurate
inverse DCT, which Pillow and this project use. The project's pipeline reads records, shuffles, decodes,
resizes and mirrors. PyTorch's DataLoader (pip install torch) does the same with Pillow, in one process per
core. With --training, the steps of a trunk and a linear head are measured on one batch in memory, and fed by
the pipeline on the same cores. The difference is what the pipeline costs beside a training.
"""

import functools
import importlib.util
import io
import itertools
import os
import pathlib
import tempfile
import time
import types

from absl import flags

from msmm.core import command_line
from msmm.core.errors import UserError

_IMAGES = flags.DEFINE_string("images", None, "Folder of JPEG files. [drawn ones, of several sizes]")
_SIZE = flags.DEFINE_integer("image_size", 224, "Side of the network's input, pixels.", 32)
_SECONDS = flags.DEFINE_float("seconds", 1.0, "Approximate time of decoding alone, per turn.", 0.01)
_REPEATS = flags.DEFINE_integer("repeats", 5, "Turns that count; the median is printed.", 1)
_TRAINING = flags.DEFINE_string("training", None, "Backbone that is trained, as the setting backbone. [none]")

ALONE = "decoding alone"
STEPS, FED = "training on one batch in memory", "training, fed by ours"
DRAWN, NOISE, QUALITY = 40, 12, 90  # pictures, standard deviation in levels, JPEG's
ENDLESS = 200_000  # images per epoch: setting it up is no part of a turn
BATCH = 16
CLASSES, TRAINING_STEPS = 81, 5  # of the training, and of each of its turns, if a step takes a second
LEAST = 15  # batches per turn: many more than wait in queues when it begins


def main() -> None:
    if _IMAGES.value:
        cases = {_IMAGES.value: _files(pathlib.Path(_IMAGES.value))}
    command_line.import_tensorflow()
    from experiments.benchmarks import measuring

    if not _IMAGES.value:
        side = _SIZE.value
        sizes = ((side, side), (side * 4 // 3, side), (640, 480), (2400, 1800))
        cases = {f"{width} × {height}": _drawn(width, height) for width, height in sizes}
    torch = importlib.util.find_spec("torch") is not None
    print(measuring.describe_machine("tensorflow", "pillow", *["torch"] * torch))
    print(
        f"to {_SIZE.value} px, batches of {BATCH}; median of {_REPEATS.value} turns" + _NO_TORCH * (not torch)
    )
    for name, files in cases.items():
        with tempfile.TemporaryDirectory() as folder:
            speed = measuring.measure_in_turn(_candidates(files, pathlib.Path(folder), torch), _REPEATS.value)
        size = sum(map(len, files)) / len(files) / 1024
        rows = [
            [candidate, f"{rate:,.0f}", f"{rate / speed[ALONE]:.2f}"] for candidate, rate in speed.items()
        ]
        print(f"\n{name}, {len(files)} files of {size:.0f} KiB:\n")
        print(measuring.markdown_table(["", "images/s", "times decoding alone"], rows), flush=True)
        if _TRAINING.value:
            feeding = measuring.describe_feeding(speed[FED], speed[STEPS])
            print(f"\nbeside the training, the pipeline {feeding}")


_NO_TORCH = "; without the DataLoader, since PyTorch is not installed"


def _files(folder: pathlib.Path) -> list[bytes]:
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    if not paths:
        raise UserError(f"expected a folder with JPEG files, found none in --images={folder}")
    return [path.read_bytes() for path in paths[:2000]]


def _drawn(width: int, height: int) -> list[bytes]:
    import numpy as np
    from PIL import Image

    from msmm.scenes import recipe

    rng, files = np.random.default_rng(0), []
    for index in range(DRAWN):
        scene = recipe.draw(0, index, min(height, 480)).image.resize((width, height))
        noisy = np.asarray(scene) + NOISE * rng.standard_normal((height, width, 3), np.float32)
        file = io.BytesIO()
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=QUALITY)
        files.append(file.getvalue())
    return files


def _candidates(files: list[bytes], folder: pathlib.Path, torch: bool) -> dict:
    """Returns the candidates. Each continues where its last turn ended, with its queues full."""
    import numpy as np
    import tensorflow as tf

    from msmm.data.input_pipeline import Images

    def plain(encoded):
        image = tf.image.resize(tf.io.decode_jpeg(encoded, channels=3), 2 * [_SIZE.value], antialias=True)
        return tf.image.random_flip_left_right(tf.saturate_cast(tf.round(image), tf.uint8))

    dataset, rows = _packed(files, folder), np.arange(ENDLESS)
    kept = _packed(files, folder, 2000)
    streamed, in_memory = (Images(d, "train", _SIZE.value, gib) for d, gib in ((dataset, 0), (kept, 100)))
    memory = tf.data.Dataset.from_tensor_slices(files).repeat()

    def alone(**how):
        bare = memory.map(lambda e: tf.shape(tf.io.decode_jpeg(e, channels=3, **how)), tf.data.AUTOTUNE)
        return bare.batch(BATCH).prefetch(2)

    candidates = {
        ALONE: alone(),
        "decoding alone, accurately": alone(dct_method="INTEGER_ACCURATE"),
        "ours": (x for x, _ in streamed.epoch(rows, BATCH, 0, 0, flip=True)),
        "ours, kept in memory": (
            x for n in itertools.count() for x, _ in in_memory.epoch(rows[:2000], BATCH, 0, n, flip=True)
        ),
        "tf.data with tf.image": memory.map(plain, tf.data.AUTOTUNE).batch(BATCH).prefetch(2),
    }
    if torch:
        candidates["PyTorch DataLoader"] = _loader(files)
    count = _batches_per_turn(files)
    turns = {name: functools.partial(_turn, iter(candidate), count) for name, candidate in candidates.items()}
    if _TRAINING.value:
        train, epoch = _training_step(_TRAINING.value), streamed.epoch(rows, BATCH, 0, 1, flip=True)
        batches = {STEPS: itertools.repeat(next(epoch)[0]), FED: (x for x, _ in epoch)}
        steps = _steps_per_turn(train, next(batches[STEPS]))
        for name, images in batches.items():
            turns[name] = functools.partial(_turn, _trained(train, images), steps)
    return turns


def _steps_per_turn(train, images) -> int:
    """Returns the steps of a turn: where they are fast, many more than batches wait when it begins."""
    train(images)
    started = time.perf_counter()
    train(images)
    return TRAINING_STEPS if time.perf_counter() - started > 1 else LEAST


def _training_step(backbone: str):
    """Returns images uint8 [B, S, S, 3] -> one step of a whole trunk and a linear head on the mean of M_5."""
    import keras
    import numpy as np

    from msmm.configs.base import Config
    from msmm.models import losses, optimizers
    from msmm.training import model_parts
    from msmm.training.fast_layers import accelerated

    config = Config(backbone=backbone, weights="none", image_size=_SIZE.value)
    trunk = accelerated(model_parts.build_backbone(config))
    head = keras.Sequential([keras.layers.Dense(CLASSES)])
    model = model_parts.build_pooled_model(trunk, head)
    model.compile(optimizers.Momentum(1e-6), losses.sigmoid_cross_entropy, jit_compile=False)
    labels = np.zeros((BATCH, CLASSES), np.float32)
    return lambda images: model.train_on_batch(images, labels[: len(images)])


def _trained(step, batches):
    """Yields batches after a step on each."""
    for batch in batches:
        step(batch)
        yield batch


def _batches_per_turn(files: list[bytes]) -> int:
    import tensorflow as tf

    started = time.perf_counter()
    for file in files[:DRAWN]:
        tf.io.decode_jpeg(file, channels=3)
    seconds = (time.perf_counter() - started) / len(files[:DRAWN]) / _cores()
    return max(LEAST, round(_SECONDS.value / seconds / BATCH))


def _turn(batches, count: int) -> int:
    return sum(len(batch) for batch in itertools.islice(batches, count))


def _packed(files: list[bytes], folder: pathlib.Path, images: int = ENDLESS):
    """Returns a packed data set that repeats the files."""
    import tensorflow as tf

    from msmm.data import records

    path = folder / "train.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for file in files:
            image = tf.train.Feature(bytes_list=tf.train.BytesList(value=[file]))
            example = tf.train.Example(features=tf.train.Features(feature={records.IMAGE: image}))
            writer.write(example.SerializeToString())
    times = -(-images // len(files))
    counts, paths = times * [len(files)], times * [path]
    split = types.SimpleNamespace(num_examples=sum(counts), filepaths=paths, shard_lengths=counts)
    info = types.SimpleNamespace(splits={"train": split})
    return records.Dataset("files", folder, (), (), types.SimpleNamespace(info=info))


def _loader(files: list[bytes]):
    from torch.utils.data import DataLoader

    dataset = Photographs(files, _SIZE.value)
    context = "spawn"  # TensorFlow's threads do not survive a fork
    return DataLoader(dataset, BATCH, shuffle=True, num_workers=_cores(), multiprocessing_context=context)


class Photographs:
    """Files in memory as uint8 [3, size, size], for a DataLoader."""

    def __init__(self, files: list[bytes], size: int):
        self.files, self.size = files, size

    def __len__(self) -> int:
        return ENDLESS

    def __getitem__(self, index: int):
        import random

        import numpy as np
        import torch
        from PIL import Image

        image = Image.open(io.BytesIO(self.files[index % len(self.files)])).convert("RGB")
        image = image.resize((self.size, self.size), Image.Resampling.BILINEAR)
        if random.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


if __name__ == "__main__":
    command_line.run(main)
