"""Fits every counting rule on held-out images, and chooses one of them."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from msmm.core.progress import ProgressBar
from msmm.quantities.calibration import Calibration
from msmm.quantities.counting_rules import CountingRule, apply_rule
from msmm.quantities.cross_validation import choose_out_of_fold
from msmm.quantities.held_out_predictions import HeldOutPredictions
from msmm.quantities.registry import BEST, load_counting_rule, load_counting_rules
from msmm.scoring.bootstrap import LEVEL, metric_gain
from msmm.scoring.borderline import ROUNDING, first_best, is_better
from msmm.scoring.metrics import annotation_metrics
from msmm.scoring.predictions import Predictions

PREFERRED = "guided_threshold"
# With fewer held-out images thresholds are worse than a count with next to nothing to fit.
ENOUGH = 40
PREFERRED_OF_FEW = "count_posterior"
_REPEATS = 2  # of the cross-validation, with other folds; of many images and classes one


@dataclasses.dataclass(frozen=True)
class FittedCountingRules:
    """Every counting rule as fitted on the same held-out images, and the one that they chose.

    Attributes:
        rules: name -> fitted rule.
        best: the chosen name.
        held_out_h_f1: name -> H-F1 in percent by cross-validation within the held-out images; empty if there
            were too few.
        images: number of held-out images.
    """

    rules: Mapping[str, CountingRule]
    best: str
    held_out_h_f1: Mapping[str, float]
    images: int

    def apply(self, probabilities: np.ndarray, raw: np.ndarray, name: str = BEST) -> Predictions:
        """Returns the predictions of a rule, by default of the chosen one, for N images.

        Args:
            probabilities: [N, C] float, of the classifier.
            raw: [N] float, the regressor's quantities.
            name: of a rule, or "best".
        """
        return apply_rule(self.rules[self.best if name == BEST else name], probabilities, raw)

    def to_json(self) -> dict:
        """Returns the content of quantities.json."""
        return {
            "estimators": {name: dataclasses.asdict(rule) for name, rule in self.rules.items()},  # type: ignore
            "best": self.best,
            "held_out": dict(self.held_out_h_f1),
            "images": self.images,
        }

    @classmethod
    def from_json(cls, content: dict, num_classes: int) -> "FittedCountingRules":
        """Returns the rules of `to_json`'s content.

        Raises:
            ValueError, KeyError, TypeError: it is damaged or has another number of classes.
        """
        rules = {name: _restore_rule(name, dict(values)) for name, values in content["estimators"].items()}
        fitted = cls(rules, content["best"], content["held_out"], content["images"])
        # One label is expected: with half of thousands of classes some rules would compute for minutes.
        probabilities = np.full((1, num_classes), 1 / (num_classes + 1), np.float32)
        for name in (BEST, *rules):  # raises if the number of classes differs
            fitted.apply(probabilities, np.ones(1, np.float32), name)
        return fitted


def _restore_rule(name: str, values: dict) -> CountingRule:
    if "calibration" in values:
        calibration = values["calibration"]
        values["calibration"] = Calibration(calibration["slope"], tuple(calibration["offsets"]))
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    return load_counting_rule(name)(**values)


def fit_counting_rules(held_out: HeldOutPredictions) -> FittedCountingRules:
    """Fits every counting rule on held-out images, and chooses one on them alone.

    The choice is `PREFERRED` unless another rule is better beyond doubt. It is if the interval of its gain in
    cross-validated H-F1 (`scoring.bootstrap`, over the held-out images) lies above 0. Its level is 95 % for
    all rules together (Bonferroni: 99.4 % for each of eight). Of several such rules the best is chosen, of
    equal ones the first of the registry, which goes from simple to elaborate. Taking the highest H-F1 of nine
    instead adds more noise than it gains (docs/research/how_many_labels.md). Below `ENOUGH` images the choice
    is `PREFERRED_OF_FEW`.
    """
    kinds = load_counting_rules()
    rules = {name: kind.fit(held_out) for name, kind in kinds.items()}
    if len(held_out.raw) < ENOUGH:
        return FittedCountingRules(rules, PREFERRED_OF_FEW, {}, len(held_out.raw))
    chosen = {
        name: [choose_out_of_fold(kind.fit, held_out, seed) for seed in range(held_out.repeats(_REPEATS))]
        for name, kind in ProgressBar(kinds.items(), "cross-validating quantities", unit="rules")
    }
    h_f1 = {
        name: float(np.mean([annotation_metrics(held_out.labels, c)["H-F1"] for c in sets]))
        for name, sets in chosen.items()
    }
    level = 1 - (1 - LEVEL) / (len(kinds) - 1)

    def least_gain(name):
        gain = metric_gain(held_out.labels, chosen[PREFERRED], chosen[name], seeds_vary=False, level=level)
        return gain.interval[0]

    better = [n for n in kinds if is_better(h_f1[n], h_f1[PREFERRED]) and least_gain(n) > ROUNDING]
    candidates = better or [PREFERRED]
    best = candidates[first_best([h_f1[name] for name in candidates])]
    return FittedCountingRules(rules, best, h_f1, len(held_out.raw))
