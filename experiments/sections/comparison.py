"""Tables III and IV: the paper's model beside the eight methods that it is compared with.

All methods stand on one backbone, one data path and one metric. Under the table, what the paper
lacks: every method that gives k labels also with our predicted quantity and with the true one, so
that ranking and counting are seen apart.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from experiments.reporting import published
from experiments.reporting.report import LENGTHS, Claim
from experiments.sections import study
from experiments.sections.study import Measured, Section, Study
from msmm.baselines.registry import load_baselines
from msmm.scoring.predictions import Predictions, round_counts
from msmm.training import baseline_tasks
from msmm.training.row_table import COMPLETE, TABLE_ROWS
from msmm.training.run import Run
from msmm.training.stages import train
from msmm.training.table_rows import predict_raw_quantity

BASELINES = load_baselines()
OURS = "Ours"
TRUNKS = {
    "pretrained": "the backbone as its pretrained weights have it",
    "finetuned": "the backbone of stage finetune",
    "images": "a backbone of its own, trained by its own loss",
}


def compared_methods(measured: Study, number: str) -> Section:
    """Trains every method on every run of a study and measures it."""
    said = {name: [] for name in BASELINES}  # method -> annotations, one a seed
    for run in measured.runs:
        for name in BASELINES:
            train(run, name)
            said[name].append(baseline_tasks.predict_baseline(run, name))
        Run.images.cache_clear()
    runs = measured.runs
    reads_tags = {name: baseline_tasks.create_baseline(measured.run, name).multi_modal for name in BASELINES}

    def row(name, counts=None):
        return _row(runs, said[name], reads_tags[name], counts)

    ours = {"Upper bound (Ours)": measured.rows["Upper bound"], OURS: measured.rows[COMPLETE]}
    methods = {BASELINES[name].title: row(name) for name in reversed(BASELINES)}
    ranking = [name for name in reversed(BASELINES) if said[name][0].counts is None]
    predicted = {f"{BASELINES[n].title} + our quantity": row(n, _ours) for n in ranking}
    true = {f"{BASELINES[n].title}, true quantity": row(n, _true) for n in ranking}
    rows = ours | methods
    return Section(
        tables=[
            study.table(f"Measured: the rows of Table {number}, {measured.what}", rows, first="Methods"),
            published.TABLES[number],
            study.table(
                "Measured: with our predicted quantity", {OURS: ours[OURS]} | predicted, first="Methods",
                notes=["The quantity is that of MS-CNN+Tags+LQP for a method that reads tags, of MS-CNN+LQP "
                       "for one that does not. Not in the paper."],
            ),
            study.table(
                "Measured: with the true quantity", {"Upper bound (Ours)": ours["Upper bound (Ours)"]} | true,
                first="Methods", notes=["What is left is the quality of the ranking. Not in the paper."],
            ),
            study.table("Measured: labels an image", rows, columns=LENGTHS, first="Methods"),
        ],
        outcomes=measured.judge(claims(list(methods)), published.TABLES[number], rows),
        notes=[
            f"{BASELINES[name].title} reads {TRUNKS[baseline_tasks.choose_trunk(measured.run, name)]}."
            for name in BASELINES
        ],
        methods=tuple(BASELINES),
    )  # fmt: skip


def claims(titles: Sequence[str]) -> list[Claim]:
    """Section IV-C: the paper's model is better than each of these."""
    return [Claim("better than the compared methods", "IV-C", OURS, title) for title in titles]


def _row(runs: Sequence[Run], said: Sequence[Predictions], reads_tags: bool, counts=None) -> Measured:
    """A method's row; `counts` (of a run and whether the method reads tags) instead of its own or k."""
    chosen = []
    for run, annotations in zip(runs, said, strict=True):
        if counts:
            annotations = dataclasses.replace(annotations, counts=counts(run, reads_tags))
        chosen.append(baseline_tasks.choose_baseline_labels(run, annotations))
    return study.measured(
        runs[0].split("test").labels,
        chosen,
        multi_modal=reads_tags,
        quantity=counts is not None or said[0].counts is not None,
        upper_bound=counts is _true,
    )


def _ours(run: Run, reads_tags: bool) -> np.ndarray:
    row = COMPLETE if reads_tags else "MS-CNN+LQP"
    return round_counts(predict_raw_quantity(run, TABLE_ROWS[row]), len(run.dataset.labels))


def _true(run: Run, reads_tags: bool) -> np.ndarray:
    return run.split("test").counts.astype(np.int32)
