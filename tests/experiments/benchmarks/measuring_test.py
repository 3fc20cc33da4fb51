import subprocess
import sys
import time

import keras
import numpy as np
import pytest

from experiments.benchmarks import measuring


def test_candidates_are_measured_in_turns_and_the_median_is_reported():
    order, durations = [], iter([0.0, 0.0, 0.05, 0.0, 0.9, 0.0, 0.2, 0.0])  # of "a": the mean is 0.38

    def candidate(name, images):
        def turn():
            order.append(name)
            time.sleep(next(durations))
            return images

        return turn

    speed = measuring.measure_in_turn({"a": candidate("a", 2), "b": candidate("b", 1)}, repeats=3)
    assert order == ["a", "b"] * 4
    assert 2 / 0.3 < speed["a"] <= 2 / 0.2  # a busy machine sleeps longer, never shorter


def test_no_round_begins_after_the_given_seconds():
    order = []

    def candidate(name):
        def turn():
            order.append(name)
            time.sleep(0.02)
            return 1

        return turn

    candidates = {"a": candidate("a"), "b": candidate("b")}
    speed = measuring.measure_in_turn(candidates, repeats=50, seconds=0.0)
    assert order == ["a", "b"] * 2  # one that does not count, one that does
    assert set(speed) == {"a", "b"}


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


def test_a_transposed_convolution_has_a_product_for_each_place_that_it_reads():
    image = keras.Input((4, 6, 3))
    model = keras.Model(image, keras.layers.Conv2DTranspose(5, 2, strides=2)(image))
    assert model.output_shape == (None, 8, 12, 5)
    assert measuring.forward_operations(model) == 2 * 4 * 6 * 2 * 2 * 3 * 5


def test_a_network_with_layers_that_cannot_be_counted_has_no_count():
    image = keras.Input((8, 8, 3))
    separable = keras.Model(image, keras.layers.SeparableConv2D(4, 3)(image))
    normalised = keras.Model(image, keras.layers.BatchNormalization()(image))
    assert np.isnan(measuring.forward_operations(separable))
    assert measuring.forward_operations(normalised) == 0


@pytest.mark.slow
def test_operations_of_resnet_101_match_its_paper():
    """He et al., table 1: 7.6 billion multiply-adds at 224 pixels."""
    from msmm.models import backbone

    assert measuring.forward_operations(backbone.build("resnet101", image_size=224)) / 2 == pytest.approx(
        7.6e9, rel=0.01
    )


def test_the_speed_of_the_pipeline_is_the_time_that_it_adds_to_a_step():
    assert measuring.describe_feeding(40, 50) == "feeds 200 images/s, 4.0 times what the training takes"
    for fed in (49.9, 50, 60):
        assert measuring.describe_feeding(fed, 50) == "costs less than can be measured"


MEMORY_SCRIPT = """
import sys, time
import numpy as np
from experiments.benchmarks import measuring
with measuring.Memory() as before:
    pass
with measuring.Memory() as memory:
    held = np.ones(10 * 2**20, np.float32)  # 40 MiB: more than malloc takes from freed memory
    mapped = np.load(sys.argv[1], mmap_mode="r").sum()
    time.sleep(0.3)
assert mapped == 16 * 2**20 and len(held)
print(before.own, memory.own, memory.peak)
"""


def test_own_memory_excludes_mapped_files(tmp_path):
    """In a process of its own: the threads of TensorFlow free memory at any time."""
    np.save(tmp_path / "a.npy", np.ones(16 * 2**20, np.float32))  # 64 MiB
    script = [sys.executable, "-c", MEMORY_SCRIPT, str(tmp_path / "a.npy")]
    output = subprocess.run(script, capture_output=True, text=True, check=True).stdout
    before, own, peak = map(float, output.split())
    assert 33 < own - before < 68
    assert peak >= own + 60


def test_machine_description_contains_package_versions():
    description = measuring.describe_machine("keras", "surely-not-installed")
    assert f"keras {keras.__version__}" in description and "no surely-not-installed" in description
