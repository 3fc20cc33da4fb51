"""Sections for the tables of the paper: measured rows beside the published ones."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from experiments.reporting import published
from experiments.reporting.claims import measure_quantity_claim
from experiments.reporting.table import LENGTHS, QUANTITY, Row, Table
from experiments.sections.comparison import comparison_section
from experiments.sections.study import (
    MeasuredRow,
    Section,
    Study,
    class_table,
    make_table,
    ranking_table,
    train_and_measure,
)
from msmm.configs import coco_photos, mscoco
from msmm.scoring.metrics import quantity_metrics
from msmm.training.run import Run
from msmm.training.table_predictions import predict_probabilities, predict_raw_quantity
from msmm.training.table_rows import COMPLETE, TABLE_ROWS, TAGS_ONLY

# Rows of Tables V and VI -> the row of Tables I and II that counts with these features.
REGRESSORS = {"MS-CNN": "MS-CNN+LQP", "MS-CNN+Tags": COMPLETE}


def components_section(study: Study, number: str) -> Section:
    """Makes the section of Table I or II: the contribution of each component of the model."""
    own = {name: study.rows[name] for name in TABLE_ROWS if name in study.rows}
    return Section(
        tables=[
            make_table(f"Measured: the rows of Table {number}, {study.description}", own),
            published.TABLES[number],
            make_table("Measured: not in the paper's table", {name: study.rows[name] for name in TAGS_ONLY}),
            ranking_table(_classifiers(study)),
            class_table(study, tuple(_classifiers(study))),
            make_table("Measured: labels per image", own, columns=LENGTHS),
        ],
        outcomes=study.measure_claims(published.CLAIMS, published.TABLES[number]),
    )


def _classifiers(study: Study) -> Mapping[str, MeasuredRow]:
    """Returns one row per classifier; rows that differ in the counting rule alone rank labels alike."""
    names = ("MS-CNN+Tags", "MS-CNN", "CNN", *TAGS_ONLY)
    return {name: study.rows[name] for name in names if name in study.rows}


def quantity_section(study: Study, number: str) -> Section:
    """Makes the section of Table V or VI: predicted label quantities, with and without a regressor."""
    columns = (*QUANTITY, "variance of true", "mean predicted", "mean true")
    truth = study.run.split("test").counts
    names = [name for name, row in REGRESSORS.items() if row in study.rows]
    raw = [
        {name: predict_raw_quantity(run, TABLE_ROWS[REGRESSORS[name]]) for name in names}
        for run in study.runs
    ]
    regressors = {name: study.rows[REGRESSORS[name]] for name in names}
    constants = constant_counts(study.run)
    by_seed = [counts_from_probabilities(run, names) for run in study.runs]
    others = [Row(name, [quantity_metrics(truth, value)]) for name, value in constants.items()]
    others += [Row(n, [quantity_metrics(truth, seed[n]) for seed in by_seed]) for n in by_seed[0]]
    lowest = min(metrics["Accuracy"] for row in regressors.values() for metrics in row.metrics)
    return Section(
        tables=[
            Table(
                f"Measured: label quantities, {study.description}",
                [Row(name, row.metrics) for name, row in regressors.items()],
                columns,
                published.TABLES[number].first,
            ),
            published.TABLES[number],
            Table("Measured: without a regressor", others, columns, "Predictor", notes=TRIVIAL_NOTES),
        ],
        outcomes=[
            measure_quantity_claim(claim, truth, raw, published.TABLES[number])
            for claim in published.QUANTITY_CLAIMS
            if {claim.better, claim.worse} <= {*names}
        ],
        notes=[
            f"The paper counts more than {published.LEAST_ACCURACY:.0f} % of the label quantities right in "
            f"all cases (IV-D1). Here the lowest accuracy of a regressor and a seed is {lowest:.2f} %, "
            f"{'above' if lowest > published.LEAST_ACCURACY else 'not above'} it."
        ],
    )


TRIVIAL_NOTES = (
    "The two constants come from the training images; their MSE cannot be below the variance of the "
    "true quantities. Σp and p > 0.5 are over the probabilities of the classifier that is named.",
    "Accuracy is measured on the value rounded as for a regressor (at least 1), MSE on the value itself.",
)


def constant_counts(run: Run) -> dict[str, np.ndarray]:
    """Returns constant label quantities for the test split, name -> float [N]."""
    train, n = run.split("train").counts[run.train_rows], len(run.split("test").counts)
    return {
        "mean of the training counts": np.full(n, train.mean()),
        "most common training count": np.full(n, float(np.bincount(train).argmax())),
    }


def counts_from_probabilities(run: Run, names: Sequence[str] = tuple(REGRESSORS)) -> dict[str, np.ndarray]:
    """Returns label quantities of the test split computed from probabilities, name -> float [N].

    names: of `REGRESSORS`, whose keys are the names of the classifiers' rows too.
    """
    counts = {}
    for name in names:
        p = predict_probabilities(run, TABLE_ROWS[name], "test")
        counts[f"Σp, {name}"] = p.sum(axis=1, dtype=np.float64)
        counts[f"count of p > 0.5, {name}"] = (p > 0.5).sum(axis=1).astype(np.float64)
    return counts


# Table -> (study, number of the table) -> its section.
SECTIONS: dict[str, Callable[[Study, str], Section]] = {
    "I": components_section,
    "II": components_section,
    "III": comparison_section,
    "IV": comparison_section,
    "V": quantity_section,
    "VI": quantity_section,
}
FILES = {"I": "table1", "II": "table2", "III": "table3", "IV": "table4", "V": "table5", "VI": "table6"}


def table_numbers(run: Run) -> tuple[str, ...]:
    """Returns the published tables for a data set: MSCOCO's with MSCOCO's settings, else NUS-WIDE's."""
    return (
        ("II", "IV", "VI")
        if isinstance(run.config, mscoco.Config | coco_photos.Config)
        else ("I", "III", "V")
    )


def reproduce_table(number: str, runs: Sequence[Run], command: str) -> None:
    """Trains unfinished stages of the runs, measures one table and writes its report."""
    study = train_and_measure(runs)
    section = SECTIONS[number](study, number)
    page = study.make_report(f"Table {number} on {study.run.dataset.name}", [section], command)
    study.publish(page, FILES[number])
