"""Tables III and IV: the paper's model beside the eight methods that it is compared with.

All methods use one backbone, one data path and one metric. The paper lacks the further tables: they give
every method that ranks labels the predicted quantity of the complete model and the true one. They separate
ranking from counting.
"""

import dataclasses
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from experiments.reporting import published
from experiments.reporting.claims import Claim
from experiments.reporting.table import LENGTHS
from experiments.sections.study import (
    MeasuredRow,
    Section,
    Study,
    make_table,
    ranking_table,
)
from msmm.baselines.loading import load_baselines
from msmm.scoring.metrics import annotation_metrics
from msmm.scoring.predictions import Predictions, round_counts
from msmm.training import baseline_tasks
from msmm.training.run import Run
from msmm.training.stages import train
from msmm.training.table_predictions import predict_raw_quantity
from msmm.training.table_rows import COMPLETE, TABLE_ROWS

BASELINES = load_baselines()
OURS, UPPER_BOUND = "Ours", "Upper bound (Ours)"
TRUNKS = {
    "pretrained": "the backbone with its pretrained weights",
    "finetuned": "the backbone of stage finetune",
    "own": "a backbone of its own, trained by its own loss",
    "given": "the data set's own features",
}
COUNTS_NOTE = (
    "The quantity comes from MS-CNN+Tags+LQP for a method that reads tags, from MS-CNN+LQP for one that does "
    "not. Not in the paper."
)
DECODERS_NOTE = "Recurrent methods score only the labels that they emit, so they have no mAP."


def comparison_section(study: Study, number: str) -> Section:
    """Trains every compared method on every run of a study and makes the section of Table III or IV."""
    # Tags alone are no input of a method that reads none.
    baselines = {n: m for n, m in BASELINES.items() if m.multi_modal or study.run.dataset.arrays != {}}
    measured = _train_and_measure(study, baselines)
    ours = {UPPER_BOUND: study.rows["Upper bound"], OURS: study.rows[COMPLETE]}
    own_counts = {BASELINES[name].title: measured[name].own for name in reversed(baselines)}
    rankers = [name for name in reversed(baselines) if not measured[name].own.quantity]
    our_counts = {f"{BASELINES[n].title} + our quantity": measured[n].our_counts for n in rankers}
    true_counts = {f"{BASELINES[n].title}, true quantity": measured[n].true_counts for n in rankers}
    rows = ours | own_counts
    ranked = {OURS: ours[OURS]}
    for name in rankers:
        if baseline_tasks.scores_labels(BASELINES[name]):
            own = measured[name].own
            rankings = zip(own.metrics, measured[name].rankings, strict=True)
            ranked[BASELINES[name].title] = dataclasses.replace(own, metrics=[m | r for m, r in rankings])
    return Section(
        tables=[
            make_table(f"Measured: the rows of Table {number}, {study.description}", rows, first="Methods"),
            published.TABLES[number],
            ranking_table(ranked, first="Methods", notes=[DECODERS_NOTE]),
            make_table(
                "Measured: with our predicted quantity",
                {OURS: ours[OURS]} | our_counts,
                first="Methods",
                notes=[COUNTS_NOTE],
            ),
            make_table(
                "Measured: with the true quantity",
                {UPPER_BOUND: ours[UPPER_BOUND]} | true_counts,
                first="Methods",
                notes=["Only the quality of the ranking remains. Not in the paper."],
            ),
            make_table("Measured: labels per image", rows, columns=LENGTHS, first="Methods"),
        ],
        outcomes=study.measure_claims(comparison_claims(list(own_counts)), published.TABLES[number], rows),
        notes=[
            f"{method.title} reads {TRUNKS[baseline_tasks.choose_trunk(study.run, name)]}."
            for name, method in baselines.items()
        ],
        baselines=tuple(baselines),
    )


@dataclasses.dataclass
class _Measured:
    """A method on the test split, seed by seed; scores and the labels of other counts are not kept.

    own: with its own counts or k.
    our_counts, true_counts: with our predicted quantity, and the true one; metrics alone.
    rankings: `ranking_metrics`, where it ranks every label.
    """

    own: MeasuredRow
    our_counts: MeasuredRow
    true_counts: MeasuredRow
    rankings: list[dict[str, float]]


def _train_and_measure(study: Study, names: Collection[str]) -> Mapping[str, _Measured]:
    """Trains and measures every method on every run."""
    measured: dict[str, _Measured] = {}
    for run in study.runs:
        for name in names:
            train(run, name)
            predictions = baseline_tasks.predict_baseline(run, name)
            if name not in measured:
                measured[name] = _empty_rows(run, name, predictions)
            _add_seed(measured[name], study.truth, run, name, predictions)
        run.discard_images()
    return measured


def _empty_rows(run: Run, name: str, predictions: Predictions) -> _Measured:
    reads_tags = baseline_tasks.create_baseline(run, name).multi_modal
    own = MeasuredRow([], [], multi_modal=reads_tags, quantity=predictions.counts is not None)
    counted = MeasuredRow([], [], multi_modal=reads_tags, quantity=True)
    true = MeasuredRow([], [], multi_modal=reads_tags, quantity=True, upper_bound=True)
    return _Measured(own, counted, true, [])


def _add_seed(measured: _Measured, truth: np.ndarray, run: Run, name: str, predictions: Predictions) -> None:
    """Adds the figures of a method's predictions on one run."""
    labels = baseline_tasks.choose_baseline_labels(run, predictions)
    measured.own.chosen.append(labels)
    measured.own.metrics.append(annotation_metrics(truth, labels))
    measured.rankings.append(baseline_tasks.measure_ranking(run, name, truth, predictions))
    if predictions.counts is not None:
        return  # it counts by itself
    for row, counts in ((measured.our_counts, _our_counts), (measured.true_counts, _true_counts)):
        counted = dataclasses.replace(predictions, counts=counts(run, bool(measured.own.multi_modal)))
        labels = baseline_tasks.choose_baseline_labels(run, counted)
        row.metrics.append(annotation_metrics(truth, labels))


def comparison_claims(titles: Sequence[str]) -> list[Claim]:
    """Returns the claims of section IV-C: the paper's model is better than each method."""
    return [Claim("better than the compared methods", "IV-C", OURS, title) for title in titles]


def _our_counts(run: Run, reads_tags: bool) -> np.ndarray:
    row = COMPLETE if reads_tags else "MS-CNN+LQP"
    return round_counts(predict_raw_quantity(run, TABLE_ROWS[row]), len(run.dataset.labels))


def _true_counts(run: Run, reads_tags: bool) -> np.ndarray:
    return run.split("test").counts.astype(np.int32)
