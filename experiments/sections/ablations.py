"""What other choices would have given where the paper is open: k, rounding, "0.9997", dropout, class tags."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from experiments.reporting.report import QUANTITY, Row, Table
from experiments.sections import study
from experiments.sections.study import Section, Study
from msmm.configs import base, flatten, group_names, replace_flat
from msmm.scoring.metrics import METRICS, annotation_metrics
from msmm.scoring.predictions import Predictions, choose_labels
from msmm.training import table_rows
from msmm.training.row_table import COMPLETE, TABLE_ROWS, TAGS_ONLY
from msmm.training.run import Run
from msmm.training.stages import adopt_stages
from msmm.training.table_rows import predict_probabilities, predict_raw_quantity

LONGEST = 8  # of the fixed lists that are tried
LQP = ("quantity accuracy", "quantity MSE")

# How a raw quantity becomes a number of labels; decision 21 is the first.
ROUNDING = {
    "nearest, at least 1 (decision 21)": lambda raw: np.maximum(1, np.floor(raw + 0.5)),
    "nearest": lambda raw: np.maximum(0, np.floor(raw + 0.5)),
    "down, at least 1": lambda raw: np.maximum(1, np.floor(raw)),
    "up, at least 1": lambda raw: np.maximum(1, np.ceil(raw)),
}


def of_k(measured: Study) -> Section:
    """Lists of fixed length (decision 24), from the classifier as it is: nothing is trained."""
    scores = [predict_probabilities(run, TABLE_ROWS[COMPLETE], "test") for run in measured.runs]
    longest = min(LONGEST, measured.truth.shape[1])
    rows = {}
    for k in sorted({*range(1, longest + 1), measured.run.config.k}):
        name = f"k = {k}" + " (as set)" * (k == measured.run.config.k)
        rows[name] = study.measured(measured.truth, [choose_labels(Predictions(s), k) for s in scores])
    rows[f"{COMPLETE}, predicted"] = study.measured(measured.truth, measured.rows[COMPLETE].chosen)
    heading = f"Measured: lists of k labels of MS-CNN+Tags, {measured.what}"
    note = "The classifier is the same in all rows: its best epoch was chosen at the k that is set."
    return Section(tables=[study.table(heading, rows, columns=_LISTS, first="Length", notes=[note])])


def of_rounding(measured: Study) -> Section:
    """Other roundings of the predicted quantity (decision 21): nothing is trained."""
    truth = measured.run.split("test").counts
    said = [
        (
            predict_probabilities(r, TABLE_ROWS[COMPLETE], "test"),
            predict_raw_quantity(r, TABLE_ROWS[COMPLETE]),
        )
        for r in measured.runs
    ]
    rows = {}
    for name, rule in ROUNDING.items():
        counts = [np.minimum(rule(raw.astype(np.float64)), s.shape[1]).astype(np.int32) for s, raw in said]
        chosen = [choose_labels(Predictions(s, c)) for (s, _), c in zip(said, counts, strict=True)]
        row = study.measured(measured.truth, chosen)
        right = [{QUANTITY[0]: float(100 * (c == truth).mean())} for c in counts]
        rows[name] = dataclasses.replace(
            row, figures=[f | r for f, r in zip(row.figures, right, strict=True)]
        )
    heading = f"Measured: roundings of the quantity of {COMPLETE}, {measured.what}"
    return Section(tables=[study.table(heading, rows, columns=(*_LISTS, QUANTITY[0]), first="Rounding")])


_LISTS = (*METRICS, "mean predicted")


_LOSSES = {
    "eq. 4": (False, 0.0, 4.0, 0.05),
    "asymmetric, γ 0 and 4, shift 0.05": (True, 0.0, 4.0, 0.05),
    "asymmetric, γ 1 and 4, shift 0.05": (True, 1.0, 4.0, 0.05),
    "asymmetric, γ 0 and 2, shift 0": (True, 0.0, 2.0, 0.0),
    "focal, γ 2 and 2, shift 0": (True, 2.0, 2.0, 0.0),
}


def settings(of: str, config: base.Config) -> dict[str, dict]:
    """The choices that are tried, name -> fields of the configuration; the run's own is among them."""
    anew = config.bn_batches or base.Config.bn_batches
    tried = {
        "bn_decay": {
            "0.9997": {"bn_momentum": 0.9997, "bn_batches": 0},
            f"0.9997, taken anew over {anew} batches": {"bn_momentum": 0.9997, "bn_batches": anew},
            "0.99": {"bn_momentum": 0.99, "bn_batches": 0},
        },
        "weight_decay": {f"{value:g}": {"weight_decay": value} for value in (0.0, 1e-4, 3e-4, 0.9997)},
        "textual_dropout": {f"{value:g}": {"textual_dropout": value} for value in (0.0, 0.5)},
        "classifier_loss": {
            name: dict(zip(group_names(config, "asymmetric"), fields, strict=True))
            for name, fields in _LOSSES.items()
        },
    }[of]
    flat = flatten(config)
    own = {name: flat[name] for name in next(iter(tried.values()))}
    if own not in tried.values():
        tried[", ".join(f"{name} {value:g}" for name, value in own.items())] = own
    return tried


