"""Figures behind the tables: learning curves, label quantities, F1 of classes, calibration."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from matplotlib.patches import Rectangle

from experiments.reporting.plots import CELL, INK, LINES, SOFT, add_tooltip, render_svg, use_log_scale
from experiments.reporting.rendering import Picture
from experiments.reporting.report import Figure
from experiments.sections.study import Section, Study
from msmm.core.class_summary import MANY, shown_classes
from msmm.scoring.metrics import per_class_f1
from msmm.scoring.ranking_metrics import average_precision
from msmm.training.stage_table import PAPER_STAGES
from msmm.training.table_predictions import predict_probabilities
from msmm.training.table_rows import COMPLETE, TABLE_ROWS

BINS = 10  # of probability, equally wide
_COLUMNS = 3  # of learning curves
_PAIRS = 2**22  # of an image and a class, sorted into bins at a time


def diagnostics_section(study: Study) -> Section:
    """Returns all figures of this file."""
    classes = [f1_figure(study), average_precision_figure(study)]
    figures = [quantities_figure(study), *classes, reliability_figure(study)]
    return Section(figures=[*learning_curves(study), *figures])


def learning_curves(study: Study) -> list[Figure]:
    """Returns the losses and the held-out metrics by stage and epoch, a line per seed."""
    kept = "A dot marks the epoch that is kept. One colour per seed."
    metrics = {stage: "H-F1" for stage in PAPER_STAGES} | {
        "quantity": "Accuracy",
        "quantity_visual": "Accuracy",
    }
    return [
        Figure(
            "Learning curves: loss",
            _curves_picture(study, {stage: "loss" for stage in PAPER_STAGES}, "loss_curves"),
            [
                f"Solid: held-out images; dashed: training images, with dropout where it is used. {kept}",
                "Classification stages: eq. 4, summed over classes; quantity stages: eq. 5, labels².",
            ],
        ),
        Figure(
            "Learning curves: held-out H-F1, and accuracy of the quantity",
            _curves_picture(study, metrics, "held_out_curves"),
            [f"Percent of held-out training images, H-F1 at top {study.run.config.k}. {kept}"],
        ),
    ]


def _curves_picture(study: Study, metrics: dict[str, str], name: str) -> Picture:
    """Draws one panel per stage; metrics: stage -> the held-out metric that it shows."""
    rows = -(-len(metrics) // _COLUMNS)
    alt = f"{'Losses' if 'loss' in metrics.values() else 'Held-out metrics'} by epoch of {', '.join(metrics)}"

    def draw(drawing: Drawing) -> None:
        panels = drawing.subplots(rows, _COLUMNS, squeeze=False).ravel()
        for axes, (stage, metric) in zip(panels, metrics.items(), strict=False):
            draw_curves(axes, study, stage, metric)
        for axes in panels[len(metrics) :]:
            axes.remove()

    return Picture(name, alt, render_svg(draw, 900, 230 * rows, alt))


def draw_curves(axes: Axes, study: Study, stage: str, metric: str) -> None:
    """Draws a held-out metric of a stage by epoch and, for the loss, the training loss; a colour per seed."""
    for i, run in enumerate(study.runs):
        record, colour = run.stage_record(stage), LINES[i % len(LINES)]
        epochs = [epoch["epoch"] for epoch in record["history"]]
        held_out = [epoch["held-out"][metric] for epoch in record["history"]]
        if metric == "loss":
            losses = [epoch["train"]["loss"] for epoch in record["history"]]
            (line,) = axes.plot(epochs, losses, "--", color=colour, linewidth=1.1, alpha=0.75)
            add_tooltip(line, f"seed {run.seed}, training")
        (line,) = axes.plot(epochs, held_out, color=colour)
        add_tooltip(line, f"seed {run.seed}, held-out")
        best = record["best_epoch"]
        if best:  # 0: the stage kept its start
            value = held_out[best - 1]
            (dot,) = axes.plot([best], [value], "o", color=colour)
            add_tooltip(dot, f"seed {run.seed}: epoch {best} is kept, {metric} {value:.4g}")
    axes.set_title(stage)
    axes.set_xlabel("epoch")
    axes.set_ylabel(metric if metric == "loss" else f"{metric} (%)")
    axes.set_xlim(left=0)
    axes.xaxis.get_major_locator().set_params(integer=True)


def confusion_matrix(truth: np.ndarray, predicted: np.ndarray, size: int) -> np.ndarray:
    """Counts images by true quantity (row) and predicted quantity (column), int64 [size, size].

    truth, predicted: [N] integers below `size`.
    """
    return np.bincount(truth * size + predicted, minlength=size * size).reshape(size, size)


def quantities_figure(study: Study) -> Figure:
    """Draws true against predicted label quantities of the complete model, summed over seeds."""
    truth = study.truth.sum(axis=1)
    predicted = [chosen.sum(axis=1) for chosen in study.rows[COMPLETE].chosen]
    size = 1 + max(int(counts.max()) for counts in (truth, *predicted))
    counts = sum(confusion_matrix(truth, of_seed, size) for of_seed in predicted)
    used = np.flatnonzero(counts.sum(axis=0) + counts.sum(axis=1))
    counts = counts[np.ix_(used, used)]
    alt = f"True against predicted label quantities of {COMPLETE}"
    side = 44 * len(used) + 80
    picture = render_svg(lambda drawing: draw_confusion(drawing.subplots(), counts, used), side, side, alt)
    return Figure(
        "Label quantities, true and predicted",
        Picture("quantities", alt, picture),
        [
            f"{COMPLETE}: images of the test split, summed over seeds. The shade of a cell is its share of "
            f"the row. {100 * np.trace(counts) / counts.sum():.2f} % lie on the diagonal."
        ],
    )


def draw_confusion(axes: Axes, counts: np.ndarray, quantities: np.ndarray) -> None:
    """Draws a confusion matrix [K, K] of `quantities` [K], the first row at the top."""
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    for i, m in enumerate(quantities):
        for j, n in enumerate(quantities):
            corner = (j - 0.48, i - 0.48)
            cell = axes.add_patch(Rectangle(corner, 0.96, 0.96, facecolor=CELL, alpha=float(shares[i, j])))
            add_tooltip(cell, f"{m} true, {n} predicted: {counts[i, j]}")
            if counts[i, j]:
                axes.text(j, i, f"{counts[i, j]:,}", ha="center", va="center", fontsize=10)
    axes.set_xticks(range(len(quantities)), quantities)
    axes.set_yticks(range(len(quantities)), quantities)
    axes.set(xlim=(-0.5, len(quantities) - 0.5), ylim=(len(quantities) - 0.5, -0.5), aspect="equal")
    axes.set_xlabel("predicted quantity")
    axes.set_ylabel("true quantity")
    axes.xaxis.set_label_position("top")
    axes.xaxis.tick_top()
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def f1_figure(study: Study) -> Figure:
    """Draws F1 of each class in the test split against the number of training images with the class."""
    f1 = [per_class_f1(study.truth, chosen) for chosen in study.rows[COMPLETE].chosen]
    return _classes_figure(study, "F1", np.stack(f1), "classes")


def average_precision_figure(study: Study) -> Figure:
    """Draws the average precision of each class with a test image, as `f1_figure` draws F1."""
    probabilities = [predict_probabilities(run, TABLE_ROWS[COMPLETE], "test") for run in study.runs]
    precision = [average_precision(study.truth, seed) for seed in probabilities]
    return _classes_figure(study, "average precision", np.stack(precision), "average_precision")


def _classes_figure(study: Study, metric: str, values: np.ndarray, file_name: str) -> Figure:
    """Draws a metric of the complete model, percent [S, C] by seed and class; nan in classes left out."""
    known = ~np.isnan(values).any(axis=0)
    frequency, values = study.run.split("train").labels.sum(axis=0)[known], values[:, known]
    names = [name for name, shown in zip(study.run.dataset.labels, known, strict=True) if shown]
    alt = f"{metric[0].upper()}{metric[1:]} of each class against its frequency in training, {COMPLETE}"
    picture = render_svg(
        lambda d: draw_classes(d.subplots(), frequency, values, names, metric), 890, 430, alt
    )
    mean, logs = values.mean(axis=0), np.log(np.maximum(1, frequency))
    correlation = np.corrcoef(logs, mean)[0, 1] if len(mean) > 2 and mean.std() and logs.std() else 0.0
    return Figure(
        f"Classes: {metric} against frequency",
        Picture(file_name, alt, picture),
        [
            f"{COMPLETE}: a dot per class, the mean over seeds, with one standard deviation up and down. "
            "Names are written where they fit; tooltips have all of them"
            + (", of many classes of the best and the worst." if len(mean) > MANY else "."),
            f"Correlation of {metric} with the logarithm of the frequency: {correlation:.2f}. Classes with a "
            f"value of 0 in every seed: {int((mean == 0).sum())}.",
        ],
    )


def draw_classes(
    axes: Axes, frequency: np.ndarray, values: np.ndarray, names: Sequence[str], metric: str = "F1"
) -> None:
    """Draws a metric [S, C], percent, against the numbers of training images [C]."""
    x, mean = np.maximum(1, frequency), values.mean(axis=0)
    axes.set(xlim=(x.min() / 1.15, x.max() * 1.35), ylim=(-4, 104))
    use_log_scale(axes, "x")
    if len(values) > 1:
        spread = values.std(axis=0, ddof=1)
        axes.vlines(x, np.maximum(mean - spread, -4), np.minimum(mean + spread, 104), LINES[0], alpha=0.3)
    shown = shown_classes(mean)
    others = np.setdiff1d(np.arange(len(mean)), shown)
    if len(others):
        axes.plot(x[others], mean[others], "o", color=LINES[0], markersize=2, alpha=0.4)
    for i in shown:
        (dot,) = axes.plot([x[i]], [mean[i]], "o", color=LINES[0])
        add_tooltip(dot, f"{names[i]}: {frequency[i]} training images, {metric} {mean[i]:.2f} %")
    axes.set_xlabel("training images with the class")
    axes.set_ylabel(f"{metric} on the test split (%)")
    axes.figure.draw_without_rendering()  # fixes the layout, which the places of the names depend on
    _add_names(axes, x[shown], mean[shown], [names[i] for i in shown])


def _add_names(axes: Axes, x: np.ndarray, y: np.ndarray, names: Sequence[str]) -> None:
    """Writes names beside their dots where they cover none of these dots and no other name."""
    dots = axes.transData.transform(np.column_stack([x, y]))
    taken = [(px - 4, py - 4, px + 4, py + 4) for px, py in dots]
    area = axes.bbox
    for (px, py), name in zip(dots, names, strict=True):
        width = 6.3 * len(name) + 3
        for left, bottom in ((px + 7, py - 4), (px - 7 - width, py - 4), (px - width / 2, py + 8)):
            box = (left, bottom, left + width, bottom + 11)
            inside = area.x0 <= box[0] and area.y0 <= box[1] and box[2] <= area.x1 and box[3] <= area.y1
            if inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                axes.annotate(name, (left, bottom + 2), xycoords="figure pixels", color=SOFT, fontsize=10)
                break


def _overlap(a: tuple, b: tuple) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


@dataclasses.dataclass(frozen=True)
class Bin:
    """Pairs of image and class with a probability between two bounds.

    count: number of pairs. mean: of their probabilities. share: of the pairs that are true. Both are 0 in an
    empty bin.
    """

    count: int
    mean: float
    share: float


def reliability_bins(truth: np.ndarray, probabilities: np.ndarray, bins: int = BINS) -> list[Bin]:
    """Sorts pairs into equally wide bins of probability; the last one includes 1.

    truth: bool, probabilities: float in 0 … 1, both [N, C].
    """
    sums = np.zeros((3, bins))  # pairs, their probabilities, true pairs
    size = max(1, _PAIRS // probabilities.shape[1])
    for start in range(0, len(probabilities), size):
        p = np.asarray(probabilities[start : start + size], np.float64).ravel()
        true = truth[start : start + size].ravel().astype(np.float64)
        index = np.minimum((p * bins).astype(np.int64), bins - 1)
        sums += [np.bincount(index, weights, bins) for weights in (None, p, true)]
    count, divisor = sums[0], np.maximum(1, sums[0])
    means, shares = sums[1] / divisor, sums[2] / divisor
    return [Bin(int(n), float(m), float(s)) for n, m, s in zip(count, means, shares, strict=True)]


def calibration_error(bins: Sequence[Bin]) -> float:
    """Returns the expected calibration error: |share - mean|, averaged over pairs, 0 … 1."""
    return sum(b.count * abs(b.share - b.mean) for b in bins) / sum(b.count for b in bins)


def reliability_figure(study: Study) -> Figure:
    """Draws the reliability diagram of the complete model's probabilities, a line per seed."""
    bins = {
        run.seed: reliability_bins(study.truth, predict_probabilities(run, TABLE_ROWS[COMPLETE], "test"))
        for run in study.runs
    }
    alt = f"Reliability diagram of {COMPLETE}: share of true labels by probability"
    picture = render_svg(lambda drawing: draw_reliability(drawing, bins), 500, 490, alt)
    errors = [100 * calibration_error(seed) for seed in bins.values()]
    spread = f" ± {np.std(errors, ddof=1):.2f}" if len(errors) > 1 else ""
    return Figure(
        "Reliability of the probabilities",
        Picture("reliability", alt, picture),
        [
            f"{COMPLETE} on all pairs of a test image and a class, in {BINS} bins; dotted: a calibrated "
            "model. Below: the number of pairs per bin, on a logarithmic scale.",
            f"Expected calibration error {np.mean(errors):.2f}{spread} %. Most pairs are near 0, so it is "
            "small even where the diagram leaves its diagonal.",
        ],
    )


