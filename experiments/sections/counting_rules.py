"""Compares all rules for how many labels to keep, from top k to the true number."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from experiments.reporting.claims import Claim, Outcome
from experiments.reporting.plots import INK, LINES, SOFT, add_tooltip, render_svg, use_log_scale
from experiments.reporting.rendering import Picture
from experiments.reporting.report import Figure
from experiments.reporting.table import LENGTHS, QUANTITY, Row, Table
from experiments.sections.study import MeasuredRow, Section, Study, make_table, measure_row
from msmm.data.input_pipeline import batches_of
from msmm.quantities.counting_rules import apply_rule
from msmm.quantities.fitting import FittedCountingRules, fit_counting_rules
from msmm.quantities.held_out_predictions import HeldOutPredictions
from msmm.quantities.registry import BEST, load_counting_rule, load_counting_rules
from msmm.scoring.logits import sigmoid
from msmm.scoring.metrics import annotation_metrics, quantity_metrics
from msmm.scoring.predictions import Predictions, choose_labels
from msmm.training import frozen_features, model_parts, table_predictions, table_rows
from msmm.training.run import Run
from msmm.training.table_rows import TABLE_ROWS

CLASSIFIERS = ("MS-CNN", "MS-CNN+Tags")
TITLES = {name: kind.title for name, kind in load_counting_rules().items()} | {
    BEST: "chosen on held-out images"
}
HIGHEST = "highest in cross-validation"  # the choice without a preference
BOUND = "upper bound: true m"
SIMPLE = ("expected_count", "threshold", "class_thresholds")
COLUMNS = ("C-F1", "I-F1", "H-F1", *QUANTITY, LENGTHS[0])
CLAIMS_HEADING = "Gains, as measured"
SIZES = tuple(5 * 2**i for i in range(11))  # held-out images
RULES_BY_SIZE = ("regression", "threshold", "class_thresholds", "count_posterior", "guided_threshold")
DRAWS = 5  # of each size and seed
NOTES = (
    "All but regression, top k, rounded Σp and the upper bound are fitted on the held-out training images. "
    "These trained no weights, but they chose the epoch that each stage keeps. No test image is used.",
    "MSE is measured on the counts as they are used, whole numbers; in Tables V and VI on the "
    "regressor's raw values.",
)


@dataclasses.dataclass(frozen=True)
class ClassifierOutputs:
    """The outputs of one run's classifier and of the regressor on the same features.

    Attributes:
        probabilities: of the test split, float [N, C].
        raw: quantities of the test split before rounding, float [N].
        held_out: both and the truth of the held-out images, on which counting rules are fitted.
    """

    probabilities: np.ndarray
    raw: np.ndarray
    held_out: HeldOutPredictions

    @classmethod
    def compute(cls, run: Run, classifier: str) -> "ClassifierOutputs":
        """Computes the outputs of a trained run; classifier: one of `CLASSIFIERS`."""
        variant = table_rows.add_counter(TABLE_ROWS[classifier])
        raw = table_predictions.predict_raw_quantity(run, variant)
        return cls(
            table_predictions.predict_probabilities(run, variant, "test"),
            raw,
            table_predictions.predict_held_out(run, variant),
        )


def counting_rules_section(study: Study) -> Section:
    """Measures all rules for each classifier, their gains, and the effect of fewer held-out images."""
    names = [name for name in CLASSIFIERS if name in study.rows]
    outputs = {name: [ClassifierOutputs.compute(run, name) for run in study.runs] for name in names}
    fitted = {name: [fit_counting_rules(seed.held_out) for seed in seeds] for name, seeds in outputs.items()}
    parts = [_classifier_section(study, name, outputs[name], fitted[name]) for name in names]
    tables = [table for part in parts for table in part.tables]
    # With groups, heads read more features than `predict_without_tags` gives them.
    if study.run.dataset.tags and not study.run.config.groups and len(names) == len(CLASSIFIERS):
        tables.append(_table_without_tags(study, outputs, fitted))
    return Section(
        tables=tables,
        outcomes=[outcome for part in parts for outcome in part.outcomes],
        figures=[figure for part in parts for figure in part.figures],
        notes=[*NOTES, *(note for part in parts for note in part.notes)],
    )


def _classifier_section(
    study: Study, classifier: str, outputs: Sequence[ClassifierOutputs], fitted: Sequence[FittedCountingRules]
) -> Section:
    rows = _measure_rules(study, fitted, [(seed.probabilities, seed.raw) for seed in outputs])
    if all(f.held_out_h_f1 for f in fitted):
        highest = [max(f.held_out_h_f1, key=f.held_out_h_f1.get) for f in fitted]
        predictions = [
            f.apply(o.probabilities, o.raw, name) for f, o, name in zip(fitted, outputs, highest, strict=True)
        ]
        rows[HIGHEST] = _measure(study.truth, predictions)
    rows[BOUND] = _measure_true_counts(study, [seed.probabilities for seed in outputs])
    over_paper = [
        _measure_gain(study, f"gain over the paper's, {classifier}", rows, name, "regression")
        for name in TITLES
        if name != "regression"
    ]
    over_simple = [
        _measure_gain(study, f"gain over a simpler rule, {classifier}", rows, BEST, name) for name in SIMPLE
    ]
    by_size = _table_by_size(study, classifier, outputs)
    # Top k is so far below the others that its bar would hide their differences.
    shown = [outcome for outcome in over_paper if outcome.claim.better != TITLES["top_k"]]
    names = [TITLES[f.best] for f in fitted]
    heading = f"Measured: {classifier}, {study.description}"
    return Section(
        tables=[make_table(heading, rows, columns=COLUMNS, first="Quantity"), by_size],
        outcomes=over_paper + over_simple,
        figures=[_gains_figure(classifier, shown), _sizes_figure(classifier, by_size)],
        notes=[f"{classifier}: chosen on {fitted[0].images} held-out images, by seed: {'; '.join(names)}."],
    )


def _table_without_tags(study: Study, outputs: Mapping, fitted: Mapping) -> Table:
    """Measures test images without their tags, with the heads trained on tags and with those on f_v."""
    pixels, with_tags = CLASSIFIERS
    predictions = {
        pixels: [(seed.probabilities, seed.raw) for seed in outputs[pixels]],
        with_tags: [predict_without_tags(run) for run in study.runs],
    }
    rows = {}
    for classifier, seeds in predictions.items():
        measured = _measure_rules(study, fitted[classifier], seeds)
        measured[BOUND] = _measure_true_counts(study, [scores for scores, _ in seeds])
        for title in (TITLES["regression"], TITLES[BEST], TITLES["top_k"], BOUND):
            rows[f"{classifier}, {title}"] = measured[title]
    note = (
        f"{with_tags} was trained, and its quantities fitted, on images with tags. A saved model uses "
        f"{pixels} for images without (decision 35)."
    )
    heading = "Measured: test images without their tags"
    return make_table(heading, rows, columns=COLUMNS, first="Classifier, quantity", notes=[note])


def predict_without_tags(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Returns probabilities [N, C] and raw quantities [N] of the heads on [f_v, f_t] for test images without
    tags."""
    no_tags = np.zeros((1, len(run.dataset.tags)), np.float32)
    f_t = np.asarray(model_parts.load_part(run, "textual").predict_on_batch(no_tags))
    f_v = frozen_features.visual_features(run, "test")
    classifier, quantity = (model_parts.load_part(run, part) for part in ("classifier", "quantity"))
    logits, raw = [], []
    for rows in batches_of(np.arange(len(f_v)), 256):
        feature = np.concatenate([f_v[rows], np.repeat(f_t, len(rows), axis=0)], axis=1)
        logits.append(np.asarray(classifier.predict_on_batch(feature)))
        raw.append(np.asarray(quantity.predict_on_batch(feature))[:, 0])
    return sigmoid(np.concatenate(logits)), np.concatenate(raw)


