import numpy as np
import pytest

from msmm import engines
from msmm.engines import checked
from msmm.quantities.held_out import logits, sigmoid
from tests.msmm.engines.engines_test import load

CLASSES = 30


def run_with(error: float, calls: list):
    """A "network" whose logits are its images, off by at most `error`, differently for every image."""

    def run(image, tags):
        calls.append(len(image))
        noise = np.sin(1e4 * image.sum(axis=1, keepdims=True) + np.arange(CLASSES))
        return {
            "probabilities": sigmoid(image + error * noise).astype(np.float32),
            "quantity": image[:, 0] + error * noise[:, 1],
        }

    return run


def decide(probabilities, raw, tags):
    return logits(probabilities) > raw[:, None] / 10


@pytest.mark.parametrize("error", [0.0, 0.05, 0.3])
def test_labels_are_float32s_and_few_images_are_computed_again(error):
    rng, rough, exact = np.random.default_rng(0), [], []
    engine = checked.Checked(run_with(error, rough), run_with(0, exact), {})
    tags, same = np.zeros((50, 3)), 0
    for _ in range(20):
        image = rng.normal(-3, 2, (50, CLASSES))
        chosen = engine.decided(image, tags, decide)[2]
        same += (chosen == decide(sigmoid(image), image[:, 0], tags)).all(axis=1).sum()
    assert same >= 995  # of 1,000; without a second look:
    assert exact[:2] == [50, 50] and rough[:2] == [50, 50]  # the first ones in both
    assert engine.images == 1000 and engine.again == sum(exact[2:])
    if error:
        assert 0 < engine.again < 100 * (1 + 30 * error)
    else:
        assert engine.again == 0


def test_without_a_second_look_labels_are_others():
    image = np.random.default_rng(0).normal(-3, 2, (1000, CLASSES))
    said = run_with(0.3, [])(image, None)
    other = decide(said["probabilities"], said["quantity"], None) != decide(sigmoid(image), image[:, 0], None)
    assert other.any(axis=1).mean() > 0.1


def test_a_network_in_both_precisions(saved, inputs):
    if not engines.has_bfloat16():
        pytest.skip("this processor does not compute in bfloat16")
    images, tags = inputs
    expected, model = load(saved, "openvino", "float32"), load(saved, "openvino", "checked")
    for turn in range(4):
        turned = np.rot90(images, turn, (1, 2))
        said = [a.labels for a in model.annotate(turned, tags)]
        assert [set(x) for x in said] == [set(a.labels) for a in expected.annotate(turned, tags)]
    assert 0 < model.engine.again < model.engine.images == 200
