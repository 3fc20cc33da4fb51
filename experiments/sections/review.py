"""How much a reviewer's corrections improve the next model: a simulated review on cached features.

Some training images are labelled from the start, the others are not, as the photographs of a library that
nobody has tagged. A model is fitted on the labelled ones. A reviewer, who knows the true labels, looks at
some of the others, and the model is fitted again with these as well. The reviewer takes the images that the
first model is least sure of (`scoring.uncertainty`), or a random choice of them. A model is C logistic
regressions on frozen features (`baselines.logistic_solver`): no image is decoded again, and a fit takes
seconds.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from experiments.reporting.plots import LINES, SOFT, render_svg
from experiments.reporting.rendering import Picture
from experiments.reporting.report import Figure
from experiments.reporting.table import Row, Table
from msmm.baselines.logistic_solver import LogisticProblem, cross_entropy
from msmm.core.errors import UserError
from msmm.core.progress import ProgressBar
from msmm.models.heads import log_odds
from msmm.scoring.logits import sigmoid
from msmm.scoring.metrics import annotation_metrics
from msmm.scoring.predictions import Predictions, choose_labels, round_counts
from msmm.scoring.ranking_metrics import MEAN_AP, mean_average_precision
from msmm.scoring.uncertainty import order_by_uncertainty
from msmm.training import frozen_features, model_parts, task_building
from msmm.training.run import Run

PENALTIES = (3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003)  # λ, from the largest down
ITERATIONS = 200
COLUMNS = (MEAN_AP, "H-F1")
ORDERS = ("least sure first", "random")


@dataclasses.dataclass(frozen=True)
class ReviewData:
    """Features and labels of a data set.

    Attributes:
      features, labels: of the training split, float32 [N, D] and bool [N, C].
      pool: rows that may be labelled, [n] int64.
      held_out: rows that choose the penalty, [h] int64.
      test_features, test_labels: of the test split, [M, D] and [M, C].
      source: where the features come from, in words.
    """

    features: np.ndarray
    labels: np.ndarray
    pool: np.ndarray
    held_out: np.ndarray
    test_features: np.ndarray
    test_labels: np.ndarray
    source: str


def read_review_data(run: Run) -> ReviewData:
    """Reads the features of a run's backbone; they are computed if they are not cached.

    A pretrained backbone is used as it is. Without pretrained weights, it is the backbone of stage finetune.

    Raises:
      UserError: the backbone is not pretrained, and stage finetune has not finished.
    """
    if model_parts.is_pretrained(run.config):
        source = "the pretrained backbone"
        backbone = task_building.build_fresh_parts(run, "finetune", "backbone")[0]

        def read(split):
            return frozen_features.pretrained_features(run, backbone, split)
    else:
        source = "stage finetune, which has seen the labels of all training images"
        run = run.with_recorded_settings(["finetune"])

        def read(split):
            return frozen_features.cnn_features(run, split)

    train, test = run.split("train"), run.split("test")
    return ReviewData(
        np.asarray(read("train")),
        train.labels,
        run.train_rows,
        run.held_out_rows,
        np.asarray(read("test")),
        test.labels,
        source,
    )


def simulate_review(
    data: ReviewData, num_labelled: int, corrections: Sequence[int], num_draws: int
) -> dict[str, list[dict[str, float]]]:
    """Returns the figures of each model by its name, one entry per draw of the labelled images.

    Args:
      data: features and labels.
      num_labelled: images that are labelled from the start.
      corrections: numbers of images that the reviewer labels.
      num_draws: draws of the labelled images and of the random order.

    Raises:
      UserError: the data set has too few images.
    """
    needed = num_labelled + max(corrections)
    if needed > len(data.pool):
        raise UserError(
            f"expected at least {needed:,} training images ({num_labelled:,} labelled and "
            f"{max(corrections):,} corrected). Received: {len(data.pool):,}; choose smaller numbers"
        )
    figures: dict[str, list[dict[str, float]]] = {}
    with ProgressBar(
        description="reviewing", total=num_draws * (1 + 2 * len(corrections)), unit="models"
    ) as bar:

        def measure(name: str, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            head = fit_head(data, rows)
            figures.setdefault(name, []).append(measure_head(data, head))
            bar.update()
            return head

        for draw in range(num_draws):
            shuffled = np.random.default_rng(draw).permutation(data.pool)
            labelled, rest = shuffled[:num_labelled], shuffled[num_labelled:]
            first = measure(name_model(None, 0), labelled)
            unsure = rest[order_by_uncertainty(predict(data.features[rest], first))]
            for order, ranked in zip(ORDERS, (unsure, rest), strict=True):
                for count in corrections:
                    measure(name_model(order, count), np.concatenate([labelled, ranked[:count]]))
    return figures


def name_model(order: str | None, count: int) -> str:
    """Returns the name of the model after some corrections in an order."""
    return f"{count} corrections, {order}" if order else "no corrections"


def fit_head(data: ReviewData, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fits logistic regressions on some rows, and returns weights [D, C] and bias [C].

    Of `PENALTIES` the one with the lowest held-out loss is kept.
    """
    problem = LogisticProblem(data.features, data.labels, rows)
    weights, bias = np.zeros((data.features.shape[1], data.labels.shape[1])), log_odds(data.labels[rows])
    truth, best, kept = data.labels[data.held_out], np.inf, (weights, bias)
    for penalty in PENALTIES:
        weights, bias, _ = problem.solve(weights, bias, penalty, ITERATIONS)
        logits = data.features[data.held_out] @ weights + bias
        loss = float(cross_entropy(logits, truth) / len(truth))
        if loss >= best:
            break
        best, kept = loss, (weights, bias)
    return kept


