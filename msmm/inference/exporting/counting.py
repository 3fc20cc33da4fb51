"""The counting rules of `quantities.counting_rules` that a TensorFlow graph can hold."""

import tensorflow as tf

from msmm.inference.model import Model
from msmm.quantities.registry import BEST, EXPORTABLE, load_counting_rule
from msmm.scoring.logits import NEAREST


def regression(rule, probabilities, quantity):
    """Counts as `counting_rules.Regression`."""
    return probabilities, _rounded(quantity, probabilities)


def top_k(rule, probabilities, quantity):
    """Counts as `counting_rules.TopK`."""
    return probabilities, tf.fill(tf.shape(quantity), min(rule.k, probabilities.shape[1]))


def expected_count(rule, probabilities, quantity):
    """Counts as `counting_rules.ExpectedCount`."""
    return probabilities, _rounded(tf.reduce_sum(probabilities, axis=1), probabilities)


def threshold(rule, probabilities, quantity):
    """Counts as `counting_rules.Threshold`."""
    return _above(_logits(probabilities) - rule.threshold)


def class_thresholds(rule, probabilities, quantity):
    """Counts as `counting_rules.ClassThresholds`."""
    return _above(_logits(probabilities) - tf.constant(rule.thresholds, tf.float32), rule.at_least)


def guided_threshold(rule, probabilities, quantity):
    """Counts as `counting_rules.GuidedThreshold`."""
    calibration = rule.calibration
    logits = calibration.slope * _logits(probabilities) + tf.constant(calibration.offsets, tf.float32)
    further = quantity - tf.reduce_sum(tf.sigmoid(logits), axis=1)
    return _above(logits + rule.precision * further[:, None] - rule.threshold)


# Counting rule -> function of probabilities [B, C] and raw quantities [B], float32, to scores that rank the
# labels, float32 [B, C], and numbers of labels, int32 [B]. Each function has the name of its rule.
RULES = {load_counting_rule(name): globals()[name] for name in EXPORTABLE}


def default(model: Model) -> str:
    """Returns the default rule of an export: the model's, or the paper's where no graph can hold that."""
    rules = model.counting_rules().values()
    return BEST if model.quantities and all(type(rule) in RULES for rule in rules) else "regression"


def _rounded(quantity, probabilities):
    """Rounds as `predictions.round_counts` (decision 21)."""
    return tf.cast(tf.clip_by_value(tf.floor(quantity + 0.5), 1, probabilities.shape[1]), tf.int32)


def _above(scores, at_least=1):
    """Counts scores as `thresholds.choose_above_zero`."""
    return scores, tf.maximum(at_least, tf.reduce_sum(tf.cast(scores >= 0, tf.int32), axis=1))


def _logits(probabilities):
    """Returns `scoring.logits.to_logits` in float32."""
    p = tf.clip_by_value(probabilities, NEAREST, 1 - NEAREST)
    return tf.math.log(p) - tf.math.log(1 - p)


def choose_labels(scores, count):
    """Chooses labels as `predictions.choose_labels`: scores float32 [B, C], count int32 [B] -> bool [B, C].

    Ties go to the lower class id however a runtime sorts equal values: only the sorted values are used, not
    their places.
    """
    num_classes = scores.shape[1]
    best_first = tf.math.top_k(scores, num_classes).values
    last_place = tf.equal(tf.range(1, num_classes + 1)[None], count[:, None])
    lowest = tf.reduce_sum(tf.where(last_place, best_first, 0.0), axis=1, keepdims=True)
    above, level = scores > lowest, tf.equal(scores, lowest)
    places_left = count[:, None] - tf.reduce_sum(tf.cast(above, tf.int32), axis=1, keepdims=True)
    return above | (level & (tf.cumsum(tf.cast(level, tf.int32), axis=1) <= places_left))
