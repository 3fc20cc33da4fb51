"""The counting rules by name, without importing them."""

import importlib

BEST = "best"  # the rule that held-out images choose
COUNTING_RULES = {
    "regression": "Regression",
    "top_k": "TopK",
    "expected_count": "ExpectedCount",
    "threshold": "Threshold",
    "class_thresholds": "ClassThresholds",
    "poisson_binomial": "PoissonBinomial",
    "count_posterior": "CountPosterior",
    "expected_f1": "ExpectedF1",
    "guided_threshold": "GuidedThreshold",
}
# Rules that a graph can hold (`msmm.export`). The others need distributions over counts.
EXPORTABLE = ("regression", "top_k", "expected_count", "threshold", "class_thresholds", "guided_threshold")


def load_counting_rule(name: str):
    """Returns the class of a counting rule."""
    return getattr(importlib.import_module("msmm.quantities.counting_rules"), COUNTING_RULES[name])


def load_counting_rules() -> dict:
    """Returns name -> class of every counting rule."""
    return {name: load_counting_rule(name) for name in COUNTING_RULES}