def predict(features: np.ndarray, head: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Returns the probabilities [N, C] of features [N, D]."""
    weights, bias = head
    return sigmoid((features @ weights + bias).astype(np.float32))


def measure_head(data: ReviewData, head: tuple[np.ndarray, np.ndarray]) -> dict[str, float]:
    """Returns mAP and H-F1 on the test images; each keeps as many labels as its probabilities add up to."""
    probabilities = predict(data.test_features, head)
    counts = round_counts(probabilities.sum(axis=1), probabilities.shape[1])
    chosen = choose_labels(Predictions(probabilities, counts))
    return {
        MEAN_AP: mean_average_precision(data.test_labels, probabilities),
        "H-F1": annotation_metrics(data.test_labels, chosen)["H-F1"],
    }


def curve_tables(
    figures: Mapping[str, list[dict[str, float]]], corrections: Sequence[int], description: str
) -> list[Table]:
    """Returns the table of all models, and the table of gains, paired by draw."""
    models = [Row(name, values) for name, values in figures.items()]
    gains = [
        Row(f"{name} over {other}", _subtract(figures[name], figures[other]))
        for count in corrections
        for name, other in (
            *((name_model(order, count), name_model(None, 0)) for order in ORDERS),
            (name_model(ORDERS[0], count), name_model(ORDERS[1], count)),
        )
    ]
    note = (
        "mAP and H-F1 (%) on the test images, mean and deviation over draws of the labelled images. Every "
        "image keeps as many labels as its probabilities add up to, rounded."
    )
    return [
        Table(f"Measured: models after corrections, {description}", models, COLUMNS, "Model", notes=[note]),
        Table(f"Measured: gains, paired by draw, {description}", gains, COLUMNS, "Gain"),
    ]


def _subtract(ours: Sequence[Mapping[str, float]], theirs: Sequence[Mapping[str, float]]) -> list[dict]:
    return [{key: a[key] - b[key] for key in COLUMNS} for a, b in zip(ours, theirs, strict=True)]


def curve_figure(figures: Mapping[str, list[dict[str, float]]], corrections: Sequence[int]) -> Figure:
    """Returns the curves of mAP and H-F1 against the number of corrections."""
    alt = "mAP and H-F1 on the test images against the number of corrections, least sure first and random"

    def draw(drawing) -> None:
        for column, axes in zip(COLUMNS, drawing.subplots(1, len(COLUMNS)), strict=True):
            _draw_curves(axes, figures, corrections, column)

    picture = render_svg(draw, 790, 330, alt)
    note = (
        "Lines: means over draws; bars: standard deviation over draws, of which most is common to both lines."
    )
    return Figure("Corrections and the next model", Picture("review_curve", alt, picture), [note])


def _draw_curves(axes: Axes, figures: Mapping, corrections: Sequence[int], column: str) -> None:
    for order, colour, shift in zip(ORDERS, LINES, (-1, 1), strict=False):
        names = [name_model(None, 0), *(name_model(order, count) for count in corrections)]
        values = [[each[column] for each in figures[name]] for name in names]
        at = np.array([0, *corrections]) + shift * 0.004 * max(corrections)
        means, spread = np.mean(values, axis=1), np.std(values, axis=1)
        axes.errorbar(at, means, spread, color=colour, ecolor=SOFT, elinewidth=1, marker="o", label=order)
    axes.set_xlabel("corrected photographs")
    axes.set_ylabel(f"{column}, %")
    axes.legend()
