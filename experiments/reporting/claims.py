"""Measures the paper's claims: the gain, its 95 % interval over test images, its spread over seeds."""

from collections.abc import Mapping, Sequence

import numpy as np

from experiments.reporting.report import LOWER_IS_BETTER, Claim, Outcome, Table
from msmm.scoring.metrics import annotation_metrics, bootstrap_difference, bootstrap_mean
from msmm.scoring.predictions import round_counts


def judge(
    claim: Claim,
    truth: np.ndarray,
    chosen: Sequence[Mapping[str, np.ndarray]],
    published: Table | None = None,
    resamples: int = 1000,
) -> Outcome:
    """Measures a claim on annotations.

    Args:
        truth: [N, C] bool.
        chosen: for each training seed, row name -> chosen labels [N, C] bool.
        published: the paper's table that has both rows, or None.
        resamples: of the bootstrap, which is a function of the arrays alone.
    """
    better, worse = ([seed[name] for seed in chosen] for name in (claim.better, claim.worse))
    scores = [[annotation_metrics(truth, c)[claim.metric] for c in seeds] for seeds in (better, worse)]
    drawn = bootstrap_difference(truth, worse, better, claim.metric, resamples)
    return _outcome(claim, [b - w for b, w in zip(*scores, strict=True)], drawn, published)


def judge_quantity(
    claim: Claim,
    truth: np.ndarray,
    raw: Sequence[Mapping[str, np.ndarray]],
    published: Table | None = None,
    resamples: int = 1000,
) -> Outcome:
    """Measures a claim on label quantities (IV-D1).

    Args:
        truth: [N] integers, the true quantities m.
        raw: for each training seed, row name -> predicted quantities before rounding [N].
        published, resamples: as for `judge`.
    """
    gains = np.stack(
        [
            _score(claim.metric, truth, seed[claim.better]) - _score(claim.metric, truth, seed[claim.worse])
            for seed in raw
        ]
    )
    drawn = bootstrap_mean(gains.mean(axis=0), resamples)
    return _outcome(claim, [float(gain) for gain in gains.mean(axis=1)], drawn, published)


def _score(metric: str, truth: np.ndarray, raw: np.ndarray) -> np.ndarray:
    """What each image adds to a mean that is better the higher it is, [N] (decision 21)."""
    raw = np.asarray(raw, np.float64)
    if metric == "Accuracy":
        return 100.0 * (round_counts(raw, np.iinfo(np.int32).max) == truth)
    return -((raw - truth) ** 2)


def _outcome(claim: Claim, gains: Sequence[float], drawn: np.ndarray, published: Table | None) -> Outcome:
    low, high = (float(p) for p in np.percentile(drawn, [2.5, 97.5]))
    rows = {row.name: row.seeds[0] for row in published.rows} if published else {}
    printed = None
    if claim.better in rows and claim.worse in rows:
        gain = rows[claim.better][claim.metric] - rows[claim.worse][claim.metric]
        printed = round(-gain if claim.metric in LOWER_IS_BETTER else gain, 3)
    return Outcome(claim, tuple(gains), (low, high), printed)
