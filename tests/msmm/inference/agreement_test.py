import dataclasses

import numpy as np
import pytest

from msmm.inference.agreement import MAX_DIFFERENCE, compare_annotations, count_borderline
from msmm.inference.model import Annotation
from msmm.quantities.counting_rules import AtLeast

HALF = AtLeast(0.5)
TAGS = [["dog"], []]


def annotation(model, probabilities, labels, quantity=2.0):
    p = np.zeros(len(model.labels), np.float32)
    p[: len(probabilities)] = probabilities
    return Annotation(tuple(model.labels[i] for i in labels), p, quantity)


def compare(model, one, other, quantity=HALF):
    """Compares two annotations of an image with tags, beside an image without differences."""
    same = annotation(model, [0.9, 0.8], [0, 1], other.quantity)
    agreement = compare_annotations(model, [same, one], [same, other], TAGS, quantity)
    assert agreement.images == 2
    return agreement.same_labels == agreement.same_order == 2, agreement.borderline, agreement.is_good


def test_a_different_label_is_a_disagreement_unless_borderline(tying_model):
    def annotated(probability, labels):
        return annotation(tying_model, [0.9, probability], labels)

    assert compare(tying_model, annotated(0.5, [0, 1]), annotated(0.5, [0, 1])) == (True, 0, True)
    assert compare(tying_model, annotated(0.5 - 3e-8, [0]), annotated(0.5, [0, 1])) == (True, 1, True)
    assert compare(tying_model, annotated(0.49995, [0]), annotated(0.50002, [0, 1])) == (True, 1, True)
    # The margin is far larger than the difference of the numbers, so the rules differ.
    assert compare(tying_model, annotated(0.50002, [0]), annotated(0.50002, [0, 1])) == (False, 0, False)
    # However far the numbers differ, nothing beyond the tolerance is borderline.
    assert compare(tying_model, annotated(0.4, [0]), annotated(0.6, [0, 1])) == (False, 0, False)


def test_a_different_order_is_a_disagreement_unless_probabilities_tie(tying_model):
    def ordered(labels, second=0.8):
        return annotation(tying_model, [0.9, second, 0.8], labels, 3.0)

    assert compare(tying_model, ordered([0, 2, 1]), ordered([0, 1, 2])) == (True, 2, True)
    assert compare(tying_model, ordered([1, 0, 2]), ordered([0, 1, 2])) == (False, 2, False)
    assert compare(tying_model, ordered([0, 2, 1], 0.81), ordered([0, 1, 2], 0.81)) == (False, 2, False)


@pytest.mark.parametrize(
    ("change", "good"),
    [
        (0.5 * MAX_DIFFERENCE, True),
        (2 * MAX_DIFFERENCE, False),
        (-2 * MAX_DIFFERENCE, False),
        (np.nan, False),
    ],
)
@pytest.mark.parametrize("quantity", [0.5, 20.0])
def test_differences_of_probabilities_and_quantities_are_bounded(tying_model, change, good, quantity):
    one = annotation(tying_model, [0.9, 0.7], [0, 1], quantity)
    other = dataclasses.replace(one, quantity=quantity + max(1, quantity) * change)
    assert compare(tying_model, other, one) == (True, 0, good)
    other = dataclasses.replace(
        one, probabilities=one.probabilities + np.float32(change) * (one.probabilities == 0.9)
    )
    other = dataclasses.replace(
        one, probabilities=np.where(np.arange(10) == 0, 0.9 + change, one.probabilities)
    )
    assert compare(tying_model, other, one)[2] == good


def test_images_with_borderline_labels_are_counted(tying_model):
    annotations = [
        annotation(tying_model, p, [0], m) for p, m in [([0.9, 0.5 - 1e-7], 2.0), ([0.9, 0.8], 1.5 - 1e-7)]
    ]
    assert count_borderline(tying_model, annotations, TAGS, HALF) == 1
    assert count_borderline(tying_model, annotations, TAGS, "regression") == 1
    assert count_borderline(tying_model, annotations, TAGS, "regression", 1e-8) == 0
