"""Claims about quantities, against plain loops; those about annotations are in report_test."""

import numpy as np
import pytest

from experiments.reporting import published
from experiments.reporting.claims import judge_quantity
from experiments.reporting.report import Claim

TRUTH = np.array([1, 2, 3, 4, 0, 2])
RAW = {
    "near": np.array([1.2, 2.4, 2.6, 3.9, 0.4, 2.5]),  # right: 1, 1, 1, 1, no (at least 1), no (3)
    "far": np.array([2.2, 2.4, 1.0, 5.0, 0.0, 1.2]),  # right: 0, 1, 0, 0, 0, 0
}


def claim(metric, better="near", worse="far"):
    return Claim("counts better", "here", better, worse, metric)


def loop(metric, raw):
    """IV-D1 image by image."""
    total = 0.0
    for m, value in zip(TRUTH, raw, strict=True):
        if metric == "MSE":
            total += (value - m) ** 2
        else:
            total += 100 * (max(1, int(value + 0.5)) == m)
    return total / len(TRUTH)


def test_gains_are_those_of_the_measures():
    assert loop("Accuracy", RAW["near"]) == pytest.approx(100 * 4 / 6)
    accuracy = judge_quantity(claim("Accuracy"), TRUTH, [RAW])
    assert accuracy.differences == (
        pytest.approx(loop("Accuracy", RAW["near"]) - loop("Accuracy", RAW["far"])),
    )
    error = judge_quantity(claim("MSE"), TRUTH, [RAW])
    assert error.differences == (pytest.approx(loop("MSE", RAW["far"]) - loop("MSE", RAW["near"])),)
    assert error.differences[0] > 0


def test_the_interval_is_that_of_a_paired_bootstrap_over_images():
    shifted = {name: raw + 0.3 for name, raw in RAW.items()}
    seeds = [RAW, shifted]
    outcome = judge_quantity(claim("MSE"), TRUTH, seeds, resamples=200)
    rng, drawn = np.random.default_rng(0), []
    for _ in range(200):
        rows = rng.integers(len(TRUTH), size=len(TRUTH))
        gains = []
        for seed in seeds:
            worse = np.mean([(seed["far"][i] - TRUTH[i]) ** 2 for i in rows])
            better = np.mean([(seed["near"][i] - TRUTH[i]) ** 2 for i in rows])
            gains.append(worse - better)
        drawn.append(np.mean(gains))
    assert outcome.interval == pytest.approx(np.percentile(drawn, [2.5, 97.5]))
    assert len(outcome.differences) == 2


@pytest.mark.parametrize("metric", ["MSE", "Accuracy"])
def test_what_does_not_hold_is_said_not_to_hold(metric):
    many = np.tile(TRUTH, 100)
    raw = {name: np.tile(values, 100) for name, values in RAW.items()}
    assert judge_quantity(claim(metric), many, [raw]).verdict == "holds"
    assert judge_quantity(claim(metric, "far", "near"), many, [raw]).verdict == "does not hold"
    assert judge_quantity(claim(metric, "far", "far"), many, [raw]).verdict == "does not hold (within noise)"


def test_published_gains_are_the_tables_own():
    raw = [{"MS-CNN": RAW["far"], "MS-CNN+Tags": RAW["near"]}]
    gains = {
        (number, claim.metric): judge_quantity(claim, TRUTH, raw, published.TABLES[number], 10).published
        for number in ("V", "VI")
        for claim in published.QUANTITY_CLAIMS
    }
    assert gains == {
        ("V", "MSE"): 0.236,
        ("V", "Accuracy"): 2.34,
        ("VI", "MSE"): 0.209,
        ("VI", "Accuracy"): 1.69,
    }
