"""The modern heads beside the paper's model: ranking, counting rules, tags and cost on one data set.

Never part of Tables I to IV: the heads came after the paper.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from experiments.reporting.claims import Claim
from experiments.reporting.table import Row, Table
from experiments.sections.counting_rules import ClassifierOutputs
from experiments.sections.study import Section, Study
from msmm.baselines.loading import load_heads
from msmm.configs.base import Config
from msmm.configs.modern import head_implementations
from msmm.data.records import FEATURES, MAPS
from msmm.quantities.fitting import fit_counting_rules
from msmm.quantities.registry import BEST
from msmm.scoring.metrics import annotation_metrics
from msmm.scoring.predictions import Predictions, choose_labels
from msmm.scoring.ranking_metrics import MEAN_AP, mean_average_precision
from msmm.training import baseline_tasks, frozen_features, head_predictions, model_parts, task_building
from msmm.training.run import Run
from msmm.training.stage_table import trains_trunk
from msmm.training.stages import train
from msmm.training.table_rows import TABLE_ROWS

PAPER = ("MS-CNN", "MS-CNN+Tags")
TAGS = "+Tags"
TRUTH = "truth"
CLAIMS_HEADING = "Does quantity pay, do tags pay"
# How many labels are kept -> (column of H-F1, name of the row in a claim, after the method's).
COUNTS = {
    "top_k": ("H-F1 top {k}", ", top {k}"),
    "threshold": ("H-F1 one threshold", ", one threshold"),
    BEST: ("H-F1 default rule", ""),
    TRUTH: ("H-F1 true quantity", ", true quantity"),
}
_NOTES = (
    "Default rule: the counting rule that held-out images choose, as in `annotate`. It reads the quantity "
    "of the paper's regressor on [f_v, f_t], or on f_v for a method without tags. One threshold reads no "
    "quantity. Every rule is fitted on held-out training images.",
    "A head with tags adds a linear layer on f_t, the frozen feature of stage textual, to its logits.",
    "Parameters are those of the head. Seconds: its training, without the trunk, cached maps, f_v and f_t; "
    "of the paper's rows, the fusion blocks (MS-CNN) and the classifier (MS-CNN+Tags).",
)

_FROZEN = (
    "The trunk is frozen: all methods read the same maps. No RandAugment and no cutout, which need images."
)
_GIVEN = "The paper's rows read the data set's features, and the heads its maps, perhaps of another network."


@dataclasses.dataclass(frozen=True)
class _Measured:
    """One method: for each seed, figures by column, and the labels of each way of counting, bool [N, C]."""

    figures: Sequence[dict[str, float]]
    chosen: Sequence[Mapping[str, np.ndarray]]


def modern_section(study: Study) -> Section:
    """Trains every modern head on every run of a study, and makes the section."""
    heads = load_heads(study.run.config)
    outputs = {name: [ClassifierOutputs.compute(run, name) for run in study.runs] for name in PAPER}
    cost = {name: [_paper_cost(run, name) for run in study.runs] for name in PAPER}
    for run in study.runs:
        for name, kind in heads.items():
            train(run, name)
            outputs.setdefault(kind.title, []).append(_head_outputs(run, name))
            cost.setdefault(kind.title, []).append(_head_cost(run, name))
        if run.config.finetune.trunk and run.dataset.has_images:
            frozen_features.discard_maps(run)
        run.discard_images()
    measured = {title: _measure(study, seeds, cost[title]) for title, seeds in outputs.items()}
    k = study.run.config.k
    columns = (MEAN_AP, *(column.format(k=k) for column, _ in COUNTS.values()), "parameters", "seconds")
    table = Table(
        f"Measured: modern heads, {study.description}",
        [Row(title, m.figures, multi_modal=title.endswith(TAGS)) for title, m in measured.items()],
        columns,
        "Methods",
    )
    return Section(
        tables=[table],
        outcomes=_outcomes(study, measured),
        notes=table_notes(study.run.config, {FEATURES, MAPS} <= set(study.run.dataset.arrays or ())),
        baselines=tuple(heads),
    )


def table_notes(config: Config, two_trunks: bool) -> tuple[str, ...]:
    """Returns the notes below the table, the first about the trunks of the heads.

    two_trunks: whether the data set has features and maps of its own.
    """
    own = [name for name in head_implementations(config) if trains_trunk(name, config)]
    if not own:
        return (_GIVEN if two_trunks else _FROZEN, *_NOTES)
    changes = task_building.augmentation(config)
    trunk = (
        f"{', '.join(own)}: with a trunk of its own, from the same pretrained weights, on images with random "
        f"crops of at least {changes.crop:g} of the area, RandAugment {changes.randaugment} and cutout "
        f"{changes.cutout:g}. All other methods read maps of the frozen trunk."
    )
    return (trunk, *_NOTES)


def _head_outputs(run: Run, name: str) -> ClassifierOutputs:
    return ClassifierOutputs(
        head_predictions.predict_probabilities(run, name, "test"),
        head_predictions.predict_raw_quantity(run, name, "test"),
        head_predictions.predict_held_out(run, name),
    )


def _head_cost(run: Run, name: str) -> dict[str, float]:
    network = baseline_tasks.create_baseline(run, name).build()
    return {"parameters": network.count_params(), "seconds": run.finished_record(name)["seconds"]}


def _paper_cost(run: Run, name: str) -> dict[str, float]:
    """Returns the cost of the parts that are trained on the trunk's maps, or on f_v and f_t."""
    stage = TABLE_ROWS[name].stages[0]
    record = run.finished_record(stage)
    parts = [model_parts.load_part(run, part) for part in record["weights"]]
    return {"parameters": sum(part.count_params() for part in parts), "seconds": record["seconds"]}


