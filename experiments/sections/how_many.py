"""How many labels? Every estimator of the label quantity between top k and the upper bound."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from experiments.reporting import drawing
from experiments.reporting.drawing import Axis, Panel
from experiments.reporting.rendering import Picture
from experiments.reporting.report import LENGTHS, QUANTITY, Claim, Figure, Outcome, Row, Table
from experiments.sections import study
from experiments.sections.study import Measured, Section, Study
from msmm.data.input_pipeline import batches_of
from msmm.quantities.fitting import FittedCountingRules, fit_counting_rules
from msmm.quantities.held_out_predictions import HeldOutPredictions
from msmm.quantities.registry import BEST, load_counting_rule, load_counting_rules
from msmm.scoring.logits import sigmoid
from msmm.scoring.metrics import annotation_metrics, quantity_metrics
from msmm.scoring.predictions import Predictions, choose_labels
from msmm.training import frozen_features, model_parts, row_table, table_rows
from msmm.training.row_table import TABLE_ROWS
from msmm.training.run import Run

CLASSIFIERS = ("MS-CNN", "MS-CNN+Tags")
TITLES = {name: kind.title for name, kind in load_counting_rules().items()} | {
    BEST: "chosen on held-out images"
}
HIGHEST = "highest in cross-validation"  # what a choice without a preference would be
BOUND = "upper bound: true m"
SIMPLE = ("expected_count", "threshold", "class_thresholds")
COLUMNS = ("C-F1", "I-F1", "H-F1", *QUANTITY, LENGTHS[0])
CLAIMS = "Gains, as measured"
SIZES = tuple(5 * 2**i for i in range(11))  # held-out images
OF_FEW = ("regression", "threshold", "class_thresholds", "count_posterior", "guided_threshold")
DRAWS = 5  # of each size and seed
NOTES = (
    "All but regression, top k, rounded Σp and the upper bound are fitted on the held-out training images. "
    "These trained no weights, but they chose the epoch that each stage keeps. No test image is looked at.",
    "MSE is that of the counts as they are said, whole numbers; in Tables V and VI it is that of the "
    "regressor's raw values.",
)


@dataclasses.dataclass(frozen=True)
class Said:
    """What one run's classifier and its regressor say: of the test split, probabilities [N, C] and raw
    quantities [N]; of the held-out images, all that estimators are fitted on."""

    probabilities: np.ndarray
    raw: np.ndarray
    held_out: HeldOutPredictions

    @classmethod
    def by(cls, run: Run, classifier: str) -> "Said":
        variant = row_table.add_counter(TABLE_ROWS[classifier])
        raw = table_rows.predict_raw_quantity(run, variant)
        return cls(
            table_rows.predict_probabilities(run, variant, "test"),
            raw,
            table_rows.predict_held_out(run, variant),
        )


def section(measured: Study) -> Section:
    """Of each classifier: all estimators, their gains over the paper's, and what fewer held-out images do."""
    said = {name: [Said.by(run, name) for run in measured.runs] for name in CLASSIFIERS}
    fitted = {name: [fit_counting_rules(s.held_out) for s in seeds] for name, seeds in said.items()}
    found = [_of_classifier(measured, name, said[name], fitted[name]) for name in CLASSIFIERS]
    tables = [table for part in found for table in part.tables]
    # With groups heads read more than `untagged` gives them.
    if measured.run.dataset.tags and not measured.run.config.groups:
        tables.append(_without_their_tags(measured, said, fitted))
    return Section(
        tables=tables,
        outcomes=[outcome for part in found for outcome in part.outcomes],
        figures=[figure for part in found for figure in part.figures],
        notes=[*NOTES, *(note for part in found for note in part.notes)],
    )


def _of_classifier(
    measured: Study, classifier: str, said: Sequence[Said], fitted: Sequence[FittedCountingRules]
) -> Section:
    rows = _rows(measured, fitted, [(s.probabilities, s.raw) for s in said])
    if all(f.held_out_h_f1 for f in fitted):
        highest = [max(f.held_out_h_f1, key=f.held_out_h_f1.get) for f in fitted]
        rows[HIGHEST] = _row(
            measured.truth,
            [f.apply(s.probabilities, s.raw, n) for f, s, n in zip(fitted, said, highest, strict=True)],
        )
    rows[BOUND] = _true_counts(measured, [s.probabilities for s in said])
    over_paper = [
        _outcome(measured, f"gain over the paper's, {classifier}", rows, name, "regression")
        for name in TITLES
        if name != "regression"
    ]
    over_simple = [
        _outcome(measured, f"gain over a simpler one, {classifier}", rows, BEST, name) for name in SIMPLE
    ]
    few = _by_held_out_images(measured, classifier, said)
    names = [TITLES[f.best] for f in fitted]
    return Section(
        tables=[
            study.table(f"Measured: {classifier}, {measured.what}", rows, columns=COLUMNS, first="Quantity"),
            few,
        ],
        outcomes=over_paper + over_simple,
        # Top k is so far below that nothing else could be told apart.
        figures=[
            _gains_figure(classifier, [o for o in over_paper if o.claim.better != TITLES["top_k"]]),
            _few_figure(classifier, few),
        ],
        notes=[f"{classifier}: chosen on {fitted[0].images} held-out images, by seed: {'; '.join(names)}."],
    )


