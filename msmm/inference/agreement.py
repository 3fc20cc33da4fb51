"""Annotations of one model by two ways of computing: differences in numbers, and in labels.

Labels whose decision rounding can reverse are counted apart: they are no disagreement (`scoring.borderline`).
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from msmm.inference.model import Annotation, Model
from msmm.quantities.counting_rules import CountingRule
from msmm.quantities.ranges import predict_range
from msmm.scoring.borderline import ROUNDING, compare_choices, find_borderline, is_descending

# Of a probability in float32, and of a quantity relative to the largest quantity, or to 1.
MAX_DIFFERENCE = 1e-4


@dataclasses.dataclass(frozen=True)
class Agreement:
    """The agreement of annotations with a reference.

    Attributes:
        images: number of images.
        probability: largest difference of a probability.
        quantity: largest difference of a quantity, in labels.
        scale: largest quantity of the reference, at least 1.
        same_labels: number of images with the same labels, but for borderline ones.
        same_order: number of images whose labels are in the same order, but for equal probabilities.
        borderline: number of borderline labels that differ, or have another place.
    """

    images: int
    probability: float
    quantity: float
    scale: float
    same_labels: int
    same_order: int
    borderline: int

    @property
    def is_good(self) -> bool:
        """True if numbers are within `MAX_DIFFERENCE` and labels and order differ on the border only."""
        within = self.probability <= MAX_DIFFERENCE and self.quantity <= MAX_DIFFERENCE * self.scale
        return bool(within) and self.same_labels == self.same_order == self.images


def compare_annotations(
    model: Model,
    annotations: Sequence[Annotation],
    reference: Sequence[Annotation],
    tags: Sequence[Sequence[str]],
    quantity: str | CountingRule | None = None,
) -> Agreement:
    """Compares annotations of images with the annotations of a reference.

    The tolerance within which a label is borderline is the difference of the numbers, at least `ROUNDING` and
    at most `MAX_DIFFERENCE`. A label that differs by more was decided by another rule or from other numbers.

    Args:
        model: the model of both.
        annotations: one per image.
        reference: the annotations to compare with.
        tags: the tags of each image.
        quantity: the counting rule of both; see `Model.annotate`.
    """
    pairs = list(zip(annotations, reference, strict=True))
    # Not max of Python, which passes over NaN.
    probability = float(np.max([np.abs(a.probabilities - b.probabilities) for a, b in pairs]))
    difference = float(np.max([abs(a.quantity - b.quantity) for a, b in pairs]))
    scale = max(1.0, *(abs(b.quantity) for b in reference))
    tolerance = min(max(ROUNDING, probability), MAX_DIFFERENCE)
    raw_tolerance = scale * min(max(ROUNDING, difference / scale), MAX_DIFFERENCE)
    borderline = _borderline(model, reference, tags, quantity, tolerance, raw_tolerance)
    chosen, expected = (_choices(model, some) for some in (annotations, reference))
    wrong, on_border = compare_choices(chosen, expected, borderline)
    order = [_compare_order(model, a, b, 2 * tolerance) for a, b in pairs]
    return Agreement(
        images=len(pairs),
        probability=probability,
        quantity=difference,
        scale=scale,
        same_labels=int((~wrong.any(axis=1)).sum()),
        same_order=sum(in_order for in_order, _ in order),
        borderline=int(on_border.sum()) + sum(moved for _, moved in order),
    )


def count_borderline(
    model: Model,
    annotations: Sequence[Annotation],
    tags: Sequence[Sequence[str]],
    quantity: str | CountingRule | None = None,
    tolerance: float = ROUNDING,
) -> int:
    """Returns how many labels of images another way of computing can decide otherwise.

    Args:
        model: the model.
        annotations: one per image.
        tags: the tags of each image.
        quantity: the counting rule; see `Model.annotate`.
        tolerance: of a probability, and of a quantity relative to the larger of 1 and the quantity.
    """
    scale = max(1.0, *(abs(a.quantity) for a in annotations))
    return int(_borderline(model, annotations, tags, quantity, tolerance, tolerance * scale).sum())


def _borderline(model: Model, annotations, tags, quantity, tolerance: float, raw_tolerance: float):
    """Returns the borderline labels, bool [N, C]."""
    probabilities = np.stack([a.probabilities for a in annotations])
    raw = np.array([a.quantity for a in annotations], np.float64)
    tagged, borderline = model.has_tags(tags), np.zeros(probabilities.shape, bool)
    for has_tags, rule in model.counting_rules(quantity).items():
        rows = tagged == has_tags
        if rows.any():
            inputs = probabilities[rows], raw[rows]
            borderline[rows] = find_borderline(*predict_range(rule, *inputs, tolerance, raw_tolerance))
    return borderline


def _choices(model: Model, annotations) -> np.ndarray:
    return np.array([np.isin(model.labels, annotation.labels) for annotation in annotations])


def _compare_order(model: Model, annotation: Annotation, reference: Annotation, tolerance: float):
    """Returns whether labels are in the reference's order within the tolerance, and how many have moved.

    The order is the one of the reference's probabilities. A label has moved if both annotations have it, on
    different places.
    """
    ids = {label: i for i, label in enumerate(model.labels)}
    in_order = is_descending(reference.probabilities[[ids[label] for label in annotation.labels]], tolerance)
    both = set(annotation.labels) & set(reference.labels)
    places = ([label for label in some.labels if label in both] for some in (annotation, reference))
    return in_order, sum(a != b for a, b in zip(*places, strict=True))
