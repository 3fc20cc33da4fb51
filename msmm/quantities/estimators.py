"""How many labels? One class an answer: fitted on held-out images, then labels for any images.

Each is a frozen dataclass of numbers, so JSON holds it; `fit` takes `HeldOut` images, and `annotate`
takes probabilities [N, C] and the regressor's raw quantities [N] and gives Annotations. Every one of
`ESTIMATORS` says at least one label of an image (decision 21), and its scores rank the labels as it chooses
them.
"""

import dataclasses
from typing import ClassVar, Protocol

import numpy as np

from msmm.quantities import thresholds
from msmm.quantities.calibration import Calibration
from msmm.quantities.count_distribution import best_expected_f1, poisson_binomial
from msmm.quantities.cross_validation import cross_validated
from msmm.quantities.held_out import HeldOut, logits
from msmm.scoring.borderline import ROUNDING_OF_SUMS, first_best
from msmm.scoring.predictions import Annotations, round_counts


class Estimator(Protocol):
    """What says how many labels images get."""

    def annotate(self, probabilities: np.ndarray, raw: np.ndarray) -> Annotations:
        """Of probabilities [N, C] and the regressor's raw quantities [N]."""


@dataclasses.dataclass(frozen=True)
class AtLeast:
    """Every label of at least a probability that somebody names, perhaps none; nothing is fitted."""

    title: ClassVar[str] = "a given threshold"
    probability: float

    def annotate(self, probabilities: np.ndarray, raw: np.ndarray) -> Annotations:
        counts = (probabilities >= self.probability).sum(axis=1)
        return Annotations(probabilities, counts.astype(np.int32))


@dataclasses.dataclass(frozen=True)
class Regression:
    """The paper's: the regressor's quantity, rounded (decision 21). Nothing is fitted."""

    title: ClassVar[str] = "regression (the paper's)"

    @classmethod
    def fit(cls, held_out: HeldOut) -> "Regression":
        return cls()

    def annotate(self, probabilities: np.ndarray, raw: np.ndarray) -> Annotations:
        return Annotations(probabilities, round_counts(raw, probabilities.shape[1]))


@dataclasses.dataclass(frozen=True)
class TopK:
    """The same quantity for every image (decision 24)."""

    title: ClassVar[str] = "top k"
    k: int

    @classmethod
    def fit(cls, held_out: HeldOut) -> "TopK":
        return cls(held_out.k)

    def annotate(self, probabilities: np.ndarray, raw: np.ndarray) -> Annotations:
        images, classes = probabilities.shape
        return Annotations(probabilities, np.full(images, min(self.k, classes), np.int32))


@dataclasses.dataclass(frozen=True)
class ExpectedCount:
    """Σp, rounded as the paper rounds its regressor's. Nothing is fitted."""

    title: ClassVar[str] = "rounded Σp"

    @classmethod
    def fit(cls, held_out: HeldOut) -> "ExpectedCount":
        return cls()

    def annotate(self, probabilities: np.ndarray, raw: np.ndarray) -> Annotations:
        total = probabilities.sum(axis=1, dtype=np.float64)
        return Annotations(probabilities, round_counts(total, probabilities.shape[1]))


@dataclasses.dataclass(frozen=True)
class Threshold:
    """Every label above one logit, that with the highest H-F1 on held-out images."""

    title: ClassVar[str] = "one threshold"
    threshold: float

    @classmethod
    def fit(cls, held_out: HeldOut) -> "Threshold":
        return cls(thresholds.best_threshold(held_out.logits, held_out.labels)[0])

    def annotate(self, probabilities: np.ndarray, raw: np.ndarray) -> Annotations:
        return thresholds.above(logits(probabilities) - self.threshold)


@dataclasses.dataclass(frozen=True)
class ClassThresholds:
    """Every label above its class's logit: the one threshold, moved towards that with the class's best F1.

    A class with n held-out positives goes n / (n + strength) of the way; how strongly all are held
    together is what has the highest H-F1 in cross-validation within the held-out images.
    """

    title: ClassVar[str] = "a threshold a class"
    STRENGTHS: ClassVar[tuple[float, ...]] = (3.0, 10.0, 30.0, 100.0, np.inf)
    thresholds: tuple[float, ...]

    @classmethod
    def fit(cls, held_out: HeldOut) -> "ClassThresholds":
        def fitter(strength):
            return lambda part: cls._fit(part, strength)

        if len(held_out.raw) < 2:
            return cls._fit(held_out, cls.STRENGTHS[-1])
        strongest_first = cls.STRENGTHS[::-1]
        h_f1 = [cross_validated(fitter(s), held_out) for s in strongest_first]
        return cls._fit(held_out, strongest_first[first_best(h_f1)])  # of equal ones the strongest

    @classmethod
    def _fit(cls, held_out: HeldOut, strength: float) -> "ClassThresholds":
        z, labels = held_out.logits, held_out.labels
        common, _ = thresholds.best_threshold(z, labels)
        own = thresholds.best_class_thresholds(z, labels)
        share = labels.sum(axis=0) / (labels.sum(axis=0) + strength)
        moved = np.where(np.isnan(own), 0.0, share * (own - common))
        again, _ = thresholds.best_threshold(z - moved, labels)
        return cls(tuple(float(v) for v in again + moved))

    def annotate(self, probabilities: np.ndarray, raw: np.ndarray) -> Annotations:
        return thresholds.above(logits(probabilities) - np.array(self.thresholds))


@dataclasses.dataclass(frozen=True)
class PoissonBinomial:
    """The median of how many labels there are if calibrated probabilities are independent."""

    title: ClassVar[str] = "Poisson-binomial"
    calibration: Calibration

    @classmethod
    def fit(cls, held_out: HeldOut) -> "PoissonBinomial":
        return cls(Calibration.fit(held_out))

    def annotate(self, probabilities: np.ndarray, raw: np.ndarray) -> Annotations:
        p = self.calibration.probabilities(logits(probabilities))
        return Annotations(p.astype(np.float32), median(poisson_binomial(p)))