def _without_their_tags(measured: Study, said: Mapping, fitted: Mapping) -> Table:
    """Test images whose tags are taken away: what heads trained on tags say of them, and those on f_v."""
    with_tags = CLASSIFIERS[-1]
    of_images = {
        CLASSIFIERS[0]: [(s.probabilities, s.raw) for s in said[CLASSIFIERS[0]]],
        with_tags: [untagged(run) for run in measured.runs],
    }
    rows = {}
    for classifier, seeds in of_images.items():
        found = _rows(measured, fitted[classifier], seeds) | {
            BOUND: _true_counts(measured, [scores for scores, _ in seeds])
        }
        for title in (TITLES["regression"], TITLES[BEST], TITLES["top_k"], BOUND):
            rows[f"{classifier}, {title}"] = found[title]
    return study.table(
        "Measured: test images without their tags",
        rows,
        columns=COLUMNS,
        first="Classifier, quantity",
        notes=[f"{with_tags} was trained, and its quantities fitted, on images with tags. A saved model asks "
               f"{CLASSIFIERS[0]} about images without (decision 35)."],
    )  # fmt: skip


def untagged(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities [N, C] and raw quantities [N] of the heads on [f_v, f_t], no test image with tags."""
    no_tags = np.zeros((1, len(run.dataset.tags)), np.float32)
    f_t = np.asarray(model_parts.load_part(run, "textual").predict_on_batch(no_tags))
    f_v = frozen_features.visual_features(run, "test")
    classifier, quantity = (model_parts.load_part(run, part) for part in ("classifier", "quantity"))
    logits, raw = [], []
    for rows in batches_of(np.arange(len(f_v)), 256):
        joint = np.concatenate([f_v[rows], np.repeat(f_t, len(rows), axis=0)], axis=1)
        logits.append(np.asarray(classifier.predict_on_batch(joint)))
        raw.append(np.asarray(quantity.predict_on_batch(joint))[:, 0])
    return sigmoid(np.concatenate(logits)), np.concatenate(raw)


def _rows(
    measured: Study, fitted: Sequence[FittedCountingRules], said: Sequence[tuple]
) -> dict[str, Measured]:
    """Every estimator and the chosen one, by title; said: probabilities and raw quantities, a seed each."""
    return {
        title: _row(measured.truth, [f.apply(*s, name) for f, s in zip(fitted, said, strict=True)])
        for name, title in TITLES.items()
    }


def _true_counts(measured: Study, scores: Sequence[np.ndarray]) -> Measured:
    true = measured.truth.sum(axis=1).astype(np.int32)
    row = _row(measured.truth, [Predictions(s, true) for s in scores])
    return dataclasses.replace(row, upper_bound=True)


def _row(truth: np.ndarray, annotations: Sequence[Predictions]) -> Measured:
    row, counts = study.measured(truth, [choose_labels(a) for a in annotations]), truth.sum(axis=1)
    figures = [quantity_metrics(counts, a.counts) | f for a, f in zip(annotations, row.figures, strict=True)]
    return dataclasses.replace(row, figures=figures)


def _outcome(measured: Study, name: str, rows: dict, better: str, worse: str) -> Outcome:
    """The gain in H-F1 of one estimator over another."""
    return measured.judge([Claim(name, "eq. 7", TITLES[better], TITLES[worse])], None, rows)[0]


def _by_held_out_images(measured: Study, classifier: str, said: Sequence[Said]) -> Table:
    """H-F1 on the test split of estimators that were fitted on some of the held-out images."""
    images = len(said[0].held_out.raw)
    sizes = [size for size in SIZES if size < images] + [images]
    rows = []
    for name in OF_FEW:
        seeds = [{f"{size} images": _h_f1(measured.truth, s, name, size) for size in sizes} for s in said]
        rows.append(Row(TITLES[name], seeds))
    return Table(
        f"Measured: H-F1 by the number of held-out images, {classifier}",
        rows,
        [f"{size} images" for size in sizes],
        "Quantity",
        notes=[f"Mean of {DRAWS} random draws of that many; the last column is all of them, once."],
    )


def _h_f1(truth: np.ndarray, said: Said, name: str, size: int) -> float:
    images = len(said.held_out.raw)
    values = []
    for draw in range(DRAWS if size < images else 1):
        rows = np.sort(np.random.default_rng(draw).permutation(images)[:size])
        estimator = load_counting_rule(name).fit(said.held_out.take(rows))
        values.append(
            annotation_metrics(truth, choose_labels(estimator.apply(said.probabilities, said.raw)))["H-F1"]
        )
    return float(np.mean(values))


def _gains_figure(classifier: str, outcomes: Sequence[Outcome]) -> Figure:
    """A line an estimator: its gain over the paper's, the interval, a dot a seed."""
    ends = [v for o in outcomes for v in (*o.interval, *o.differences)]
    margin = 0.05 * (max(*ends, 0) - min(*ends, 0))
    axis = Axis(
        min(*ends, 0) - margin, max(*ends, 0) + margin, "gain in H-F1 over the paper's regression (points)"
    )
    step, left, width = 24, 260, 420
    panel = Panel(left, 12, width, step * len(outcomes), axis, Axis(0, len(outcomes), ""))
    names = []
    panel.line([(0, 0), (0, len(outcomes))], "ideal")
    for i, outcome in enumerate(outcomes):
        y, mean = len(outcomes) - i - 0.5, float(np.mean(outcome.differences))
        low, high = outcome.interval
        names.append(drawing.text(left - 8, panel.at(0, y)[1] + 4, outcome.claim.better, "", "end"))
        panel.line([(low, y), (high, y)], "line s0", f"95 % interval {low:+.2f} to {high:+.2f}")
        for value in outcome.differences:
            panel.dot(value, y, "s1", f"one seed: {value:+.2f}", radius=2)
        panel.dot(mean, y, "s0", f"{outcome.claim.better}: {mean:+.2f}", radius=4.5)
    alt = f"Gain in H-F1 of each estimator of the label quantity over the paper's regression, {classifier}"
    height = step * len(outcomes) + 60
    return Figure(
        f"Gains over the paper's regression, {classifier}",
        Picture(
            f"gains_{_slug(classifier)}",
            alt,
            drawing.svg(left + width + 20, height, alt, [panel.draw(False), *names]),
        ),
        [
            "Large dot: mean over seeds; line: 95 % interval of the paired bootstrap over test images; "
            "small dots: seeds."
        ],
    )


def _few_figure(classifier: str, few: Table) -> Figure:
    """H-F1 against the number of held-out images, a line an estimator."""
    sizes = [int(column.split()[0]) for column in few.columns]
    means = {row.name: [float(np.mean(row.values(c))) for c in few.columns] for row in few.rows}
    values = [v for line in means.values() for v in line]
    margin = 0.06 * (max(values) - min(values)) or 0.5
    panel = Panel(
        62, 16, 420, 260,
        Axis(sizes[0] / 1.1, sizes[-1] * 1.1, "held-out images", log=True),
        Axis(min(values) - margin, max(values) + margin, "H-F1 (%)"),
    )  # fmt: skip
    legend = []
    for i, (name, line) in enumerate(means.items()):
        points = list(zip(sizes, line, strict=True))
        panel.line(points, f"line s{i % drawing.SERIES}", name)
        for x, y in points:
            panel.dot(x, y, f"s{i % drawing.SERIES}", f"{name}, {x} held-out images: {y:.2f}", radius=2.5)
        y = 30 + 20 * i
        legend.append(f'<path d="M500 {y - 4}h18" class="line s{i % drawing.SERIES}"/>')
        legend.append(drawing.text(524, y, name))
    alt = f"H-F1 against the number of held-out images that estimators are fitted on, {classifier}"
    return Figure(
        f"How many held-out images, {classifier}",
        Picture(f"held_out_{_slug(classifier)}", alt, drawing.svg(790, 330, alt, [panel.draw(), *legend])),
        ["H-F1 on the test split, mean over seeds and draws; the regression needs none of them."],
    )


def _slug(classifier: str) -> str:
    return "with_tags" if "Tags" in classifier else "without_tags"