def draw_reliability(drawing: Drawing, bins: dict[int, list[Bin]]) -> None:
    """Draws the diagram of bins by seed, and the number of pairs per bin below it."""
    upper, lower = drawing.subplots(2, 1, sharex=True, height_ratios=(4.5, 1))
    upper.plot([0, 1], [0, 1], ":", color=SOFT)
    for i, (seed, of_seed) in enumerate(bins.items()):
        filled, colour = [b for b in of_seed if b.count], LINES[i % len(LINES)]
        upper.plot([b.mean for b in filled], [b.share for b in filled], color=colour)
        for b in filled:
            (dot,) = upper.plot([b.mean], [b.share], "o", color=colour)
            add_tooltip(
                dot, f"seed {seed}: {b.count} pairs, mean probability {b.mean:.4f}, {b.share:.4f} true"
            )
    sizes = [round(np.mean([of_seed[i].count for of_seed in bins.values()])) for i in range(BINS)]
    for i, size in enumerate(sizes):
        if size:
            (bar,) = lower.bar([(i + 0.5) / BINS], [size], 0.96 / BINS, color=CELL)
            add_tooltip(bar, f"{size} pairs per seed")
    upper.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="share that is true")
    lower.set(ylim=(0.5, 2 * max(sizes)), xlabel="probability", ylabel="pairs")
    use_log_scale(lower, "y")
    lower.yaxis.label.set_color(INK)
