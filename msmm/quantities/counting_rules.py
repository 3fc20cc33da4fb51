"""The counting rules, one class each: fitted on held-out images, then applied to any images.

Each is a frozen dataclass of numbers, so that JSON can hold it. `fit` takes `HeldOutPredictions`; `apply`
takes probabilities [N, C] and the regressor's raw quantities [N]. Every rule of the registry chooses at least
one label per image (decision 21). Its scores rank the labels in the order in which it chooses them.
"""

import dataclasses
import functools
from typing import ClassVar, Protocol

import numpy as np

from msmm.quantities import thresholds
from msmm.quantities.calibration import Calibration
from msmm.quantities.count_distribution import best_expected_f1, count_limit, poisson_binomial
from msmm.quantities.cross_validation import cross_validate
from msmm.quantities.held_out_predictions import HeldOutPredictions
from msmm.scoring.borderline import ROUNDING_OF_SUMS, first_best
from msmm.scoring.logits import sigmoid, to_logits
from msmm.scoring.predictions import Predictions, round_counts

_PAIRS = 2**20  # of an image and a class, at a time: 8 MiB in float64
_FAR = 40  # counts beyond the regressor's quantity that its likelihood may still reach


class CountingRule(Protocol):
    """A rule that decides how many labels to keep."""

    title: ClassVar[str]

    def apply(self, probabilities: np.ndarray, raw: np.ndarray) -> Predictions:
        """Returns scores and counts from probabilities [N, C] and the regressor's raw quantities [N]."""
        ...


