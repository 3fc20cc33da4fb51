import time

import keras
import numpy as np
import pytest

from experiments.benchmarks import measuring


def test_candidates_are_measured_in_turns_and_the_median_is_reported():
    order, durations = [], iter([0.0, 0.0, 0.01, 0.0, 0.03, 0.0, 0.02, 0.0])

    def candidate(name, images):
        def turn():
            order.append(name)
            time.sleep(next(durations))
            return images

        return turn

    speed = measuring.measure_in_turn({"a": candidate("a", 2), "b": candidate("b", 1)}, repeats=3)
    assert order == ["a", "b"] * 4
    assert speed["a"] == pytest.approx(2 / 0.02, rel=0.2)


def test_operations_of_a_small_network_equal_a_manual_count():
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, strides=2, padding="same", use_bias=False)(image)  # 4x4 positions
    x = keras.layers.GlobalAveragePooling2D()(x)
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(5)])
    model = keras.Model(image, inner(x))
    convolution, dense = 2 * 4 * 4 * 3 * 3 * 3 * 4, 2 * 4 * 5
    assert measuring.forward_operations(model) == convolution + dense
    # Training computes no gradient with respect to the pixels.
    assert measuring.training_operations(model) == 2 * convolution + 3 * dense


@pytest.mark.slow
def test_operations_of_resnet_101_match_its_paper():
    """He et al., table 1: 7.6 billion multiply-adds at 224 pixels."""
    from msmm.models import backbone

    assert measuring.forward_operations(backbone.build("resnet101", image_size=224)) / 2 == pytest.approx(
        7.6e9, rel=0.01
    )


def test_own_memory_excludes_mapped_files(tmp_path):
    array = np.lib.format.open_memmap(tmp_path / "a.npy", "w+", np.float32, (16 * 2**20,))  # 64 MiB
    array[:] = 1
    del array
    with measuring.Memory() as before:
        pass
    with measuring.Memory() as memory:
        held = np.ones(10 * 2**20, np.float32)  # 40 MiB: more than malloc takes from freed memory
        mapped = np.load(tmp_path / "a.npy", mmap_mode="r").sum()
        time.sleep(0.1)
    assert mapped == 16 * 2**20 and len(held)
    assert 33 < memory.own - before.own < 68
    assert memory.peak >= memory.own


def test_machine_description_contains_package_versions():
    description = measuring.describe_machine("keras", "surely-not-installed")
    assert f"keras {keras.__version__}" in description and "no surely-not-installed" in description
