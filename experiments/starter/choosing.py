"""Chooses the nouns that pixels can show, by the held-out average precision of a linear classifier."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from experiments.starter.labels import NOUNS
from msmm.scoring.ranking_metrics import average_precision
from msmm.training import baseline_tasks, stages
from msmm.training.run import Run

CLASSIFIER = "logistic"  # CNN+logistic: C logistic regressions on the trunk's pooled features


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A candidate noun and its figures.

    Attributes:
        label: the noun.
        photographs: number of photographs of the training split that it names.
        held_out: the part of them that is held out.
        ap: average precision on the held-out photographs, in percent; None without a positive one.
        kept: whether it becomes a label.
    """

    label: str
    photographs: int
    held_out: int
    ap: float | None
    kept: bool


def choose_nouns(run: Run, least_ap: float, least_photographs: int) -> list[Candidate]:
    """Trains the linear classifier of a data set with all candidates, and returns their figures.

    Args:
        run: of that data set; the trunk is not trained.
        least_ap: in percent, on held-out photographs of the training split.
        least_photographs: of the training split.
    """
    stages.train(run, CLASSIFIER)
    scores = baseline_tasks.predict_baseline(run, CLASSIFIER, "train").scores[run.held_out_rows]
    truth = run.split("train").labels
    return judge_candidates(run.dataset.labels, truth, run.held_out_rows, scores, least_ap, least_photographs)


def judge_candidates(
    labels: Sequence[str],
    truth: np.ndarray,
    held_out_rows: np.ndarray,
    scores: np.ndarray,
    least_ap: float,
    least_photographs: int,
) -> list[Candidate]:
    """Returns the figures of the candidates among labels, the highest average precision first.

    Args:
        labels: the C labels.
        truth: bool [N, C], of the training split.
        held_out_rows: int [n], the rows that did not train.
        scores: float [n, C], of the held-out rows.
        least_ap: in percent; a kept noun has at least this.
        least_photographs: a kept noun has at least this many of the N.
    """
    ap = average_precision(truth[held_out_rows], scores)
    counts, held_out = truth.sum(axis=0), truth[held_out_rows].sum(axis=0)
    candidates = [
        Candidate(
            label,
            int(counts[j]),
            int(held_out[j]),
            None if np.isnan(ap[j]) else round(float(ap[j]), 1),
            bool(ap[j] >= least_ap and counts[j] >= least_photographs),  # NaN is not
        )
        for j, label in enumerate(labels)
        if label in NOUNS
    ]
    return sorted(candidates, key=lambda c: (-(c.ap or 0.0), c.label))