@dataclasses.dataclass(frozen=True)
class CountPosterior:
    """The median of the same distribution, once the regressor has said what it thinks.

    Its quantity is read as a measurement of the count with a normal error of `precision` = 1 / variance
    (eq. 5 is that likelihood); the precision is the one that makes the held-out counts likeliest.
    """

    title: ClassVar[str] = "Poisson-binomial × regressor"
    PRECISIONS: ClassVar[tuple[float, ...]] = (0.0, *(0.05 * 2**i for i in range(10)))
    calibration: Calibration
    precision: float

    @classmethod
    def fit(cls, held_out: HeldOut) -> "CountPosterior":
        calibration = Calibration.fit(held_out)
        prior = poisson_binomial(calibration.probabilities(held_out.logits))
        true = np.maximum(1, held_out.labels.sum(axis=1))[:, None]

        def likelihood(precision):
            said = np.take_along_axis(posterior(prior, held_out.raw, precision), true, axis=1)
            return np.log(np.maximum(said, 1e-12)).mean()

        return cls(calibration, cls.PRECISIONS[first_best([likelihood(p) for p in cls.PRECISIONS])])

    def annotate(self, probabilities: np.ndarray, raw: np.ndarray) -> Annotations:
        p = self.calibration.probabilities(logits(probabilities))
        return Annotations(p.astype(np.float32), median(posterior(poisson_binomial(p), raw, self.precision)))


@dataclasses.dataclass(frozen=True)
class ExpectedF1:
    """As many labels as have the highest expected F1 of the image, if calibrated probabilities are
    independent."""

    title: ClassVar[str] = "expected F1"
    calibration: Calibration

    @classmethod
    def fit(cls, held_out: HeldOut) -> "ExpectedF1":
        return cls(Calibration.fit(held_out))

    def annotate(self, probabilities: np.ndarray, raw: np.ndarray) -> Annotations:
        p = self.calibration.probabilities(logits(probabilities))
        return Annotations(p.astype(np.float32), best_expected_f1(p))


@dataclasses.dataclass(frozen=True)
class GuidedThreshold:
    """One threshold on calibrated logits, moved for each image by what the regressor adds to Σp.

    A label's logit goes up by precision (m̂ - Σp). To first order that is what a measurement m̂ of the
    count with a normal error of variance 1 / precision does to it: of s labels and one more the
    likelihoods differ by exp(precision (m̂ - s - 1/2)), and s is about Σp. Threshold and precision are the
    mean of those with the highest H-F1 over bootstrap samples of the held-out images, which moves less
    with a few images than the best on all of them.
    """

    title: ClassVar[str] = "guided threshold"
    PRECISIONS: ClassVar[tuple[float, ...]] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4)
    SAMPLES: ClassVar[int] = 16
    calibration: Calibration
    precision: float
    threshold: float

    @classmethod
    def fit(cls, held_out: HeldOut) -> "GuidedThreshold":
        calibration = Calibration.fit(held_out)
        scores = [cls._scores(calibration, held_out.logits, held_out.raw, p) for p in cls.PRECISIONS]
        rng, found = np.random.default_rng(0), []
        for _ in range(cls.SAMPLES):
            rows = rng.integers(len(held_out.raw), size=len(held_out.raw))
            best = [thresholds.best_threshold(s[rows], held_out.labels[rows]) for s in scores]
            i = first_best([h_f1 for _, h_f1 in best])  # of equal ones the lowest precision
            found.append((cls.PRECISIONS[i], best[i][0]))
        precision, threshold = np.mean(found, axis=0)
        return cls(calibration, float(precision), float(threshold))

    @staticmethod
    def _scores(calibration: Calibration, z: np.ndarray, raw: np.ndarray, precision: float) -> np.ndarray:
        expected = calibration.probabilities(z).sum(axis=1)
        return calibration.logits(z) + precision * (raw - expected)[:, None]

    def annotate(self, probabilities: np.ndarray, raw: np.ndarray) -> Annotations:
        scores = self._scores(self.calibration, logits(probabilities), raw, self.precision)
        return thresholds.above(scores - self.threshold)


def posterior(prior: np.ndarray, raw: np.ndarray, precision: float) -> np.ndarray:
    """P(m = s) ∝ prior [N, C + 1] × normal likelihood of the measurement raw [N], with m >= 1."""
    distance = (np.arange(prior.shape[1]) - np.asarray(raw, np.float64)[:, None]) ** 2
    logarithm = np.log(np.maximum(prior, 1e-300)) - precision * distance / 2
    logarithm[:, 0] = -np.inf
    found = np.exp(logarithm - logarithm.max(axis=1, keepdims=True))
    return found / found.sum(axis=1, keepdims=True)


def median(distribution: np.ndarray) -> np.ndarray:
    """The least count >= 1 that is not exceeded with probability 1/2, [N] int32, of P(m = s) [N, C + 1]."""
    count = (distribution.cumsum(axis=1) < 0.5 - ROUNDING_OF_SUMS).sum(axis=1)
    return np.clip(count, 1, distribution.shape[1] - 1).astype(np.int32)


ESTIMATORS = {
    "regression": Regression,
    "top_k": TopK,
    "expected_count": ExpectedCount,
    "threshold": Threshold,
    "class_thresholds": ClassThresholds,
    "poisson_binomial": PoissonBinomial,
    "count_posterior": CountPosterior,
    "expected_f1": ExpectedF1,
    "guided_threshold": GuidedThreshold,
}
