"""Intervals of gains: against plain loops, and their coverage where the truth is known."""

import dataclasses

import numpy as np
import pytest
import scipy.stats
from scipy.special import ndtr

from msmm.scoring import bootstrap
from msmm.scoring.bootstrap import mean_gain, metric_gain
from msmm.scoring.metrics import METRICS, annotation_metrics, metrics_from_counts


def random_labels(seed, n=60, classes=7):
    rng = np.random.default_rng(seed)
    return rng.random([n, classes]) < 0.3


TRUTH = random_labels(0)


@pytest.mark.parametrize("metric", METRICS)
def test_interval_of_one_seed_is_the_basic_bootstrap_over_images(metric, monkeypatch):
    worse, better = random_labels(1), random_labels(2)
    monkeypatch.setattr(bootstrap, "_WEIGHTS_PER_BLOCK", 60 * 7)  # 1 + 20 rows in blocks of 7
    gain = metric_gain(TRUTH, [worse], [better], metric, resamples=20, seed=5)

    def difference(rows):
        values = [annotation_metrics(TRUTH[rows], chosen[rows])[metric] for chosen in (worse, better)]
        return values[1] - values[0]

    rng = np.random.default_rng(5)
    draws = [difference(rng.integers(60, size=60)) for _ in range(20)]
    point, (low, high) = difference(np.arange(60)), np.quantile(draws, [0.025, 0.975])
    assert gain.per_seed == pytest.approx((point,))
    assert gain.interval == pytest.approx((2 * point - high, 2 * point - low))


def test_the_variance_over_seeds_widens_the_interval_by_students_t():
    better = [random_labels(seed) for seed in (1, 2, 3)]
    worse = [np.zeros_like(TRUTH)] * 3
    gain = metric_gain(TRUTH, worse, better, resamples=500)
    each = [annotation_metrics(TRUTH, chosen)["H-F1"] for chosen in better]
    assert gain.per_seed == pytest.approx(tuple(each))
    rng, draws = np.random.default_rng(0), []
    for _ in range(500):
        rows = rng.integers(60, size=60)
        draws.append([annotation_metrics(TRUTH[rows], chosen[rows])["H-F1"] for chosen in better])
    means = np.mean(draws, axis=1)
    by_images, by_seeds = np.var(means), np.var(each, ddof=1) / 3
    freedom = (by_images + by_seeds) ** 2 / (by_seeds**2 / 2)  # Satterthwaite
    deviations = means - means.mean() + rng.standard_normal(500) * by_seeds**0.5
    means = means.mean() + deviations * scipy.stats.t.ppf(0.975, freedom) / scipy.stats.norm.ppf(0.975)
    low, high = np.quantile(means, [0.025, 0.975])
    assert gain.interval == pytest.approx((2 * np.mean(each) - high, 2 * np.mean(each) - low))


def test_equal_seeds_give_the_interval_of_one_seed():
    worse, better = random_labels(1), random_labels(2)
    one = metric_gain(TRUTH, [worse], [better], resamples=200)
    assert metric_gain(TRUTH, [worse] * 3, [better] * 3, resamples=200).interval == pytest.approx(
        one.interval
    )


def test_seeds_far_apart_give_students_interval():
    """With images that add no noise: mean ± t_(0.975, 2) s / sqrt(3)."""
    gains = np.repeat([[1.0], [2.0], [6.0]], 40, axis=1)
    low, high = mean_gain(gains, resamples=40_000).interval
    half = 4.303 * np.std([1, 2, 6], ddof=1) / 3**0.5
    assert (low, high) == pytest.approx((3 - half, 3 + half), rel=0.05)


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99375])
@pytest.mark.parametrize("freedom", [1, 2, 2.5, 10, 1000, 1e9])
def test_widening_equals_the_ratio_of_quantiles(freedom, level):
    upper = (1 + level) / 2
    expected = scipy.stats.t.ppf(upper, freedom) / scipy.stats.norm.ppf(upper)
    assert bootstrap._widening(freedom, level) == pytest.approx(expected, rel=1e-4)


def test_a_higher_level_gives_wider_quantiles_of_the_same_draws():
    arguments = TRUTH, [random_labels(1)], [random_labels(2)]
    narrow = metric_gain(*arguments, resamples=4000, level=0.8)
    wide = metric_gain(*arguments, resamples=4000, level=0.99)
    assert wide.per_seed == narrow.per_seed
    widths = [gain.interval[1] - gain.interval[0] for gain in (narrow, wide)]
    assert widths[1] / widths[0] == pytest.approx(2.576 / 1.282, rel=0.1)  # of the normal distribution


def test_repeats_do_not_widen_the_interval():
    worse, better = [random_labels(1)] * 2, [random_labels(2), TRUTH]
    with_seeds = metric_gain(TRUTH, worse, better, resamples=200).interval
    repeats = metric_gain(TRUTH, worse, better, resamples=200, seeds_vary=False).interval
    assert with_seeds[1] - with_seeds[0] > 5 * (repeats[1] - repeats[0])


def test_intervals_depend_on_the_seed_and_are_antisymmetric():
    worse, better = [random_labels(1)], [random_labels(2)]
    first = metric_gain(TRUTH, worse, better, resamples=30, seed=1)
    assert first == metric_gain(TRUTH, worse, better, resamples=30, seed=1)
    assert first != metric_gain(TRUTH, worse, better, resamples=30, seed=2)
    low, high = metric_gain(TRUTH, better, worse, resamples=30, seed=1).interval
    assert first.interval == pytest.approx((-high, -low))
    assert metric_gain(TRUTH, worse, worse).interval == (0, 0)


