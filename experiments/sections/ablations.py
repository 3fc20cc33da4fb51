"""Compares choices that the paper leaves open: k, rounding, "0.9997", dropout, loss, class tags."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from experiments.reporting.table import QUANTITY, Row, Table
from experiments.sections.study import Section, Study, make_table, measure_row, train_and_measure
from msmm.configs import base, flatten, group_names, replace_flat
from msmm.models.multi_scale import FUSIONS
from msmm.scoring.metrics import METRICS, annotation_metrics
from msmm.scoring.predictions import Predictions, choose_labels
from msmm.training import table_predictions
from msmm.training.run import Run
from msmm.training.stages import adopt_stages
from msmm.training.table_predictions import predict_probabilities, predict_raw_quantity
from msmm.training.table_rows import COMPLETE, TABLE_ROWS, TAGS_ONLY

LONGEST = 8  # fixed list that is tried
LQP = ("quantity accuracy", "quantity MSE")

# Rules that turn a raw quantity into a number of labels; decision 21 is the first.
ROUNDING = {
    "nearest, at least 1 (decision 21)": lambda raw: np.maximum(1, np.floor(raw + 0.5)),
    "nearest": lambda raw: np.maximum(0, np.floor(raw + 0.5)),
    "down, at least 1": lambda raw: np.maximum(1, np.floor(raw)),
    "up, at least 1": lambda raw: np.maximum(1, np.ceil(raw)),
}


def fixed_length_section(study: Study) -> Section:
    """Measures lists of fixed length (decision 24) with the trained classifier."""
    scores = [predict_probabilities(run, TABLE_ROWS[COMPLETE], "test") for run in study.runs]
    longest = min(LONGEST, study.truth.shape[1])
    rows = {}
    for k in sorted({*range(1, longest + 1), study.run.config.k}):
        name = f"k = {k}" + " (as set)" * (k == study.run.config.k)
        rows[name] = measure_row(study.truth, [choose_labels(Predictions(s), k) for s in scores])
    rows[f"{COMPLETE}, predicted"] = measure_row(study.truth, study.rows[COMPLETE].chosen)
    heading = f"Measured: lists of k labels of MS-CNN+Tags, {study.description}"
    note = "The classifier is the same in all rows: its best epoch was chosen at the k that is set."
    return Section(tables=[make_table(heading, rows, columns=_LISTS, first="Length", notes=[note])])


def rounding_section(study: Study) -> Section:
    """Measures other roundings of the predicted quantity (decision 21) with the trained networks."""
    truth = study.run.split("test").counts
    outputs = [
        (
            predict_probabilities(r, TABLE_ROWS[COMPLETE], "test"),
            predict_raw_quantity(r, TABLE_ROWS[COMPLETE]),
        )
        for r in study.runs
    ]
    rows = {}
    for name, rule in ROUNDING.items():
        counts = [np.minimum(rule(raw.astype(np.float64)), s.shape[1]).astype(np.int32) for s, raw in outputs]
        chosen = [choose_labels(Predictions(s, c)) for (s, _), c in zip(outputs, counts, strict=True)]
        row = measure_row(study.truth, chosen)
        accuracy = [{QUANTITY[0]: float(100 * (c == truth).mean())} for c in counts]
        rows[name] = dataclasses.replace(
            row, metrics=[m | a for m, a in zip(row.metrics, accuracy, strict=True)]
        )
    heading = f"Measured: roundings of the quantity of {COMPLETE}, {study.description}"
    return Section(tables=[make_table(heading, rows, columns=(*_LISTS, QUANTITY[0]), first="Rounding")])


_LISTS = (*METRICS, "mean predicted")


_LOSSES = {
    "eq. 4": ("cross_entropy", 0.0, 4.0, 0.05),
    "asymmetric, γ 0 and 4, shift 0.05": ("asymmetric", 0.0, 4.0, 0.05),
    "asymmetric detached, γ 0 and 4, shift 0.05": ("asymmetric_detached", 0.0, 4.0, 0.05),
    "asymmetric, γ 1 and 4, shift 0.05": ("asymmetric", 1.0, 4.0, 0.05),
    "asymmetric, γ 0 and 2, shift 0": ("asymmetric", 0.0, 2.0, 0.0),
    "focal, γ 2 and 2, shift 0": ("asymmetric", 2.0, 2.0, 0.0),
}


def list_settings(choice: str, config: base.Config) -> dict[str, dict]:
    """Returns the settings that a choice compares, name -> fields of the configuration; the run's own too."""
    batches = config.bn_batches or base.Config.bn_batches
    compared = {
        "bn_decay": {
            "0.9997": {"bn_momentum": 0.9997, "bn_batches": 0},
            f"0.9997, estimated again over {batches} batches": {"bn_momentum": 0.9997, "bn_batches": batches},
            "0.99": {"bn_momentum": 0.99, "bn_batches": 0},
        },
        "weight_decay": {f"{value:g}": {"weight_decay": value} for value in (0.0, 1e-4, 3e-4, 0.9997)},
        "textual_dropout": {f"{value:g}": {"textual_dropout": value} for value in (0.0, 0.5)},
        "classifier_loss": {
            name: dict(zip(("classifier_loss", *group_names(config, "asymmetric")), fields, strict=True))
            for name, fields in _LOSSES.items()
        },
        "visual_fusion": {name: {"visual_fusion": name} for name in FUSIONS},
    }[choice]
    values = flatten(config)
    own = {name: values[name] for name in next(iter(compared.values()))}
    if own not in compared.values():
        compared[", ".join(f"{name} {_show(value)}" for name, value in own.items())] = own
    return compared