def _measure_rules(
    study: Study, fitted: Sequence[FittedCountingRules], outputs: Sequence[tuple]
) -> dict[str, MeasuredRow]:
    """Measures every rule and the chosen one, by title; outputs: probabilities and raw counts per seed."""
    return {
        title: _measure(study.truth, [f.apply(*o, name) for f, o in zip(fitted, outputs, strict=True)])
        for name, title in TITLES.items()
    }


def _measure_true_counts(study: Study, scores: Sequence[np.ndarray]) -> MeasuredRow:
    true = study.truth.sum(axis=1).astype(np.int32)
    row = _measure(study.truth, [Predictions(s, true) for s in scores])
    return dataclasses.replace(row, upper_bound=True)


def _measure(truth: np.ndarray, predictions: Sequence[Predictions]) -> MeasuredRow:
    row, counts = measure_row(truth, [choose_labels(p) for p in predictions]), truth.sum(axis=1)
    metrics = [quantity_metrics(counts, p.counts) | m for p, m in zip(predictions, row.metrics, strict=True)]
    return dataclasses.replace(row, metrics=metrics)


def _measure_gain(study: Study, name: str, rows: dict, better: str, worse: str) -> Outcome:
    """Measures the gain in H-F1 of one rule over another."""
    return study.measure_claims([Claim(name, "eq. 7", TITLES[better], TITLES[worse])], None, rows)[0]


