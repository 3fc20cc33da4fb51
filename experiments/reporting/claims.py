"""The paper's claims: gains by training seed, 95 % intervals over seeds and images, and verdicts."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from experiments.reporting.table import LOWER_IS_BETTER, Table
from msmm.scoring.bootstrap import RESAMPLES, Gain, mean_gain, metric_gain
from msmm.scoring.predictions import round_counts

SUPPORTED, CONTRADICTED, UNDECIDED = VERDICTS = ("supported", "contradicted", "undecided")
VERDICT_RULE = (
    "A claim is supported where the 95 % interval of the gain is above 0, contradicted where it is below 0, "
    "and undecided otherwise. The interval is a bootstrap over test images and training seeds, with its bias "
    "subtracted; ± is the standard deviation of the gain over training seeds."
)
ONE_SEED = "One training seed was run, so the intervals contain no training noise."


@dataclasses.dataclass(frozen=True)
class Claim:
    """A claim of the paper, in section `source`: row `better` is better than row `worse` by `metric`."""

    name: str
    source: str
    better: str
    worse: str
    metric: str = "H-F1"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A measured claim. A gain is `better` minus `worse`; for MSE, `worse` minus `better`.

    Attributes:
        gains: one per training seed; percentage points, or labels² for MSE.
        interval: 95 % of their mean, over training seeds and test images (`msmm.scoring.bootstrap`).
        published: the gain as printed in the paper, or None.
    """

    claim: Claim
    gains: Sequence[float]
    interval: tuple[float, float]
    published: float | None = None

    @property
    def verdict(self) -> str:
        """The verdict, one of `VERDICTS`; see `VERDICT_RULE`."""
        low, high = self.interval
        return SUPPORTED if low > 0 else CONTRADICTED if high < 0 else UNDECIDED


def measure_claim(
    claim: Claim,
    truth: np.ndarray,
    chosen: Sequence[Mapping[str, np.ndarray]],
    published: Table | None = None,
    resamples: int = RESAMPLES,
) -> Outcome:
    """Measures a claim about chosen labels.

    Args:
        claim: two rows and a metric of eq. 6-7.
        truth: [N, C] bool.
        chosen: for each training seed, row name -> chosen labels [N, C] bool.
        published: the paper's table that has both rows, or None.
        resamples: of the bootstrap, which is a function of the arrays alone.
    """
    better, worse = ([seed[name] for seed in chosen] for name in (claim.better, claim.worse))
    return _outcome(claim, metric_gain(truth, worse, better, claim.metric, resamples), published)


def measure_quantity_claim(
    claim: Claim,
    truth: np.ndarray,
    raw: Sequence[Mapping[str, np.ndarray]],
    published: Table | None = None,
    resamples: int = RESAMPLES,
) -> Outcome:
    """Measures a claim about label quantities (IV-D1).

    Args:
        claim: two rows and "Accuracy" or "MSE".
        truth: [N] integers, the true quantities m.
        raw: for each training seed, row name -> predicted quantities before rounding [N].
        published, resamples: as for `measure_claim`.
    """
    gains = [
        _image_scores(claim.metric, truth, seed[claim.better])
        - _image_scores(claim.metric, truth, seed[claim.worse])
        for seed in raw
    ]
    return _outcome(claim, mean_gain(np.stack(gains), resamples), published)


def _image_scores(metric: str, truth: np.ndarray, raw: np.ndarray) -> np.ndarray:
    """Returns the terms [N] of a mean over images that is better the higher it is (decision 21)."""
    raw = np.asarray(raw, np.float64)
    if metric == "Accuracy":
        return 100.0 * (round_counts(raw, np.iinfo(np.int32).max) == truth)
    return -((raw - truth) ** 2)


def _outcome(claim: Claim, gain: Gain, published: Table | None) -> Outcome:
    rows = {row.name: row.seeds[0] for row in published.rows} if published else {}
    printed = None
    if claim.better in rows and claim.worse in rows:
        difference = rows[claim.better][claim.metric] - rows[claim.worse][claim.metric]
        printed = round(-difference if claim.metric in LOWER_IS_BETTER else difference, 3)
    return Outcome(claim, gain.per_seed, gain.interval, printed)