def test_mean_gain_equals_a_plain_bootstrap_loop():
    gains = np.random.default_rng(3).normal(size=(1, 60))
    rng = np.random.default_rng(0)
    draws = [gains[0][rng.integers(60, size=60)].mean() for _ in range(100)]
    low, high = np.quantile(draws, [0.025, 0.975])
    mean = gains.mean()
    # The counts of images are float32, the gains are not.
    expected = (2 * mean - high, 2 * mean - low)
    assert mean_gain(gains, resamples=100).interval == pytest.approx(expected, abs=1e-6)


def test_unpaired_seeds_and_unknown_metrics_are_errors():
    for worse, better in (([TRUTH] * 2, [TRUTH]), ([], [])):
        with pytest.raises(ValueError, match="as many seeds"):
            metric_gain(TRUTH, worse, better)
    with pytest.raises(ValueError, match="expected a metric"):
        metric_gain(TRUTH, [TRUTH], [TRUTH], "mAP")
    with pytest.raises(ValueError, match="shape of truth"):
        metric_gain(TRUTH, [TRUTH[:5]], [TRUTH])


@dataclasses.dataclass(frozen=True)
class Simulation:
    """Two methods whose true H-F1 is known, on new images each time.

    Class c is true with probability `frequencies[c]`. A method predicts it where a normal variable,
    correlated between methods and seeds, is below a limit, one for true and one for false pairs. A training
    seed moves the limits by `seed_deviation`, of all classes together and of each class.
    """

    num_images: int
    num_classes: int
    seed_deviation: float
    num_seeds: int = 3

    @property
    def frequencies(self):
        rare_to_common = np.random.default_rng(0).uniform(np.log(0.004), np.log(0.15), self.num_classes)
        frequencies = np.exp(rare_to_common)
        return frequencies * 2.25 / frequencies.sum()  # labels per image

    def limits(self, gain, num_seeds, rng):
        """Returns the limits of true and of false pairs, [S, C] each."""
        skill = np.random.default_rng(1).uniform(-0.5, 1.5, self.num_classes)
        shift = rng.normal(0, self.seed_deviation, (num_seeds, 1))
        shift = shift + rng.normal(0, 2 * self.seed_deviation, (num_seeds, self.num_classes))
        return skill + gain + shift, -2.2 + 0.3 * shift

    def true_h_f1(self, gain):
        """Returns the mean over seeds of H-F1 on infinitely many images, by its expected counts."""
        hit, false = map(ndtr, self.limits(gain, 20_000, np.random.default_rng(2)))
        frequencies = self.frequencies
        predicted = frequencies * hit + (1 - frequencies) * false
        return metrics_from_counts(frequencies * hit, predicted, np.broadcast_to(frequencies, hit.shape))[
            "H-F1"
        ].mean()

    def draw(self, gains, rng):
        """Returns the truth of new images, and for each method the labels of each seed."""
        shape = (self.num_images, self.num_classes)
        truth, shared = rng.random(shape) < self.frequencies, rng.standard_normal(shape)
        methods = []
        for gain in gains:
            hit, false = self.limits(gain, self.num_seeds, rng)
            noise = (np.sqrt(0.7) * shared + np.sqrt(0.3) * rng.standard_normal(shape) for _ in hit)
            methods.append([z < np.where(truth, h, f) for z, h, f in zip(noise, hit, false, strict=True)])
        return truth, methods

    def coverage(self, repeats, resamples=500):
        """Returns how often the interval contains the true gain, in percent."""
        true_gain = self.true_h_f1(0.15) - self.true_h_f1(0.0)
        hits = 0
        for repeat in range(repeats):
            truth, (worse, better) = self.draw((0.0, 0.15), np.random.default_rng((7, repeat)))
            low, high = metric_gain(truth, worse, better, resamples=resamples).interval
            hits += low <= true_gain <= high
        return 100 * hits / repeats


@pytest.mark.parametrize("seed_deviation", [0.0, 0.2])
def test_coverage_of_the_interval_on_a_small_data_set(seed_deviation):
    """200 repeats at 95 % have a standard error of 1.5 points."""
    assert 91 <= Simulation(150, 20, seed_deviation).coverage(200, 300) <= 99.5


@pytest.mark.slow
@pytest.mark.parametrize("seed_deviation", [0.0, 0.05, 0.15, 0.4])
def test_coverage_of_three_seeds_on_561_images_with_rare_classes(seed_deviation):
    """500 repeats at 95 % have a standard error of 1 point."""
    assert 93 <= Simulation(561, 58, seed_deviation).coverage(500) <= 99.5


def test_the_bias_of_rare_classes_is_subtracted():
    """H-F1 of one method on few images: resamples without a rare class are too low.

    On 170 images the basic interval covers about 80 %, the percentile interval about 55 %.
    """
    simulation = Simulation(170, 58, 0.0, num_seeds=1)
    true_value, hits, percentile_hits = simulation.true_h_f1(0.0), 0, 0
    for repeat in range(60):
        truth, ((chosen,),) = simulation.draw((0.0,), np.random.default_rng((7, repeat)))
        gain = metric_gain(truth, [np.zeros_like(truth)], [chosen], resamples=200)
        low, high = gain.interval
        hits += low <= true_value <= high
        percentile = 2 * gain.per_seed[0] - high, 2 * gain.per_seed[0] - low
        percentile_hits += percentile[0] <= true_value <= percentile[1]
    assert hits >= 42 and hits > percentile_hits + 9, (hits, percentile_hits)
