"""95 % intervals of a gain over training seeds and test images, by the bootstrap. NumPy and SciPy.

The gain of one method over another is measured once per training seed on the same N test images. It would
differ with other images and with other seeds, so the interval has two levels:

- Images: N of them are drawn with replacement, and all S seeds of both methods are measured on each draw.
- Seeds: each draw adds a normal deviate of variance s²/S, where s² is the variance of the gain over seeds.
- A variance of few seeds is uncertain. So deviations from the mean are multiplied by the ratio of the
  quantiles of Student's t and of the normal distribution. The degrees of freedom are Satterthwaite's.

Drawing seeds with replacement, as images are, is not enough: with three seeds it never leaves their range. In
simulations such intervals contain the true gain in 84 % of cases where the seeds differ much. These contain
it in 95 % there, and in up to 99 % where seeds differ little, because s² contains some noise of the images.

The interval is the basic (reflected) one, (2 gain - q97.5, 2 gain - q2.5). The metrics count 0/0 as 0, so
resamples in which a rare class is absent are biased low. A percentile interval doubles that bias, the basic
one subtracts it.
"""

import dataclasses
import math
import statistics
from collections.abc import Sequence

import numpy as np

from msmm.scoring.metrics import METRICS, as_indicators, metrics_from_counts

RESAMPLES = 2000
LEVEL = 0.95
_WEIGHTS_PER_BLOCK = 2**22  # 16 MiB of float32 bootstrap weights at a time


@dataclasses.dataclass(frozen=True)
class Gain:
    """A gain over S training seeds and its interval.

    per_seed: the gain of each seed on all images, S values.
    interval: (low, high), 95 %, of the mean over seeds. With one seed it contains no training noise.
    """

    per_seed: tuple[float, ...]
    interval: tuple[float, float]


def metric_gain(
    truth: np.ndarray,
    worse: Sequence[np.ndarray],
    better: Sequence[np.ndarray],
    metric: str = "H-F1",
    resamples: int = RESAMPLES,
    seed: int = 0,
    seeds_vary: bool = True,
    level: float = LEVEL,
) -> Gain:
    """Measures the metric of `better` minus the metric of `worse`.

    Args:
        truth: [N, C] bool, the ground-truth labels.
        worse, better: for each training seed the chosen labels, [N, C] bool.
        metric: one of `METRICS`.
        resamples: draws of images.
        seed: of the draws, which are a function of the arguments alone.
        seeds_vary: True: seed variation widens the interval. False: the entries repeat one measurement (for
            example with other folds) and only their mean is used.
        level: of the interval; more where several gains are judged at once.

    Returns:
        The gain in percentage points.

    Raises:
        ValueError: wrong shapes or values, an unknown metric, or different numbers of seeds.
    """
    if not len(worse) or len(worse) != len(better):
        raise ValueError(
            f"expected as many seeds of both methods, at least 1. Received: {len(worse)} and {len(better)}"
        )
    rng = np.random.default_rng(seed)
    weights = _image_weights(rng, len(truth), resamples, 4 * np.asarray(truth).shape[-1])
    values = _metric_on_draws(truth, [*worse, *better], metric, weights, resamples)
    gains = values[:, len(worse) :] - values[:, : len(worse)]
    return _gain(gains, rng, seeds_vary, level)


def mean_gain(gains: np.ndarray, resamples: int = RESAMPLES, seed: int = 0) -> Gain:
    """Measures a gain that is a mean over images, on the draws of `metric_gain`.

    Args:
        gains: [S, N] float, for each training seed and image one method's value minus the other's.
        resamples, seed: as for `metric_gain`.
    """
    gains = np.atleast_2d(np.asarray(gains, np.float64))
    rng = np.random.default_rng(seed)
    blocks = [block @ gains.T for block in _image_weights(rng, gains.shape[1], resamples)]
    return _gain(np.concatenate(blocks) / gains.shape[1], rng)


