"""What lies behind the tables, as figures: learning curves, label quantities, classes, calibration."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from experiments.reporting import drawing
from experiments.reporting.drawing import Axis, Panel
from experiments.reporting.rendering import Picture
from experiments.reporting.report import Figure
from experiments.sections.study import Section, Study
from msmm.scoring.metrics import per_class_f1
from msmm.training.row_table import COMPLETE, TABLE_ROWS
from msmm.training.stage_table import PAPER_STAGES
from msmm.training.table_rows import predict_probabilities

BINS = 10  # of probability, equally wide


def section(study: Study) -> Section:
    """All of them."""
    return Section(figures=[*learning_curves(study), quantities(study), classes(study), calibration(study)])


def learning_curves(study: Study) -> list[Figure]:
    """The losses, and the held-out figure that people read, by stage and epoch; a line a seed."""
    kept = "A dot marks the epoch that is kept. One colour a seed."
    shown = {stage: "H-F1" for stage in PAPER_STAGES} | {
        "quantity": "Accuracy",
        "quantity_visual": "Accuracy",
    }
    return [
        Figure(
            "Learning curves: loss",
            _curves(study, {stage: "loss" for stage in PAPER_STAGES}, "loss_curves", training=True),
            [
                f"Solid: held-out images; dashed: training images, with dropout where there is any. {kept}",
                "Classification stages: eq. 4, summed over classes; quantity stages: eq. 5, labels².",
            ],
        ),
        Figure(
            "Learning curves: held-out H-F1, and accuracy of the quantity",
            _curves(study, shown, "held_out_curves", training=False),
            [f"Percent of held-out training images, H-F1 at top {study.run.config.k}. {kept}"],
        ),
    ]


def _curves(study: Study, wanted: dict[str, str], name: str, training: bool) -> Picture:
    width, height, columns = 235, 150, 3
    panels = []
    for number, (stage, figure) in enumerate(wanted.items()):
        records = [run.stage_record(stage) for run in study.runs]
        held_out = [[(e["epoch"], e["held-out"][figure]) for e in r["history"]] for r in records]
        trained = [[(e["epoch"], e["train"]["loss"]) for e in r["history"]] for r in records]
        values = [y for line in held_out + training * trained for _, y in line]
        last = max(epoch for line in held_out for epoch, _ in line)
        low, high = _padded(min(values), max(values))
        panel = Panel(
            left=62 + (width + 75) * (number % columns),
            top=30 + (height + 78) * (number // columns),
            width=width,
            height=height,
            x=Axis(0, max(last, 3), "epoch", whole=True),
            y=Axis(low, high, figure if figure == "loss" else f"{figure} (%)"),
            title=stage,
        )
        for i, (run, record, line, other) in enumerate(
            zip(study.runs, records, held_out, trained, strict=True)
        ):
            colour = f"s{i % drawing.SERIES}"
            if training:
                panel.line(other, f"thin {colour}", f"seed {run.seed}, training")
            panel.line(line, f"line {colour}", f"seed {run.seed}, held-out")
            best = record["best_epoch"]
            if best:  # 0: the stage kept its start
                value = line[best - 1][1]
                panel.dot(best, value, colour, f"seed {run.seed}: epoch {best} is kept, {figure} {value:.4g}")
        panels.append(panel.draw())
    rows = -(-len(wanted) // columns)
    alt = f"{'Losses' if training else 'Held-out figures'} by epoch of the stages {', '.join(wanted)}"
    return Picture(
        name, alt, drawing.svg((width + 75) * columns + 10, (height + 78) * rows + 16, alt, panels)
    )


def _padded(low: float, high: float) -> tuple[float, float]:
    margin = 0.06 * (high - low) or 0.5
    return low - margin, high + margin


def confusion(truth: np.ndarray, said: np.ndarray, size: int) -> np.ndarray:
    """How often images with m labels (row) are given m̂ (column), int64 [size, size], for 0 … size - 1.

    truth, said: [N] integers below `size`.
    """
    return np.bincount(truth * size + said, minlength=size * size).reshape(size, size)


def quantities(study: Study) -> Figure:
    """True against predicted label quantities of the complete model, summed over seeds."""
    truth, size = study.truth.sum(axis=1), study.truth.shape[1] + 1
    counts = sum(confusion(truth, chosen.sum(axis=1), size) for chosen in study.rows[COMPLETE].chosen)
    used = np.flatnonzero(counts.sum(axis=0) + counts.sum(axis=1))
    counts = counts[np.ix_(used, used)]
    share = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    cells = [
        [(f"{n:,}" if n else "", s) for n, s in zip(*row, strict=True)]
        for row in zip(counts, share, strict=True)
    ]
    titles = [
        [f"{m} true, {n} predicted: {counts[i, j]}" for j, n in enumerate(used)] for i, m in enumerate(used)
    ]
    names = [str(n) for n in used]
    width, height, parts = drawing.grid(names, names, cells, titles, "predicted quantity", "true quantity")
    alt = f"True against predicted label quantities of {COMPLETE}"
    right = np.trace(counts) / counts.sum()
    return Figure(
        "Label quantities, true and predicted",
        Picture("quantities", alt, drawing.svg(width, height, alt, parts)),
        [
            f"{COMPLETE}: images of the test split, summed over seeds; a row's shade is its share. "
            f"{100 * right:.2f} % lie on the diagonal."
        ],
    )


def classes(study: Study) -> Figure:
    """F1 of each class in the test split against how many training images have it."""
    frequency = study.run.split("train").labels.sum(axis=0)
    f1 = np.stack([per_class_f1(study.truth, chosen) for chosen in study.rows[COMPLETE].chosen])
    mean, spread = f1.mean(axis=0), f1.std(axis=0, ddof=1) if len(f1) > 1 else np.zeros(f1.shape[1])
    at_least_one = np.maximum(1, frequency)
    panel = Panel(
        left=62,
        top=16,
        width=800,
        height=360,
        x=Axis(
            at_least_one.min() / 1.15, at_least_one.max() * 1.35, "training images with the class", log=True
        ),
        y=Axis(-4, 104, "F1 on the test split (%)"),
    )
    for i, name in enumerate(study.run.dataset.labels):
        if len(f1) > 1:
            ends = [(at_least_one[i], y) for y in (mean[i] - spread[i], mean[i] + spread[i])]
            panel.line([(x, min(max(y, -4), 104)) for x, y in ends], "spread")
        panel.dot(
            at_least_one[i], mean[i], "s0", f"{name}: {frequency[i]} training images, F1 {mean[i]:.2f} %"
        )
    panel.marks += _labels(panel, at_least_one, mean, study.run.dataset.labels)
    alt = f"F1 of each class against its frequency in training, {COMPLETE}"
    rho = np.corrcoef(np.log(at_least_one), mean)[0, 1] if len(mean) > 2 and mean.std() else 0.0
    never = int((f1.mean(axis=0) == 0).sum())
    return Figure(
        "Classes: F1 against frequency",
        Picture("classes", alt, drawing.svg(890, 430, alt, [panel.draw()])),
        [
            f"{COMPLETE}; a dot a class, the mean over seeds with one standard deviation up and down; names "
            "where there is room, all in the tooltips.",
            f"Correlation of F1 with the logarithm of the frequency: {rho:.2f}. Classes with an F1 of 0 in "
            f"every seed: {never}.",
        ],
    )


def _labels(panel: Panel, x: np.ndarray, y: np.ndarray, names: Sequence[str]) -> list[str]:
    """Names beside their dots where they hit neither another dot nor another name."""
    places = [panel.at(a, b) for a, b in zip(x, y, strict=True)]
    taken = [(px - 4, py - 4, px + 4, py + 4) for px, py in places]
    found = []
    for (px, py), name in zip(places, names, strict=True):
        wide = 6.3 * len(name) + 3
        for left, below in (
            (px + 7, py + 4),
            (px - 7 - wide, py + 4),
            (px - wide / 2, py - 8),
            (px - wide / 2, py + 17),
        ):
            box = (left, below - 10, left + wide, below + 2)
            inside = _within(box, panel)
            if inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                found.append(drawing.text(left, below, name, "soft"))
                break
    return found


def _within(box: tuple, panel: Panel) -> bool:
    right, bottom = panel.left + panel.width, panel.top + panel.height
    return panel.left <= box[0] and panel.top <= box[1] and box[2] <= right and box[3] <= bottom


def _overlap(a: tuple, b: tuple) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


@dataclasses.dataclass(frozen=True)
class Bin:
    """Pairs of image and class whose probability lies between two bounds.

    count: how many; mean: of their probabilities; share: of them that are true; both 0 where there are none.
    """

    count: int
    mean: float
    share: float


def reliability(truth: np.ndarray, probabilities: np.ndarray, bins: int = BINS) -> list[Bin]:
    """Pairs in equally wide bins of probability; the last holds 1, too.

    truth: bool, probabilities: float in 0 … 1, both [N, C].
    """
    p = np.asarray(probabilities, np.float64).ravel()
    which = np.minimum((p * bins).astype(np.int64), bins - 1)
    count = np.bincount(which, minlength=bins)
    some = np.maximum(1, count)
    means = np.bincount(which, p, bins) / some
    shares = np.bincount(which, truth.ravel().astype(np.float64), bins) / some
    return [Bin(int(n), float(m), float(s)) for n, m, s in zip(count, means, shares, strict=True)]


def calibration_error(bins: Sequence[Bin]) -> float:
    """The expected calibration error: |share - mean|, averaged over pairs, 0 … 1."""
    return sum(b.count * abs(b.share - b.mean) for b in bins) / sum(b.count for b in bins)


def calibration(study: Study) -> Figure:
    """The reliability diagram of the complete model's probabilities, a line a seed."""
    found = [
        reliability(study.truth, predict_probabilities(run, TABLE_ROWS[COMPLETE], "test"))
        for run in study.runs
    ]
    upper = Panel(62, 16, 420, 330, Axis(0, 1, ""), Axis(0, 1, "share that is true"))
    upper.line([(0, 0), (1, 1)], "ideal")
    for i, (run, bins) in enumerate(zip(study.runs, found, strict=True)):
        colour = f"s{i % drawing.SERIES}"
        upper.line([(b.mean, b.share) for b in bins if b.count], f"line {colour}")
        for b in bins:
            if b.count:
                said = f"seed {run.seed}: {b.count} pairs, mean probability {b.mean:.4f}, {b.share:.4f} true"
                upper.dot(b.mean, b.share, colour, said)
    sizes = [round(np.mean([bins[i].count for bins in found])) for i in range(BINS)]
    lower = Panel(62, 372, 420, 70, Axis(0, 1, "probability"), Axis(0.5, 2 * max(sizes), "pairs", log=True))
    for i, size in enumerate(sizes):
        if size:
            lower.bar(i / BINS, (i + 1) / BINS, size, "cell", f"{size} pairs a seed")
    alt = f"Reliability diagram of {COMPLETE}: how often labels of a probability are true"
    errors = [100 * calibration_error(bins) for bins in found]
    spread = f" ± {np.std(errors, ddof=1):.2f}" if len(errors) > 1 else ""
    return Figure(
        "Reliability of the probabilities",
        Picture("reliability", alt, drawing.svg(500, 490, alt, [upper.draw(), lower.draw()])),
        [
            f"{COMPLETE} on all pairs of a test image and a class, in {BINS} bins; dotted: a calibrated "
            "model. Below: how many pairs a bin has, in powers of ten.",
            f"Expected calibration error {np.mean(errors):.2f}{spread} %. Most pairs are near 0, so it is "
            "small even where the diagram is not on its diagonal.",
        ],
    )