def of_settings(of: str, measured: Study) -> Section:
    """Trains runs with other settings, in work directories below the study's, and compares them. Stages
    that do not depend on the setting are taken over."""
    rows = []
    for name, fields in settings(of, measured.run.config).items():
        now = flatten(measured.run.config)
        own = all(now[field] == value for field, value in fields.items())
        if not own:
            print(f"\n{of}: {name}", flush=True)
        found = measured if own else study.finish([_variant(of, run, fields) for run in measured.runs])
        row = _row(name + " (as set)" * own, found)
        rows.append(_ranking(row, found) if of == "classifier_loss" else row)
    columns = (*_RANKING, *_columns()) if of == "classifier_loss" else _columns()
    notes = [_FIGURES] + ["0.9997 is the paper's sentence read literally."] * (of == "weight_decay")
    return Section(
        tables=[Table(f"Measured: {of}, {measured.what}", rows, columns, of.replace("_", " "), notes=notes)]
    )


def _variant(of: str, run: Run, fields: Mapping) -> Run:
    """The run with other settings; what it would train as `run` did it has already."""
    name = ",".join(f"{field}={value:g}" for field, value in fields.items())
    workdir = run.workdir / "ablation" / of / name
    config = replace_flat(run.config, fields)
    variant = Run(workdir, run.dataset, config, run.seed, run.features_directory)
    if taken := adopt_stages(variant, run):
        print(f"seed {run.seed}: taken over from {run.directory}: {', '.join(taken)}", flush=True)
    return variant


def _ranking(row: Row, measured: Study) -> Row:
    """The row with what the order of the labels alone is worth, and with the estimator of the quantity that
    held-out images chose: a loss that changes the probabilities need not change their order."""
    best = [
        table_rows.measure_row(run, TABLE_ROWS[COMPLETE], counting_rule="best")[1] for run in measured.runs
    ]
    true = measured.rows["Upper bound"].figures
    return Row(
        row.name,
        [
            seed | dict(zip(_RANKING, (t["H-F1"], b["H-F1"]), strict=True))
            for seed, t, b in zip(row.seeds, true, best, strict=True)
        ],
    )


_RANKING = ("Upper bound", "Chosen quantity")


def of_class_tags(measured: Study, without: Study) -> Section:
    """The data set as tagged, beside itself without the tags that equal a class name (decision 27)."""
    ids = [set(one.run.split("test").ids) for one in (measured, without)]
    return Section(
        tables=[
            Table(
                f"Measured: tags that equal a class name, {measured.what}; without them, {without.what}",
                [_row("with them", measured), _row("without them", without), *_shared(measured, without)],
                _columns(),
                "Tags",
                notes=[
                    _FIGURES,
                    f"{len(ids[0] & ids[1]):,} test images are in both data sets, {len(ids[0] - ids[1]):,} "
                    f"only in the first, {len(ids[1] - ids[0]):,} only in the second. The first two rows are "
                    "of their own images and classes, the others of those that both have; labels of other "
                    "classes are left out.",
                ],
            )
        ]
    )


def _shared(measured: Study, without: Study) -> list[Row]:
    """Both on the test images, by id, and the classes, by name, that both have."""
    rows = []
    for name, one, other in (("with them", measured, without), ("without them", without, measured)):
        images = np.isin(one.run.split("test").ids, other.run.split("test").ids)
        classes = np.isin(one.run.dataset.labels, other.run.dataset.labels)
        part = np.ix_(images, classes)
        seeds = [
            {
                column: annotation_metrics(one.truth[part], one.rows[model].chosen[i][part])["H-F1"]
                for model, column in _MODELS.items()
            }
            for i in range(len(one.runs))
        ]
        rows.append(Row(f"{name}, on what both have", seeds))
    return rows


_FIGURES = (
    "H-F1 (%) of each model; accuracy (%) and MSE (labels²) of the label quantities of " + COMPLETE + "."
)
# Row -> its column, in two lines.
_MODELS = {n: n.replace("MS-CNN+", "MS-CNN +") for n in (*TABLE_ROWS, *TAGS_ONLY) if n != "Upper bound"}


def _columns() -> tuple[str, ...]:
    return (*_MODELS.values(), *LQP)


def _row(name: str, measured: Study) -> Row:
    seeds = [
        {column: measured.rows[model].figures[i]["H-F1"] for model, column in _MODELS.items()}
        | dict(zip(LQP, (measured.rows[COMPLETE].figures[i][q] for q in QUANTITY), strict=True))
        for i in range(len(measured.runs))
    ]
    return Row(name, seeds)