def _image_weights(rng: np.random.Generator, num_images: int, resamples: int, width: int = 1):
    """Yields [rows, N] float32: how often each draw takes each image. The first row is all images once.

    width: numbers that the caller computes for a draw; of many there are fewer rows at a time.
    """
    block = max(1, _WEIGHTS_PER_BLOCK // max(num_images, width))
    for start in range(0, resamples + 1, block):
        weights = np.empty((min(block, resamples + 1 - start), num_images), np.float32)
        for i, row in enumerate(weights, start):
            drawn = rng.integers(num_images, size=num_images) if i else np.arange(num_images)
            row[:] = np.bincount(drawn, minlength=num_images)
        yield weights


def _metric_on_draws(
    truth: np.ndarray, chosen: Sequence[np.ndarray], metric: str, weights, resamples: int
) -> np.ndarray:
    """Returns the metric of K sets of chosen labels on each draw, [1 + resamples, K] float64, percent.

    The metrics are functions of three counts per class, and a draw's counts are weights times indicators;
    float32 holds them exactly up to 2^24 images.
    """
    if metric not in METRICS:
        raise ValueError(f"expected a metric of {METRICS}. Received: {metric!r}")
    truth = as_indicators("truth", truth)
    chosen = [as_indicators("chosen", labels, truth.shape) for labels in chosen]
    given, *rest = (_sparse(a) for a in (truth, *chosen, *(truth & labels for labels in chosen)))
    predicted, correct = rest[: len(chosen)], rest[len(chosen) :]
    values, start = np.empty((resamples + 1, len(chosen))), 0
    for block in weights:
        columns = np.ascontiguousarray(block.T)
        true_counts = _count(columns, given)
        for k in range(len(chosen)):
            both, chosen_counts = (_count(columns, part[k]) for part in (correct, predicted))
            figures = metrics_from_counts(both, chosen_counts, true_counts)
            values[start : start + len(block), k] = figures[metric]
        start += len(block)
    return values


def _sparse(labels: np.ndarray):
    """Returns labels [N, C] bool as a sparse matrix float32 [C, N]: of many classes an image has few."""
    from scipy import sparse  # where it is used: a model is loaded without it

    return sparse.csr_matrix(labels.T, dtype=np.float32)


def _count(columns: np.ndarray, labels) -> np.ndarray:
    """Returns the images of each class on each draw, float64 [draws, C], from weights [N, draws]."""
    return np.ascontiguousarray((labels @ columns).T, np.float64)


def _gain(
    values: np.ndarray, rng: np.random.Generator, seeds_vary: bool = True, level: float = LEVEL
) -> Gain:
    """Returns the gain from its values [1 + R, S] per draw and seed; the first row is all images once."""
    per_seed, draws = values[0], values[1:]
    num_seeds = len(per_seed)
    means = draws.mean(axis=1)
    if num_seeds > 1 and seeds_vary:
        by_seeds, by_images = per_seed.var(ddof=1) / num_seeds, means.var()
        if by_seeds > 0:
            center, normal = means.mean(), rng.standard_normal(len(means))
            freedom = (num_seeds - 1) * (1 + by_images / by_seeds) ** 2
            means = center + _widening(freedom, level) * (means - center + np.sqrt(by_seeds) * normal)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    mean = per_seed.mean()
    return Gain(tuple(map(float, per_seed)), (float(2 * mean - high), float(2 * mean - low)))


def _widening(freedom: float, level: float = LEVEL) -> float:
    """Returns the upper end of an interval of Student's t, divided by that of the normal distribution."""
    freedom = min(freedom, 1e6)
    x = np.linspace(0, 200, 200_001)
    logarithm = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2) - np.log(freedom * np.pi) / 2
    density = np.exp(logarithm - (freedom + 1) / 2 * np.log1p(x**2 / freedom))
    cumulative = np.cumsum((density[1:] + density[:-1]) / 2) * x[1]
    normal = statistics.NormalDist().inv_cdf((1 + level) / 2)
    return float(np.interp(level / 2, cumulative, x[1:]) / normal)
