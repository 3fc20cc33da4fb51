import numpy as np
import pytest

from msmm.inference.engines.second_look import FEW, FILE, IMAGES, Errors, SecondLook, measure
from msmm.scoring.logits import sigmoid


def errors(without_tags, with_tags, often=FEW):
    """Errors of one class on `often` of the images; on the others there are none."""
    of_logits = np.zeros((2, IMAGES, 1), np.float32)
    of_logits[:, :often, 0] = [[without_tags], [with_tags]]
    return Errors(tuple(of_logits), tuple(np.zeros((2, IMAGES), np.float32)))


def over_half(probabilities, quantity, tagged):
    return probabilities > 0.5


def look(errors, said, tags=None, choose=over_half):
    """The probabilities after the second look, in which every one is 0.25, and the rows that it was given."""
    given = []

    def exact(image, tags):
        given.extend(image.tolist())
        return {"probabilities": np.full((len(image), 1), 0.25, np.float32), "quantity": np.zeros(len(image))}

    said = {"probabilities": np.array(said, np.float32)[:, None], "quantity": np.ones(len(said), np.float32)}
    tags = np.zeros((len(said["quantity"]), 1)) if tags is None else np.array(tags)[:, None]
    found = SecondLook(errors, exact)(np.arange(len(tags)), tags, said, choose)
    return found["probabilities"][:, 0], given, found["quantity"]


def test_images_that_an_error_could_move_across_the_threshold_are_recomputed():
    near, far = sigmoid(np.array([0.99, 1.01]))  # logits, beside errors of 1 that lifted them
    said, given, quantity = look(errors(1.0, 0.0), [near, far, 1 - near, 0.5])
    assert given == [0] and said == pytest.approx([0.25, far, 1 - near, 0.5])
    assert quantity.tolist() == [0, 1, 1, 1]
    said, given, _ = look(errors(-1.0, 0.0), [near, far, 1 - near, 1 - far])
    assert given == [2]


def test_rare_errors_are_ignored():
    assert look(errors(1.0, 0.0, FEW - 1), [sigmoid(0.5)])[1] == []
    assert look(errors(1.0, 0.0, FEW), [sigmoid(0.5)])[1] == [0]


def test_images_with_and_without_tags_have_separate_errors():
    assert look(errors(1.0, 0.1), 2 * [sigmoid(0.5)], tags=[1, 0])[1] == [1]
    assert look(errors(0.1, 1.0), 2 * [sigmoid(0.5)], tags=[1, 0])[1] == [0]


def test_errors_of_quantities_cause_recomputation():
    def counted(probabilities, quantity, tagged):
        return np.broadcast_to(quantity[:, None] > 0.5, probabilities.shape)

    moved = Errors(tuple(np.zeros((2, IMAGES, 1))), tuple(np.full((2, IMAGES), 0.6)))
    assert look(moved, [0.9], choose=counted)[1] == [0]
    assert look(errors(0.0, 0.0), [0.9], choose=counted)[1] == []


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
    found = measured(40)
    np.testing.assert_allclose(found.logits[0], 0.1, atol=1e-5)
    np.testing.assert_allclose(found.logits[1], 0.2, atol=1e-5)
    np.testing.assert_allclose(found.quantity[1], 0.5, atol=1e-5)
    assert [part.shape for part in found.logits] == [(40, 3), (30, 3)]
    (tmp_path / FILE).write_bytes(found.to_bytes())
    read = Errors.read(tmp_path, 3)
    for kind in (0, 1):
        np.testing.assert_array_equal(read.logits[kind], found.logits[kind])
        np.testing.assert_array_equal(read.quantity[kind], found.quantity[kind])


def test_errors_are_kept_for_a_bounded_number_of_images(measured):
    found = measured(4 * IMAGES)
    assert [part.shape for part in found.logits] == 2 * [(IMAGES, 3)]
    assert found.known(0) and found.known(1)


def test_every_image_is_recomputed_until_enough_errors_are_known():
    def exact(image, tags):
        return {"probabilities": np.full((len(image), 1), 0.25, np.float32), "quantity": np.zeros(len(image))}

    def outputs(number):
        return {"probabilities": np.full((number, 1), 0.9, np.float32), "quantity": np.zeros(number)}

    look = SecondLook(Errors.none(1), exact)
    untagged, tagged = np.zeros((IMAGES // 2, 1)), np.ones((IMAGES // 2, 1))
    for again in (1, 2):
        corrected = look(np.arange(len(untagged)), untagged, outputs(len(untagged)), over_half)
        assert (corrected["probabilities"] == 0.25).all() and look.again == again * len(untagged)
    sure = {"probabilities": np.full((4, 1), 0.999999, np.float32), "quantity": np.zeros(4)}
    assert look(np.arange(4), untagged[:4], sure, over_half) is sure  # errors of 3.3, from a logit of 13.8
    assert look(np.arange(4), tagged[:4], sure, over_half)["probabilities"].max() == 0.25