def apply_rule(rule: CountingRule, probabilities: np.ndarray, raw: np.ndarray) -> Predictions:
    """Returns `rule.apply`, computed for some images at a time: float64 of many classes takes much memory."""
    size = max(1, _PAIRS // probabilities.shape[1])
    if len(raw) <= size:
        return rule.apply(probabilities, raw)
    starts = range(0, len(raw), size)
    parts = [rule.apply(probabilities[i : i + size], raw[i : i + size]) for i in starts]
    counts = np.concatenate([part.known_counts for part in parts])
    return Predictions(np.concatenate([part.scores for part in parts]), counts)


@dataclasses.dataclass(frozen=True)
class AtLeast:
    """Every label with at least a given probability, perhaps none; nothing is fitted."""

    title: ClassVar[str] = "a given threshold"
    probability: float

    def apply(self, probabilities: np.ndarray, raw: np.ndarray) -> Predictions:
        counts = (probabilities >= self.probability).sum(axis=1)
        return Predictions(probabilities, counts.astype(np.int32))


@dataclasses.dataclass(frozen=True)
class Regression:
    """The paper's rule: the regressor's quantity, rounded (decision 21). Nothing is fitted."""

    title: ClassVar[str] = "regression (the paper's)"

    @classmethod
    def fit(cls, held_out: HeldOutPredictions) -> "Regression":
        return cls()

    def apply(self, probabilities: np.ndarray, raw: np.ndarray) -> Predictions:
        return Predictions(probabilities, round_counts(raw, probabilities.shape[1]))


@dataclasses.dataclass(frozen=True)
class TopK:
    """Keeps the k most probable labels of every image (decision 24)."""

    title: ClassVar[str] = "top k"
    k: int

    @classmethod
    def fit(cls, held_out: HeldOutPredictions) -> "TopK":
        return cls(held_out.k)

    def apply(self, probabilities: np.ndarray, raw: np.ndarray) -> Predictions:
        images, classes = probabilities.shape
        return Predictions(probabilities, np.full(images, min(self.k, classes), np.int32))


@dataclasses.dataclass(frozen=True)
class ExpectedCount:
    """Σp, rounded like the regressor's quantity. Nothing is fitted."""

    title: ClassVar[str] = "rounded Σp"

    @classmethod
    def fit(cls, held_out: HeldOutPredictions) -> "ExpectedCount":
        return cls()

    def apply(self, probabilities: np.ndarray, raw: np.ndarray) -> Predictions:
        total = probabilities.sum(axis=1, dtype=np.float64)
        return Predictions(probabilities, round_counts(total, probabilities.shape[1]))


@dataclasses.dataclass(frozen=True)
class Threshold:
    """Every label above one logit, the one with the highest H-F1 on held-out images."""

    title: ClassVar[str] = "one threshold"
    threshold: float

    @classmethod
    def fit(cls, held_out: HeldOutPredictions) -> "Threshold":
        return cls(thresholds.best_threshold(held_out.logits, held_out.labels)[0])

    def apply(self, probabilities: np.ndarray, raw: np.ndarray) -> Predictions:
        return thresholds.choose_above_zero(to_logits(probabilities) - self.threshold)


@dataclasses.dataclass(frozen=True)
class ClassThresholds:
    """Every label above its class's logit: the one threshold, moved towards the one with the class's best F1.

    A class with n held-out positives moves n / (n + strength) of the way. The strength with the highest H-F1
    in cross-validation within the held-out images is used. The `at_least` best labels are always kept.
    """

    title: ClassVar[str] = "a threshold per class"
    STRENGTHS: ClassVar[tuple[float, ...]] = (3.0, 10.0, 30.0, 100.0, np.inf)
    thresholds: tuple[float, ...]
    at_least: int = 1

    @classmethod
    def fit(cls, held_out: HeldOutPredictions) -> "ClassThresholds":
        starts: dict[str, tuple] = {}  # by the digest of a fold's images: no strength changes them

        def fit(part, strength):
            if part.digest not in starts:
                starts[part.digest] = cls._start(part)
            return cls._fit(part, strength, starts[part.digest])

        if len(held_out.raw) < 2:
            return fit(held_out, cls.STRENGTHS[-1])
        strongest_first = cls.STRENGTHS[::-1]
        h_f1 = [cross_validate(functools.partial(fit, strength=s), held_out) for s in strongest_first]
        return fit(held_out, strongest_first[first_best(h_f1)])  # of equal ones the strongest

    @staticmethod
    def _start(held_out: HeldOutPredictions) -> tuple[float, np.ndarray]:
        """Returns the best threshold of all classes, and the best of each, [C]."""
        z, labels = held_out.logits, held_out.labels
        return thresholds.best_threshold(z, labels)[0], thresholds.best_class_thresholds(z, labels)

    @classmethod
    def _fit(
        cls, held_out: HeldOutPredictions, strength: float, start: tuple[float, np.ndarray] | None = None
    ) -> "ClassThresholds":
        """Fits with one strength. start: of `_start`, if it is at hand."""
        z, labels = held_out.logits, held_out.labels
        common, own = start or cls._start(held_out)
        share = labels.sum(axis=0) / (labels.sum(axis=0) + strength)
        moved = np.where(np.isnan(own), 0.0, share * (own - common))
        again, _ = thresholds.best_threshold(z - moved, labels)
        return cls(tuple(float(v) for v in again + moved))

    def apply(self, probabilities: np.ndarray, raw: np.ndarray) -> Predictions:
        return thresholds.choose_above_zero(
            to_logits(probabilities) - np.array(self.thresholds), self.at_least
        )


@dataclasses.dataclass(frozen=True)
class PoissonBinomial:
    """The median number of labels if the calibrated probabilities are independent."""

    title: ClassVar[str] = "Poisson-binomial"
    calibration: Calibration

    @classmethod
    def fit(cls, held_out: HeldOutPredictions) -> "PoissonBinomial":
        return cls(Calibration.fit(held_out))

    def apply(self, probabilities: np.ndarray, raw: np.ndarray) -> Predictions:
        p = self.calibration.probabilities(to_logits(probabilities))
        return Predictions(p.astype(np.float32), median(poisson_binomial(p, count_limit(p))))


@dataclasses.dataclass(frozen=True)
class CountPosterior:
    """The median of the same distribution, given the regressor's quantity.

    The quantity is treated as a measurement of the count with a normal error of `precision` = 1 / variance
    (eq. 5 is that likelihood). The precision maximises the likelihood of the held-out counts.
    """

    title: ClassVar[str] = "Poisson-binomial × regressor"
    PRECISIONS: ClassVar[tuple[float, ...]] = (0.0, *(0.05 * 2**i for i in range(10)))
    calibration: Calibration
    precision: float

    @classmethod
    def fit(cls, held_out: HeldOutPredictions) -> "CountPosterior":
        """Fits the calibration, and chooses the precision with the highest likelihood of the true counts."""
        calibration = Calibration.fit(held_out)
        true = np.maximum(1, held_out.labels.sum(axis=1))[:, None]
        p = calibration.probabilities(held_out.logits)
        prior = _prior(p, np.maximum(held_out.raw, true[:, 0]))

        def likelihood(precision):
            p = np.take_along_axis(posterior(prior, held_out.raw, precision), true, axis=1)
            return np.log(np.maximum(p, 1e-12)).mean()

        return cls(calibration, cls.PRECISIONS[first_best([likelihood(p) for p in cls.PRECISIONS])])

    def apply(self, probabilities: np.ndarray, raw: np.ndarray) -> Predictions:
        p = self.calibration.probabilities(to_logits(probabilities))
        return Predictions(p.astype(np.float32), median(posterior(_prior(p, raw), raw, self.precision)))


@dataclasses.dataclass(frozen=True)
class ExpectedF1:
    """The number of labels with the highest expected F1 of the image, if calibrated probabilities are
    independent."""

    title: ClassVar[str] = "expected F1"
    calibration: Calibration

    @classmethod
    def fit(cls, held_out: HeldOutPredictions) -> "ExpectedF1":
        return cls(Calibration.fit(held_out))

    def apply(self, probabilities: np.ndarray, raw: np.ndarray) -> Predictions:
        p = self.calibration.probabilities(to_logits(probabilities))
        return Predictions(p.astype(np.float32), best_expected_f1(p))


@dataclasses.dataclass(frozen=True)
class GuidedThreshold:
    """One threshold on calibrated logits, moved for each image by the regressor's difference from Σp.

    Adds β (m̂ - Σp) to every logit. β, the field `precision`, is the inverse variance of the error of m̂, taken
    as normal. With that error, the likelihoods of s labels and of s + 1 differ by exp(β (m̂ - s - 1/2)), and s
    is about Σp. β and the threshold are averages of the best pairs over bootstrap samples of the held-out
    images, 16 or, of more than a million pairs of an image and a class, fewer. These averages vary less with
    a few images than the best pair on all of them.
    """

    title: ClassVar[str] = "guided threshold"
    PRECISIONS: ClassVar[tuple[float, ...]] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4)
    SAMPLES: ClassVar[int] = 16
    calibration: Calibration
    precision: float
    threshold: float

    @classmethod
    def fit(cls, held_out: HeldOutPredictions) -> "GuidedThreshold":
        """Fits the calibration; precision and threshold are means of the best ones on bootstrap samples."""
        calibration = Calibration.fit(held_out)
        z = calibration.logits(held_out.logits)
        lead = held_out.raw - sigmoid(z).sum(axis=1)  # of the regressor over Σp
        rng, pairs = np.random.default_rng(0), []
        for _ in range(held_out.repeats(cls.SAMPLES)):
            rows = rng.integers(len(held_out.raw), size=len(held_out.raw))
            drawn, labels = z[rows], held_out.labels[rows]
            scores = (drawn + p * lead[rows, None] for p in cls.PRECISIONS)  # one at a time: they are large
            best = [thresholds.best_threshold(s, labels) for s in scores]
            i = first_best([h_f1 for _, h_f1 in best])  # of equal ones the lowest precision
            pairs.append((cls.PRECISIONS[i], best[i][0]))
        precision, threshold = np.mean(pairs, axis=0)
        return cls(calibration, float(precision), float(threshold))

    @staticmethod
    def _scores(calibration: Calibration, z: np.ndarray, raw: np.ndarray, precision: float) -> np.ndarray:
        expected = calibration.probabilities(z).sum(axis=1)
        return calibration.logits(z) + precision * (raw - expected)[:, None]

    def apply(self, probabilities: np.ndarray, raw: np.ndarray) -> Predictions:
        scores = self._scores(self.calibration, to_logits(probabilities), raw, self.precision)
        return thresholds.choose_above_zero(scores - self.threshold)


