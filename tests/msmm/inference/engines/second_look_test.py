import numpy as np
import pytest

from msmm.inference.engines.second_look import FEW, SCENES, Errors, SecondLook
from msmm.scoring.logits import sigmoid


def errors(without_tags, with_tags, often=FEW):
    """Of one class, in `often` of the scenes; elsewhere none."""
    of_logits = np.zeros((2, SCENES, 1), np.float32)
    of_logits[:, :often, 0] = [[without_tags], [with_tags]]
    return Errors(of_logits, np.zeros((2, SCENES), np.float32))


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
    found = SecondLook(exact, errors)(np.arange(len(tags)), tags, said, choose)
    return found["probabilities"][:, 0], given, found["quantity"]


def test_what_an_error_could_move_over_the_line_is_computed_again():
    near, far = sigmoid(np.array([0.99, 1.01]))  # logits, beside errors of 1 that lifted them
    said, given, quantity = look(errors(1.0, 0.0), [near, far, 1 - near, 0.5])
    assert given == [0] and said == pytest.approx([0.25, far, 1 - near, 0.5])
    assert quantity.tolist() == [0, 1, 1, 1]
    said, given, _ = look(errors(-1.0, 0.0), [near, far, 1 - near, 1 - far])
    assert given == [2]


def test_an_error_that_is_rare_does_not_count():
    assert look(errors(1.0, 0.0, FEW - 1), [sigmoid(0.5)])[1] == []
    assert look(errors(1.0, 0.0, FEW), [sigmoid(0.5)])[1] == [0]


def test_images_with_tags_have_errors_of_their_own():
    assert look(errors(1.0, 0.1), 2 * [sigmoid(0.5)], tags=[1, 0])[1] == [1]
    assert look(errors(0.1, 1.0), 2 * [sigmoid(0.5)], tags=[1, 0])[1] == [0]


def test_errors_of_quantities_count_too():
    def counted(probabilities, quantity, tagged):
        return np.broadcast_to(quantity[:, None] > 0.5, probabilities.shape)

    moved = Errors(np.zeros((2, SCENES, 1), np.float32), np.full((2, SCENES), 0.6, np.float32))
    assert look(moved, [0.9], choose=counted)[1] == [0]
    assert look(errors(0.0, 0.0), [0.9], choose=counted)[1] == []


def test_errors_are_what_the_two_say_differently(tmp_path):
    def run(shift):
        def say(image, tags):
            assert image.shape[1:] == (8, 8, 3) and set(np.unique(tags)) <= {0, 1}
            z = image.mean(axis=(1, 2)) / 100 - 1 + tags.sum(axis=1)[:, None]
            return {"probabilities": sigmoid(z + shift * (1 + tags.any(axis=1))[:, None]),
                    "quantity": z[:, 0] + 5 * shift}  # fmt: skip

        return say

    found = Errors.measured(run(0.1), run(0.0), {"image": 8, "tags": 5, "labels": 3})
    np.testing.assert_allclose(found.logits[0], 0.1, atol=1e-5)
    np.testing.assert_allclose(found.logits[1], 0.2, atol=1e-5)
    np.testing.assert_allclose(found.quantity, 0.5, atol=1e-5)
    assert found.logits.shape == (2, SCENES, 3)
    found.write(tmp_path)
    read = Errors.read(tmp_path)
    np.testing.assert_array_equal(read.logits, found.logits)
    np.testing.assert_array_equal(read.quantity, found.quantity)
