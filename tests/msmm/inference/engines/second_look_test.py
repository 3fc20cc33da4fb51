import numpy as np
import pytest

from msmm.inference.engines.second_look import FILE, IMAGES, MIN_CHANGES, Errors, SecondLook, measure
from msmm.scoring.logits import sigmoid


def errors(without_tags, with_tags, count=MIN_CHANGES):
    """Returns errors of one class on the first `count` images, and zero on the others."""
    of_logits = np.zeros((2, IMAGES, 1), np.float32)
    of_logits[:, :count, 0] = [[without_tags], [with_tags]]
    return Errors(tuple(of_logits), tuple(np.zeros((2, IMAGES), np.float32)))


def over_half(probabilities, quantity, tagged):
    return probabilities > 0.5


def apply_second_look(errors, probabilities, tags=None, choose=over_half):
    """Returns probabilities, recomputed rows and quantities; every recomputed probability is 0.25."""
    recomputed = []

    def exact(image, tags):
        recomputed.extend(image.tolist())
        return {"probabilities": np.full((len(image), 1), 0.25, np.float32), "quantity": np.zeros(len(image))}

    number = len(probabilities)
    outputs = {
        "probabilities": np.array(probabilities, np.float32)[:, None],
        "quantity": np.ones(number, np.float32),
    }
    tags = np.zeros((number, 1)) if tags is None else np.array(tags)[:, None]
    corrected = SecondLook(errors, exact)(np.arange(len(tags)), tags, outputs, choose)
    return corrected["probabilities"][:, 0], recomputed, corrected["quantity"]


def test_images_that_an_error_could_move_across_the_threshold_are_recomputed():
    near, far = sigmoid(np.array([0.99, 1.01]))  # logits just below and above a known error of 1
    probabilities, recomputed, quantity = apply_second_look(errors(1.0, 0.0), [near, far, 1 - near, 0.5])
    assert recomputed == [0] and probabilities == pytest.approx([0.25, far, 1 - near, 0.5])
    assert quantity.tolist() == [0, 1, 1, 1]
    probabilities, recomputed, _ = apply_second_look(errors(-1.0, 0.0), [near, far, 1 - near, 1 - far])
    assert recomputed == [2]


def test_rare_errors_are_ignored():
    assert apply_second_look(errors(1.0, 0.0, MIN_CHANGES - 1), [sigmoid(0.5)])[1] == []
    assert apply_second_look(errors(1.0, 0.0, MIN_CHANGES), [sigmoid(0.5)])[1] == [0]


def test_images_with_and_without_tags_have_separate_errors():
    assert apply_second_look(errors(1.0, 0.1), 2 * [sigmoid(0.5)], tags=[1, 0])[1] == [1]
    assert apply_second_look(errors(0.1, 1.0), 2 * [sigmoid(0.5)], tags=[1, 0])[1] == [0]


def test_errors_of_quantities_cause_recomputation():
    def counted(probabilities, quantity, tagged):
        return np.broadcast_to(quantity[:, None] > 0.5, probabilities.shape)

    moved = Errors(tuple(np.zeros((2, IMAGES, 1))), tuple(np.full((2, IMAGES), 0.6)))
    assert apply_second_look(moved, [0.9], choose=counted)[1] == [0]
    assert apply_second_look(errors(0.0, 0.0), [0.9], choose=counted)[1] == []


@pytest.fixture
def measured():
    def run(shift):
        def outputs(image, tags):
            z = image.mean(axis=(1, 2)) / 100 - 1 + tags.sum(axis=1)[:, None]
            return {"probabilities": sigmoid(z + shift * (1 + tags.any(axis=1))[:, None]),
                    "quantity": z[:, 0] + 5 * shift}  # fmt: skip

        return outputs

    def measure_on(images):
        rng = np.random.default_rng(0)
        pixels, tags = rng.integers(0, 256, (images, 8, 8, 3)), np.eye(5)[np.arange(images) % 5]
        tags[::4] = 0
        halves = [(pixels[s].astype(np.float32), tags[s]) for s in (slice(0, 9), slice(9, None))]
        return measure(run(0.1), run(0.0), halves, 3)

    return measure_on


def test_errors_are_measured_with_and_without_tags(measured, tmp_path):
    measured_errors = measured(40)
    np.testing.assert_allclose(measured_errors.logits[0], 0.1, atol=1e-5)
    np.testing.assert_allclose(measured_errors.logits[1], 0.2, atol=1e-5)
    np.testing.assert_allclose(measured_errors.quantity[1], 0.5, atol=1e-5)
    assert [part.shape for part in measured_errors.logits] == [(40, 3), (30, 3)]
    (tmp_path / FILE).write_bytes(measured_errors.to_bytes())
    read = Errors.read(tmp_path, 3)
    for kind in (0, 1):
        np.testing.assert_array_equal(read.logits[kind], measured_errors.logits[kind])
        np.testing.assert_array_equal(read.quantity[kind], measured_errors.quantity[kind])


def test_errors_are_kept_for_a_bounded_number_of_images(measured):
    measured_errors = measured(4 * IMAGES)
    assert [part.shape for part in measured_errors.logits] == 2 * [(IMAGES, 3)]
    assert measured_errors.has_enough(0) and measured_errors.has_enough(1)


def test_every_image_is_recomputed_until_enough_errors_are_known():
    def exact(image, tags):
        return {"probabilities": np.full((len(image), 1), 0.25, np.float32), "quantity": np.zeros(len(image))}

    def outputs(number):
        return {"probabilities": np.full((number, 1), 0.9, np.float32), "quantity": np.zeros(number)}

    second_look = SecondLook(Errors.none(1), exact)
    untagged, tagged = np.zeros((IMAGES // 2, 1)), np.ones((IMAGES // 2, 1))
    for again in (1, 2):
        corrected = second_look(np.arange(len(untagged)), untagged, outputs(len(untagged)), over_half)
        assert (corrected["probabilities"] == 0.25).all() and second_look.again == again * len(untagged)
    sure = {"probabilities": np.full((4, 1), 0.999999, np.float32), "quantity": np.zeros(4)}
    # Their logit of 13.8 is far above the errors of 3.3.
    assert second_look(np.arange(4), untagged[:4], sure, over_half) is sure
    assert second_look(np.arange(4), tagged[:4], sure, over_half)["probabilities"].max() == 0.25
