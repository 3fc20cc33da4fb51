import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from msmm.core.errors import UserError
from msmm.inference.exporting import counting
from msmm.inference.exporting.graph import Graph
from msmm.inference.model import Model
from msmm.quantities.counting_rules import Regression, TopK
from msmm.quantities.fitting import fit_counting_rules
from msmm.quantities.held_out_predictions import HeldOutPredictions
from msmm.quantities.ranges import predict_range
from msmm.scoring.borderline import ROUNDING, compare_choices, find_borderline
from msmm.scoring.predictions import choose_labels

NUM_CLASSES = 7


@pytest.fixture(scope="module")
def held_out():
    rng = np.random.default_rng(0)
    logits = rng.normal(-1, 2, (300, NUM_CLASSES)).astype(np.float32)
    probabilities = 1 / (1 + np.exp(-logits))
    labels = rng.uniform(size=logits.shape) < probabilities**0.7
    return HeldOutPredictions(probabilities, labels.sum(axis=1) + rng.normal(0, 0.5, 300), labels)


@pytest.mark.parametrize("kind", counting.RULES)
def test_an_exported_rule_chooses_the_labels_of_its_estimator(kind, held_out):
    estimator = kind.fit(held_out)
    probabilities, raw = held_out.probabilities, held_out.raw.astype(np.float32)
    rule = tf.function(lambda p, q: counting.choose_labels(*counting.RULES[kind](estimator, p, q)))
    chosen = rule(tf.constant(probabilities), tf.constant(raw))
    borderline = find_borderline(*predict_range(estimator, probabilities, raw, ROUNDING, ROUNDING))
    wrong, on_border = compare_choices(
        chosen.numpy(), choose_labels(estimator.apply(probabilities, raw)), borderline
    )
    assert not wrong.any() and on_border.sum() <= borderline.sum() <= 2
    assert len({row.sum() for row in chosen.numpy()}) > 1 or kind is TopK


def test_exported_regression_handles_ties_halves_and_limits():
    rng = np.random.default_rng(0)
    probabilities = (rng.integers(0, 5, (500, 7)) / 4).astype(np.float32)  # 0 and 1 among them
    quantity = (rng.integers(-4, 40, 500) / 4).astype(np.float32)
    scores, count = counting.regression(Regression(), tf.constant(probabilities), tf.constant(quantity))
    predictions = Regression().apply(probabilities, quantity)
    np.testing.assert_array_equal(count, predictions.counts)
    np.testing.assert_array_equal(
        tf.function(counting.choose_labels)(scores, count), choose_labels(predictions)
    )


def test_top_k_is_limited_to_the_number_of_labels():
    _, count = counting.top_k(TopK(3), tf.constant([[0.2, 0.7]]), tf.constant([1.0]))
    assert count.numpy().tolist() == [2]


def test_ties_go_to_the_lower_id():
    chosen = counting.choose_labels(tf.constant([[0.5, 0.9, 0.5, 0.5]]), tf.constant([3]))
    assert chosen.numpy().tolist() == [[True, True, True, False]]


def test_images_with_and_without_tags_use_separate_counting_rules(tying_model, held_out):
    """Each kind of image uses its own fitted rules, as in `annotate`."""
    rng = np.random.default_rng(1)
    scores = rng.uniform(size=(60, len(tying_model.labels)))
    fitted = fit_counting_rules(
        HeldOutPredictions(scores, scores.sum(axis=1), rng.uniform(size=scores.shape) < scores)
    )
    three = dataclasses.replace(fitted, rules={**fitted.rules, "best": TopK(3)})
    network, labels, tags = tying_model.network, tying_model.labels, tying_model.tags
    model = Model(network, labels, tags, {}, fitted, dataclasses.replace(three, best="best"))
    images = [np.zeros((8, 8, 3), np.uint8)] * 4
    words = [["dog", "x"], [], ["y"], ["no such tag"]]
    multi_hot = np.array([np.isin(tags, w) for w in words], np.float32)
    outputs = Graph(model, "best").pixels(tf.constant(np.stack(images), tf.float32), tf.constant(multi_hot))
    for row, annotation in zip(outputs["chosen"].numpy(), model.annotate(images, words), strict=True):
        assert {labels[i] for i in np.flatnonzero(row)} == set(annotation.labels)
    assert outputs["count"].numpy()[[1, 3]].tolist() == [3, 3]
    assert counting.default(model) == "best" and counting.default(tying_model) == "regression"
    model.quantities = dataclasses.replace(fitted, best="expected_f1")
    assert counting.default(model) == "regression"
    with pytest.raises(UserError, match="not by expected F1: name another --quantity"):
        Graph(model, "expected_f1")
