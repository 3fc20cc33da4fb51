"""Claims about quantities, compared with plain loops. report_test covers claims about chosen labels."""

import numpy as np
import pytest

from experiments.reporting import published
from experiments.reporting.claims import Claim, measure_quantity_claim
from msmm.scoring.bootstrap import mean_gain

TRUTH = np.array([1, 2, 3, 4, 0, 2])
RAW = {
    "near": np.array([1.2, 2.4, 2.6, 3.9, 0.4, 2.5]),  # right: 1, 1, 1, 1, no (at least 1), no (3)
    "far": np.array([2.2, 2.4, 1.0, 5.0, 0.0, 1.2]),  # right: 0, 1, 0, 0, 0, 0
}


def claim(metric, better="near", worse="far"):
    return Claim("counts better", "here", better, worse, metric)


def metric_by_loop(metric, raw):
    """Returns a metric of section IV-D1, computed image by image."""
    total = 0.0
    for m, value in zip(TRUTH, raw, strict=True):
        if metric == "MSE":
            total += (value - m) ** 2
        else:
            total += 100 * (max(1, int(value + 0.5)) == m)
    return total / len(TRUTH)


def test_claim_gains_are_differences_of_the_metrics():
    assert metric_by_loop("Accuracy", RAW["near"]) == pytest.approx(100 * 4 / 6)
    accuracy = measure_quantity_claim(claim("Accuracy"), TRUTH, [RAW])
    assert accuracy.gains == pytest.approx(
        (metric_by_loop("Accuracy", RAW["near"]) - metric_by_loop("Accuracy", RAW["far"]),)
    )
    error = measure_quantity_claim(claim("MSE"), TRUTH, [RAW])
    assert error.gains == pytest.approx(
        (metric_by_loop("MSE", RAW["far"]) - metric_by_loop("MSE", RAW["near"]),)
    )
    assert error.gains[0] > 0


def test_claim_interval_is_the_bootstrap_interval_of_the_mean_gain():
    shifted = {name: raw + 0.3 for name, raw in RAW.items()}
    outcome = measure_quantity_claim(claim("MSE"), TRUTH, [RAW, shifted], resamples=200)
    gains = [
        [(seed["far"][i] - m) ** 2 - (seed["near"][i] - m) ** 2 for i, m in enumerate(TRUTH)]
        for seed in (RAW, shifted)
    ]
    assert outcome.interval == pytest.approx(mean_gain(np.array(gains), resamples=200).interval)
    assert outcome.gains == pytest.approx(tuple(np.mean(gains, axis=1)))


@pytest.mark.parametrize("metric", ["MSE", "Accuracy"])
def test_verdicts_for_better_worse_and_equal_predictors(metric):
    many = np.tile(TRUTH, 100)
    raw = [{name: np.tile(values, 100) for name, values in RAW.items()}]
    verdicts = [
        measure_quantity_claim(claim(metric, *names), many, raw).verdict
        for names in (("near", "far"), ("far", "near"), ("far", "far"))
    ]
    assert verdicts == ["supported", "contradicted", "undecided"]


def test_published_gains_are_differences_in_the_published_tables():
    raw = [{"MS-CNN": RAW["far"], "MS-CNN+Tags": RAW["near"]}]
    gains = {
        (number, claim.metric): measure_quantity_claim(
            claim, TRUTH, raw, published.TABLES[number], 10
        ).published
        for number in ("V", "VI")
        for claim in published.QUANTITY_CLAIMS
    }
    assert gains == {
        ("V", "MSE"): 0.236,
        ("V", "Accuracy"): 2.34,
        ("VI", "MSE"): 0.209,
        ("VI", "Accuracy"): 1.69,
    }