def _prior(p: np.ndarray, raw: np.ndarray) -> np.ndarray:
    """Returns the distribution of counts [N, size] up to any that the posterior of raw [N] can prefer."""
    size = max(count_limit(p, 1e-300), int(min(max(raw.max(initial=0.0), 0), p.shape[1])) + _FAR)
    return poisson_binomial(p, min(size, p.shape[1] + 1))


def posterior(prior: np.ndarray, raw: np.ndarray, precision: float) -> np.ndarray:
    """Returns P(m = s) ∝ prior [N, C + 1] × normal likelihood of the measurement raw [N], with m >= 1."""
    distance = (np.arange(prior.shape[1]) - np.asarray(raw, np.float64)[:, None]) ** 2
    logarithm = np.log(np.maximum(prior, 1e-300)) - precision * distance / 2
    logarithm[:, 0] = -np.inf
    likelihood = np.exp(logarithm - logarithm.max(axis=1, keepdims=True))
    return likelihood / likelihood.sum(axis=1, keepdims=True)


def median(distribution: np.ndarray) -> np.ndarray:
    """Returns the median of P(m = s) [N, C + 1], [N] int32, at least 1."""
    count = (distribution.cumsum(axis=1) < 0.5 - ROUNDING_OF_SUMS).sum(axis=1)
    return np.clip(count, 1, distribution.shape[1] - 1).astype(np.int32)
