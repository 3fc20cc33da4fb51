"""Compares a finished model with the starter model of the package, on a user's own test photographs."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from msmm import configs
from msmm.core.errors import UserError
from msmm.core.text import normalise_keyword, singulars
from msmm.data.input_pipeline import Images
from msmm.inference import engines, starter
from msmm.inference.model import Model
from msmm.scoring.bootstrap import Gain, metric_gain
from msmm.scoring.metrics import annotation_metrics
from msmm.scoring.ranking_metrics import MEAN_AP, mean_average_precision
from msmm.training.run import Run

MOST_IMAGES = 1000  # test images that are compared, evenly spaced over the split
_BATCH = 32


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Figures of two models on the labels that both have, in percent.

    Attributes:
        images: number of test images.
        shared: the labels that both have and that a test image has, as the data set names them.
        others: number of the data set's labels that the starter model does not have.
        own, starter: "H-F1" with each model's own counting, and the mean average precision.
        gain: of H-F1, over the starter model.
    """

    images: int
    shared: tuple[str, ...]
    others: int
    own: dict[str, float]
    starter: dict[str, float]
    gain: Gain

    def describe(self) -> str:
        """Returns the verdict and its figures on one line."""
        low, high = self.gain.interval
        verdict = "better than" if low > 0 else "worse than" if high < 0 else "no clear difference from"
        figures = ", ".join(
            f"{name} {self.own[name]:.1f} against {self.starter[name]:.1f}" for name in (MEAN_AP, "H-F1")
        )
        others = f"; it does not have {self.others} others" if self.others else ""
        return (
            f"{verdict} the starter model on the {len(self.shared)} labels that both have: {figures} "
            f"(H-F1 {self.gain.per_seed[0]:+.1f}, 95 % interval {low:+.1f} to {high:+.1f}; "
            f"{self.images:,} test images){others}"
        )


def compare_with_starter(run: Run) -> str | None:
    """Returns a sentence that compares the run's finished model with the starter model.

    Both annotate the same test images as `msmm.annotate` does: with tags only where the model reads such tags
    of new photographs. It is None for the data sets of the paper and of the demo.
    """
    if run.dataset.name in configs.CONFIGS:
        return None
    try:
        other = engines.load(starter.find_starter_model())
    except UserError as error:
        return f"not compared with the starter model: {error}"
    shared = match_labels(run.dataset.labels, other.labels)
    if not shared:
        return "not compared with the starter model, which has none of these labels"
    compared = compare_models(run, engines.load(run.model_directory), other, shared)
    return (
        compared.describe()
        if compared
        else "not compared with the starter model: no test image has its labels"
    )


def match_labels(labels: Sequence[str], others: Sequence[str]) -> dict[int, int]:
    """Returns which labels of two lists mean the same, as positions: equal but for case and number.

    `People` and `person` are one, `Cats` and `cat`. Equal names go first. A label matches at most one other.
    """
    names, other_names = (list(map(normalise_keyword, some)) for some in (labels, others))
    matches: dict[int, int] = {}
    for i, name in enumerate(names):
        equal = [j for j, other in enumerate(other_names) if other == name and j not in matches.values()]
        if equal:
            matches[i] = equal[0]
    for i, name in enumerate(names):
        free = [j for j in range(len(others)) if i not in matches and j not in matches.values()]
        near = [j for j in free if singulars(name) & singulars(other_names[j])]
        if near:
            matches[i] = near[0]
    return dict(sorted(matches.items()))


def compare_models(run: Run, own: Model, other: Model, shared: dict[int, int]) -> Comparison | None:
    """Returns the figures of two models on test images, or None where no image has a shared label.

    Args:
        run: of the data set.
        own: a model with the labels and tags of the data set.
        other: the starter model, or another one.
        shared: labels of `own` that mean labels of `other`; those on no test image are left out.
    """
    total = run.dataset.num_examples("test")
    rows = np.unique(np.linspace(0, total - 1, min(total, MOST_IMAGES)).round().astype(int))
    split = run.split("test")
    tags = [[run.dataset.tags[j] for j in np.flatnonzero(row)] for row in split.tags[rows]]
    present = split.labels[rows].any(axis=0)
    num_shared, shared = len(shared), {i: j for i, j in shared.items() if present[i]}
    if not shared:
        return None
    truth = split.labels[rows][:, list(shared)]
    chosen, figures = [], []
    for model, columns in (own, list(shared)), (other, list(shared.values())):
        known = tags if model is own or model.reads_context else [[] for _ in tags]
        names, probabilities = _annotate(run, model, rows, known)
        kept = np.array([[model.labels[j] in labels for j in columns] for labels in names], bool)
        chosen.append(kept)
        figures.append(
            {
                MEAN_AP: mean_average_precision(truth, probabilities[:, columns]),
                "H-F1": annotation_metrics(truth, kept)["H-F1"],
            }
        )
    return Comparison(
        images=len(rows),
        shared=tuple(run.dataset.labels[i] for i in shared),
        others=len(run.dataset.labels) - num_shared,
        own=figures[0],
        starter=figures[1],
        gain=metric_gain(truth, [chosen[1]], [chosen[0]]),
    )


def _annotate(
    run: Run, model: Model, rows: np.ndarray, tags: Sequence[Sequence[str]]
) -> tuple[list[tuple[str, ...]], np.ndarray]:
    """Returns the chosen labels and the probabilities, [n, C], of some test images."""
    images = Images(run.dataset, "test", model.image_size, cache_gib=0)
    annotations = []
    for batch in images.ordered(_BATCH, rows=rows):
        start = len(annotations)
        annotations += model.annotate(batch, tags[start : start + len(batch)])
    return [a.labels for a in annotations], np.array([a.probabilities for a in annotations])
