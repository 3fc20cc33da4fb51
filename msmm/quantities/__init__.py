"""How many labels does an image deserve? Several answers with one interface, and a choice among them.

    held_out = HeldOut(probabilities [n, C], raw [n], labels [n, C])     images that trained no weights
    fitted = fit(held_out)                                               every estimator, and the choice
    fitted.annotate(probabilities [N, C], raw [N], "best")               Annotations: scores and counts

NumPy alone: this knows neither runs nor networks.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from msmm.core.progress import ProgressBar
from msmm.quantities.calibration import Calibration
from msmm.quantities.cross_validation import out_of_fold
from msmm.quantities.estimators import ESTIMATORS
from msmm.quantities.held_out import HeldOut
from msmm.scoring.bootstrap import metric_gain
from msmm.scoring.borderline import ROUNDING, first_best, is_better
from msmm.scoring.metrics import annotation_metrics
from msmm.scoring.predictions import Annotations

BEST = "best"
PREFERRED = "guided_threshold"
# With fewer held-out images thresholds are worse than a count that needs next to nothing fitted.
ENOUGH = 40
PREFERRED_OF_FEW = "count_posterior"
_REPEATS = 2  # of the cross-validation, with other folds


@dataclasses.dataclass(frozen=True)
class Fitted:
    """Every estimator as fitted on the same held-out images, and which one they chose.

    estimators: name -> one of `ESTIMATORS`. best: the chosen name. held_out: name -> H-F1 in percent by
    cross-validation within the held-out images; empty where there were too few. images: how many there were.
    """

    estimators: Mapping[str, Any]
    best: str
    held_out: Mapping[str, float]
    images: int

    def annotate(self, probabilities: np.ndarray, raw: np.ndarray, name: str = BEST) -> Annotations:
        """The labels that an estimator, or the chosen one, gives N images.

        probabilities: [N, C] float, the classifier's. raw: [N] float, the regressor's quantities.
        """
        return self.estimators[self.best if name == BEST else name].annotate(probabilities, raw)

    def to_json(self) -> dict:
        """As JSON holds it."""
        return dataclasses.asdict(self) | {
            "estimators": {name: dataclasses.asdict(e) for name, e in self.estimators.items()}
        }

    @classmethod
    def from_json(cls, said: dict, num_classes: int) -> "Fitted":
        """What `to_json` gave. Raises ValueError, KeyError or TypeError where it is damaged or of
        another number of classes."""
        estimators = {name: _restored(name, dict(values)) for name, values in said["estimators"].items()}
        fitted = cls(estimators, said["best"], said["held_out"], said["images"])
        for name in (BEST, *estimators):  # raises if anything is of another number of classes
            fitted.annotate(np.full((1, num_classes), 0.5, np.float32), np.ones(1, np.float32), name)
        return fitted


def _restored(name: str, values: dict):
    if "calibration" in values:
        said = values["calibration"]
        values["calibration"] = Calibration(said["slope"], tuple(said["offsets"]))
    return ESTIMATORS[name](**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


def fit(held_out: HeldOut) -> Fitted:
    """Fits every estimator on held-out images, and chooses one on them alone.

    The choice is `PREFERRED` unless another is better without doubt: unless the 95 % interval of its gain in
    cross-validated H-F1 (`scoring.bootstrap`, over the held-out images) lies above 0. Of several such
    the best, of equal ones the first in `ESTIMATORS`, which go from simple to elaborate. To take the
    highest H-F1 of nine instead adds more noise than it gains (docs/research/how_many_labels.md). Below
    `ENOUGH` images it is `PREFERRED_OF_FEW`.
    """
    estimators = {name: kind.fit(held_out) for name, kind in ESTIMATORS.items()}
    if len(held_out.raw) < ENOUGH:
        return Fitted(estimators, PREFERRED_OF_FEW, {}, len(held_out.raw))
    chosen = {
        name: [out_of_fold(kind.fit, held_out, seed) for seed in range(_REPEATS)]
        for name, kind in ProgressBar(ESTIMATORS.items(), "cross-validating quantities", unit="estimators")
    }
    h_f1 = {
        name: float(np.mean([annotation_metrics(held_out.labels, c)["H-F1"] for c in sets]))
        for name, sets in chosen.items()
    }
    better = [
        name
        for name in ESTIMATORS
        if is_better(h_f1[name], h_f1[PREFERRED])
        and metric_gain(held_out.labels, chosen[PREFERRED], chosen[name], seeds_vary=False).interval[0]
        > ROUNDING
    ]
    candidates = better or [PREFERRED]
    best = candidates[first_best([h_f1[name] for name in candidates])]
    return Fitted(estimators, best, h_f1, len(held_out.raw))