def _measure(study: Study, outputs: Sequence[ClassifierOutputs], cost: Sequence[dict]) -> _Measured:
    """Measures a method with each way of counting, seed by seed."""
    truth, k = study.truth, study.run.config.k
    figures, chosen = [], []
    for seed, own_cost in zip(outputs, cost, strict=True):
        fitted = fit_counting_rules(seed.held_out)
        predictions = {
            name: Predictions(seed.probabilities, truth.sum(axis=1).astype(np.int32))
            if name == TRUTH
            else fitted.apply(seed.probabilities, seed.raw, name)
            for name in COUNTS
        }
        labels = {name: choose_labels(counted) for name, counted in predictions.items()}
        h_f1 = {
            COUNTS[name][0].format(k=k): annotation_metrics(truth, by_rule)["H-F1"]
            for name, by_rule in labels.items()
        }
        ranking = {MEAN_AP: mean_average_precision(truth, seed.probabilities)}
        figures.append(ranking | h_f1 | own_cost)
        chosen.append(labels)
    return _Measured(figures, chosen)


def modern_claims(titles: Sequence[str], k: int) -> list[Claim]:
    """Returns the questions of the table: does quantity pay, do tags pay, is a head better than ours."""
    top, threshold = (COUNTS[name][1].format(k=k) for name in ("top_k", "threshold"))
    claims = [Claim("quantity pays", f"over top {k}", title, title + top) for title in titles]
    claims += [Claim("quantity pays", "over one threshold", title, title + threshold) for title in titles]
    claims += [
        Claim("tags pay", "default rule", title + TAGS, title) for title in titles if title + TAGS in titles
    ]
    return claims + [
        Claim("better than the paper's model", "default rule", title, PAPER[title.endswith(TAGS)])
        for title in titles
        if title not in PAPER
    ]


def _outcomes(study: Study, measured: Mapping[str, _Measured]) -> list:
    k = study.run.config.k
    rows = {
        title + COUNTS[name][1].format(k=k): [seed[name] for seed in method.chosen]
        for title, method in measured.items()
        for name in COUNTS
    }
    return study.measure_chosen(modern_claims(list(measured), k), rows)
