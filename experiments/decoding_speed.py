"""Measures the speed and the memory of decoding with the recurrent methods.

    python -m experiments.decoding_speed
    python -m experiments.decoding_speed --num_images=20000 --num_classes=80

Each method and beam width runs in a process of its own, on random features. The networks have full size; they
are not trained, since weights do not change the speed. Every image gets 3 labels, which takes 4 steps. That
is close to the 2.4 labels and END of an average image of NUS-WIDE.
"""

import multiprocessing
import sys
import time

from absl import flags

from msmm.core import command_line

_IMAGES = flags.DEFINE_integer("num_images", 5000, "Images.", 1)
_CLASSES = flags.DEFINE_integer("num_classes", 81, "Classes; 81 as in NUS-WIDE.", 3)
_FEATURES = flags.DEFINE_integer("feature_size", 2048, "Numbers in a feature; 2,048 as of ResNet-101.", 1)

BEAMS = (1, 5)
LABELS = 3  # per image


def main() -> None:
    command_line.import_tensorflow()
    from experiments.sections.speed import describe_machine
    from msmm.baselines.loading import load_baselines
    from msmm.baselines.sequences import Recurrent

    sizes = (_IMAGES.value, _CLASSES.value, _FEATURES.value)
    print(
        f"{sizes[0]:,} images, {sizes[1]} classes, features of {sizes[2]:,} numbers; {describe_machine()}\n"
    )
    print("| method | parameters | beam | images/s | MiB to decode | MiB of the process |")
    print("|---|---:|---:|---:|---:|---:|")
    context = multiprocessing.get_context("spawn")
    for name in (name for name, kind in load_baselines().items() if issubclass(kind, Recurrent)):
        for beam in BEAMS:
            with context.Pool(1) as pool:
                print(pool.apply(_measure, (name, beam, *sizes)), flush=True)


def _measure(name: str, beam: int, num_images: int, num_classes: int, feature_size: int) -> str:
    """Returns a row of the table."""
    command_line.import_tensorflow()
    import numpy as np

    from msmm.baselines.baseline import Examples
    from msmm.baselines.loading import load_baseline
    from msmm.configs import replace_flat
    from msmm.configs.base import Config

    rng = np.random.default_rng(0)
    features = rng.random((num_images, feature_size), np.float32)
    labels = rng.random((num_images, num_classes)) < LABELS / num_classes
    examples = Examples(features, np.zeros((num_images, 0), bool), labels)
    config = replace_flat(Config(), {f"{name}_beam": beam, "sr_cnn_rnn_tags": False})
    splits, rows = {"train": examples, "test": examples}, np.arange(num_images)
    method = load_baseline(name)(config, splits, feature_size, None, rows)
    method.exact = LABELS
    network = method.build()
    method.predict(network, "test", np.arange(min(16, num_images)))  # compiles
    before, start = _peak(), time.perf_counter()
    method.predict(network, "test", np.arange(num_images))
    speed = num_images / (time.perf_counter() - start)
    title, growth = method.title, _peak() - before
    return (
        f"| {title} | {network.count_params():,} | {beam} | {speed:,.0f} | {growth:,.0f} | {_peak():,.0f} |"
    )


def _peak() -> float:
    """Returns the peak memory of this process, MiB."""
    import resource  # not on Windows

    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


if __name__ == "__main__":
    command_line.run(main)
