"""Tables III and IV: the paper's model beside the eight methods that it is compared with.

All methods use one backbone, one data path and one metric. The paper lacks the further tables: they give
every method that ranks labels the predicted quantity of the complete model and the true one. They separate
ranking from counting.
"""

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from experiments.reporting import published
from experiments.reporting.claims import Claim
from experiments.reporting.table import LENGTHS
from experiments.sections.study import (
    MeasuredRow,
    Section,
    Study,
    make_table,
    measure_row,
    ranking_table,
)
from msmm.baselines.loading import load_baselines
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
    predictions = _train_and_predict(study.runs, baselines)
    reads_tags = {name: baseline_tasks.create_baseline(study.run, name).multi_modal for name in baselines}

    def row(name: str, counts: Callable | None = None) -> MeasuredRow:
        return _measure(study.runs, predictions[name], reads_tags[name], counts)

    ours = {UPPER_BOUND: study.rows["Upper bound"], OURS: study.rows[COMPLETE]}
    own_counts = {BASELINES[name].title: row(name) for name in reversed(baselines)}
    rankers = [name for name in reversed(baselines) if predictions[name][0].counts is None]
    our_counts = {f"{BASELINES[n].title} + our quantity": row(n, _our_counts) for n in rankers}
    true_counts = {f"{BASELINES[n].title}, true quantity": row(n, _true_counts) for n in rankers}
    rows = ours | own_counts
    ranked = {OURS: ours[OURS]}
    for name in rankers:
        if baseline_tasks.scores_labels(BASELINES[name]):
            title = BASELINES[name].title
            ranked[title] = _add_ranking(study, name, own_counts[title], predictions[name])
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


def _train_and_predict(runs: Sequence[Run], names: Collection[str]) -> Mapping[str, list[Predictions]]:
    """Trains every method and returns its predictions for the test split, one entry per run."""
    predictions = {name: [] for name in names}
    for run in runs:
        for name in names:
            train(run, name)
            predictions[name].append(baseline_tasks.predict_baseline(run, name))
        run.discard_images()
    return predictions


def comparison_claims(titles: Sequence[str]) -> list[Claim]:
    """Returns the claims of section IV-C: the paper's model is better than each method."""
    return [Claim("better than the compared methods", "IV-C", OURS, title) for title in titles]


def _measure(
    runs: Sequence[Run], predictions: Sequence[Predictions], reads_tags: bool, counts: Callable | None
) -> MeasuredRow:
    """Measures a method; `counts` (run, reads_tags -> [N]) replaces its own counts or k."""
    chosen = []
    for run, ranked in zip(runs, predictions, strict=True):
        if counts:
            ranked = dataclasses.replace(ranked, counts=counts(run, reads_tags))
        chosen.append(baseline_tasks.choose_baseline_labels(run, ranked))
    return measure_row(
        runs[0].split("test").labels,
        chosen,
        multi_modal=reads_tags,
        quantity=counts is not None or predictions[0].counts is not None,
        upper_bound=counts is _true_counts,
    )


def _add_ranking(
    study: Study, name: str, row: MeasuredRow, predictions: Sequence[Predictions]
) -> MeasuredRow:
    rankings = [
        baseline_tasks.measure_ranking(run, name, study.truth, p)
        for run, p in zip(study.runs, predictions, strict=True)
    ]
    return dataclasses.replace(row, metrics=[m | r for m, r in zip(row.metrics, rankings, strict=True)])


def _our_counts(run: Run, reads_tags: bool) -> np.ndarray:
    row = COMPLETE if reads_tags else "MS-CNN+LQP"
    return round_counts(predict_raw_quantity(run, TABLE_ROWS[row]), len(run.dataset.labels))


def _true_counts(run: Run, reads_tags: bool) -> np.ndarray:
    return run.split("test").counts.astype(np.int32)