def _table_by_size(study: Study, classifier: str, outputs: Sequence[ClassifierOutputs]) -> Table:
    """Measures H-F1 on the test split of rules fitted on some of the held-out images."""
    images = len(outputs[0].held_out.raw)
    sizes = [size for size in SIZES if size < images] + [images]
    rows = []
    for name in RULES_BY_SIZE:
        seeds = [{f"{n} images": _h_f1_by_size(study.truth, o, name, n) for n in sizes} for o in outputs]
        rows.append(Row(TITLES[name], seeds))
    return Table(
        f"Measured: H-F1 by the number of held-out images, {classifier}",
        rows,
        [f"{size} images" for size in sizes],
        "Quantity",
        notes=[f"Mean of {DRAWS} random draws per size; the last column is all images, once."],
    )


def _h_f1_by_size(truth: np.ndarray, outputs: ClassifierOutputs, name: str, size: int) -> float:
    images = len(outputs.held_out.raw)
    values = []
    for draw in range(DRAWS if size < images else 1):
        rows = np.sort(np.random.default_rng(draw).permutation(images)[:size])
        rule = load_counting_rule(name).fit(outputs.held_out.take(rows))
        chosen = choose_labels(apply_rule(rule, outputs.probabilities, outputs.raw))
        values.append(annotation_metrics(truth, chosen)["H-F1"])
    return float(np.mean(values))


def _gains_figure(classifier: str, outcomes: Sequence[Outcome]) -> Figure:
    alt = f"Gain in H-F1 of each counting rule over the paper's regression, {classifier}"
    picture = render_svg(
        lambda drawing: draw_gains(drawing.subplots(), outcomes), 700, 24 * len(outcomes) + 60, alt
    )
    note = "Large dot: mean over seeds; line: 95 % interval over seeds and test images; small dots: seeds."
    heading = f"Gains over the paper's regression, {classifier}"
    return Figure(heading, Picture(f"gains_{_slug(classifier)}", alt, picture), [note])


def draw_gains(axes: Axes, outcomes: Sequence[Outcome]) -> None:
    """Draws a line per rule: the interval of its gain, a dot for the mean, a small dot per seed."""
    axes.axvline(0, color=SOFT, linestyle=":")
    for y, outcome in enumerate(outcomes):
        (low, high), mean = outcome.interval, float(np.mean(outcome.gains))
        (line,) = axes.plot([low, high], [y, y], color=LINES[0])
        add_tooltip(line, f"95 % interval {low:+.2f} to {high:+.2f}")
        for gain in outcome.gains:
            (dot,) = axes.plot([gain], [y], "o", color=LINES[1], markersize=4)
            add_tooltip(dot, f"one seed: {gain:+.2f}")
        (dot,) = axes.plot([mean], [y], "o", color=LINES[0], markersize=9)
        add_tooltip(dot, f"{outcome.claim.better}: {mean:+.2f}")
    axes.set_yticks(range(len(outcomes)), [outcome.claim.better for outcome in outcomes], color=INK)
    axes.set_ylim(len(outcomes) - 0.5, -0.5)
    axes.set_xlabel("gain in H-F1 over the paper's regression (points)")


def _sizes_figure(classifier: str, by_size: Table) -> Figure:
    alt = f"H-F1 against the number of held-out images that rules are fitted on, {classifier}"
    picture = render_svg(lambda drawing: draw_sizes(drawing.subplots(), by_size), 790, 330, alt)
    note = "H-F1 on the test split, mean over seeds and draws; the regression is not fitted on them."
    heading = f"How many held-out images, {classifier}"
    return Figure(heading, Picture(f"held_out_{_slug(classifier)}", alt, picture), [note])


def draw_sizes(axes: Axes, by_size: Table) -> None:
    """Draws H-F1 against the number of held-out images, a line per rule."""
    sizes = [int(column.split()[0]) for column in by_size.columns]
    axes.set_xlim(sizes[0] / 1.1, sizes[-1] * 1.1)
    use_log_scale(axes, "x")
    for i, row in enumerate(by_size.rows):
        means = [float(np.mean(row.values(column))) for column in by_size.columns]
        colour = LINES[i % len(LINES)]
        axes.plot(sizes, means, color=colour, label=row.name)
        for size, mean in zip(sizes, means, strict=True):
            (dot,) = axes.plot([size], [mean], "o", color=colour, markersize=5)
            add_tooltip(dot, f"{row.name}, {size} held-out images: {mean:.2f}")
    axes.set_xlabel("held-out images")
    axes.set_ylabel("H-F1 (%)")
    axes.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False)


def _slug(classifier: str) -> str:
    return "with_tags" if "Tags" in classifier else "without_tags"