def settings_section(choice: str, study: Study) -> Section:
    """Trains runs with other settings, in work directories below the study's, and compares them.

    Stages that do not depend on the setting are copied from the study.
    """
    rows = []
    for name, fields in list_settings(choice, study.run.config).items():
        values = flatten(study.run.config)
        own = all(values[field] == value for field, value in fields.items())
        if not own:
            print(f"\n{choice}: {name}", flush=True)
        other = study if own else train_and_measure([make_variant(choice, run, fields) for run in study.runs])
        row = _row(name + " (as set)" * own, other)
        rows.append(_add_ranking(row, other) if choice == "classifier_loss" else row)
    columns = (*_RANKING, *_columns()) if choice == "classifier_loss" else _columns()
    notes = [_NOTE] + ["0.9997 is the paper's sentence read literally."] * (choice == "weight_decay")
    heading = f"Measured: {choice}, {study.description}"
    return Section(tables=[Table(heading, rows, columns, choice.replace("_", " "), notes=notes)])


def make_variant(choice: str, run: Run, fields: Mapping) -> Run:
    """Returns the run with other settings, with copies of the finished stages that they do not change."""
    name = ",".join(f"{field}={_show(value)}" for field, value in fields.items())
    workdir = run.workdir / "ablation" / choice / name
    config = replace_flat(run.config, fields)
    variant = Run(workdir, run.dataset, config, run.seed, run.features_directory)
    if copied := adopt_stages(variant, run):
        print(f"seed {run.seed}: copied from {run.directory}: {', '.join(copied)}", flush=True)
    return variant


def _add_ranking(row: Row, study: Study) -> Row:
    """Adds H-F1 with the true counts and with the counting rule that held-out images chose.

    A loss that changes the probabilities need not change the order of the labels.
    """
    best = [
        table_predictions.measure_row(run, TABLE_ROWS[COMPLETE], counting_rule="best")[1]
        for run in study.runs
    ]
    true = study.rows["Upper bound"].metrics
    return Row(
        row.name,
        [
            seed | dict(zip(_RANKING, (t["H-F1"], b["H-F1"]), strict=True))
            for seed, t, b in zip(row.seeds, true, best, strict=True)
        ],
    )


_RANKING = ("Upper bound", "Chosen quantity")


def class_tags_section(study: Study, without: Study) -> Section:
    """Compares the data set with itself without the tags that equal a class name (decision 27)."""
    ids = [set(one.run.split("test").ids) for one in (study, without)]
    return Section(
        tables=[
            Table(
                f"Measured: tags that equal a class name, {study.description}; "
                f"without them, {without.description}",
                [_row("with them", study), _row("without them", without), *_shared_rows(study, without)],
                _columns(),
                "Tags",
                notes=[
                    _NOTE,
                    f"{len(ids[0] & ids[1]):,} test images are in both data sets, {len(ids[0] - ids[1]):,} "
                    f"only in the first, {len(ids[1] - ids[0]):,} only in the second. The first two rows use "
                    "their own images and classes, the others the images and classes of both data sets. "
                    "Labels of other classes are left out.",
                ],
            )
        ]
    )


def _shared_rows(study: Study, without: Study) -> list[Row]:
    """Measures both studies on the test images (by id) and the classes (by name) that both have."""
    rows = []
    for name, one, other in (("with them", study, without), ("without them", without, study)):
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
        rows.append(Row(f"{name}, on shared images and classes", seeds))
    return rows


_NOTE = "H-F1 (%) of each model; accuracy (%) and MSE (labels²) of the label quantities of " + COMPLETE + "."
# Row -> the heading of its column, in two lines.
_MODELS = {n: n.replace("MS-CNN+", "MS-CNN +") for n in (*TABLE_ROWS, *TAGS_ONLY) if n != "Upper bound"}


def _columns() -> tuple[str, ...]:
    return (*_MODELS.values(), *LQP)


def _row(name: str, study: Study) -> Row:
    seeds = [
        {column: study.rows[model].metrics[i]["H-F1"] for model, column in _MODELS.items()}
        | dict(zip(LQP, (study.rows[COMPLETE].metrics[i][q] for q in QUANTITY), strict=True))
        for i in range(len(study.runs))
    ]
    return Row(name, seeds)


def _show(value) -> str:
    return value if isinstance(value, str) else f"{value:g}"
