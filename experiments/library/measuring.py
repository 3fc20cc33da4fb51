"""Figures of annotations in JSON lines, beside the true labels of a planned library."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from msmm.scoring.bootstrap import metric_gain
from msmm.scoring.metrics import annotation_metrics
from msmm.scoring.ranking_metrics import mean_average_precision

COLUMNS = ("mAP", "H-F1", "I-F1", "right of the written", "written of all", "labels per photograph")


@dataclasses.dataclass(frozen=True)
class Annotations:
    """The labels that a model wrote for N photographs.

    Attributes:
        chosen: bool [N, C].
        probabilities: float [N, C].
    """

    chosen: np.ndarray
    probabilities: np.ndarray


def read_annotations(path: pathlib.Path, photographs: Sequence[str], names: Sequence[str]) -> Annotations:
    """Reads a file of `annotate --format=json`.

    Args:
        path: the file.
        photographs: the N paths, as annotate was given them.
        names: the C labels, as the model calls them.

    Raises:
        KeyError: a photograph was not annotated, or the model has no such label.
    """
    lines = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    by_path = {line["path"]: line for line in lines}
    rows = [by_path[photograph] for photograph in photographs]
    chosen = [[name in row["labels"] for name in names] for row in rows]
    probabilities = [[row["probabilities"][name] for name in names] for row in rows]
    return Annotations(np.array(chosen, bool), np.array(probabilities, np.float64))


def measure(annotations: Annotations, truth: np.ndarray) -> list[float]:
    """Returns the figures of COLUMNS, in percent but for the last; truth: bool [N, C]."""
    chosen = annotations.chosen
    metrics = annotation_metrics(truth, chosen)
    return [
        mean_average_precision(truth, annotations.probabilities),
        metrics["H-F1"],
        metrics["I-F1"],
        metrics["I-P"],
        metrics["I-R"],
        float(chosen.sum(axis=1).mean()),
    ]


def describe_gain(truth: np.ndarray, worse: Annotations, better: Annotations) -> str:
    """Returns the gain of H-F1 with its 95 % interval over photographs."""
    gain = metric_gain(truth, [worse.chosen], [better.chosen])
    low, high = gain.interval
    return f"{gain.per_seed[0]:+.1f} ({low:+.1f} to {high:+.1f})"


def truth_matrix(truths: Sequence[Sequence[str]], names: Sequence[str]) -> np.ndarray:
    """Returns which labels photographs have, bool [N, C]."""
    return np.array([[name in truth for name in names] for truth in truths], bool)


def figures_table(title: str, figures: Mapping[str, Sequence[float]], gains: Mapping[str, str]) -> str:
    """Returns a Markdown table of models; gains: H-F1 over the starter, by model."""
    head = f"| {title} | {' | '.join(COLUMNS)} | H-F1 over the starter |"
    rule = "| --- |" + " ---: |" * (len(COLUMNS) + 1)
    rows = [
        f"| {name} | {' | '.join(f'{value:.1f}' for value in values)} | {gains.get(name, '')} |"
        for name, values in figures.items()
    ]
    return "\n".join([head, rule, *rows])
