"""The core of every experiment: seeds -> finished runs -> measured rows -> a report."""

import dataclasses
import importlib.metadata
import pathlib
import platform
from collections.abc import Mapping, Sequence

import numpy as np

from experiments.reporting import report
from experiments.reporting.claims import SUPPORTED, VERDICTS, Claim, Outcome, measure_claim
from experiments.reporting.report import Figure, Report
from experiments.reporting.table import Row, Table
from msmm import configs
from msmm.core.class_summary import MANY, frequency_groups, shown_classes
from msmm.core.files import read_json
from msmm.scoring.metrics import annotation_metrics
from msmm.scoring.ranking_metrics import RANKING_METRICS, average_precision
from msmm.training import frozen_features, table_predictions, table_rows
from msmm.training.run import Run
from msmm.training.stage_table import paper_stages
from msmm.training.stages import train

PACKAGES = ("tensorflow", "keras", "tensorflow-datasets", "numpy", "pillow")


@dataclasses.dataclass(frozen=True)
class MeasuredRow:
    """One row of a table as measured on the test split, with one entry per training seed.

    chosen: the chosen labels, bool [N, C] each.
    metrics: column -> value, from `annotation_metrics`, `quantity_metrics` and `ranking_metrics`.
    multi_modal, quantity, upper_bound: as in `table.Row`.
    """

    chosen: list[np.ndarray]
    metrics: list[Mapping[str, float]]
    multi_modal: bool | None = None
    quantity: bool | None = None
    upper_bound: bool = False


@dataclasses.dataclass(frozen=True)
class Section:
    """The part of a report that belongs to one table or figure of the paper.

    baselines: the names of the compared methods that the section trains.
    """

    tables: Sequence[Table] = ()
    outcomes: Sequence[Outcome] = ()
    figures: Sequence[Figure] = ()
    notes: Sequence[str] = ()
    baselines: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class Study:
    """Finished runs that differ in their seeds alone, and the rows of the paper's own model on them."""

    runs: Sequence[Run]
    rows: Mapping[str, MeasuredRow]

    @property
    def run(self) -> Run:
        """The first run, for what all runs share."""
        return self.runs[0]

    @property
    def truth(self) -> np.ndarray:
        """The true labels of the test split, bool [N, C]."""
        return self.run.split("test").labels

    @property
    def description(self) -> str:
        """The data set, its size, the backbone and the number of seeds."""
        dataset, config = self.run.dataset, self.run.config
        counts = {split: dataset.num_examples(split) for split in dataset.splits}
        seeds = f"{len(self.runs)} seed{'s' * (len(self.runs) > 1)}"
        arrays = dataset.arrays
        trunk = f"{pathlib.Path(config.backbone).stem} at {config.image_size} px"
        if arrays is not None:
            trunk = f"given {' and '.join(arrays)}" if arrays else "tags alone"
        return (
            f"{dataset.name} ({counts['train']:,} training and {counts['test']:,} test images, "
            f"{len(dataset.labels)} classes, {len(dataset.tags)} tags), {trunk}, {seeds}"
        )

    def measure_claims(
        self, claims: Sequence[Claim], published: Table | None, rows: Mapping[str, MeasuredRow] | None = None
    ) -> list[Outcome]:
        """Measures claims about chosen labels on `rows` (the study's own if None)."""
        rows = self.rows if rows is None else rows
        if not self.run.dataset.has_images:  # which lacks some of the paper's rows
            claims = [claim for claim in claims if {claim.better, claim.worse} <= rows.keys()]
        return self.measure_chosen(claims, {name: row.chosen for name, row in rows.items()}, published)

    def measure_chosen(
        self,
        claims: Sequence[Claim],
        chosen: Mapping[str, Sequence[np.ndarray]],
        published: Table | None = None,
    ) -> list[Outcome]:
        """Measures claims about chosen labels, row name -> bool [N, C] for each seed."""
        seeds = [{name: labels[i] for name, labels in chosen.items()} for i in range(len(self.runs))]
        return [measure_claim(claim, self.truth, seeds, published) for claim in claims]

    def make_report(self, title: str, sections: Sequence[Section], command: str, **fields) -> Report:
        """Joins sections into one report; `command` makes it again, `fields` are more fields of `Report`."""
        baselines = [name for section in sections for name in section.baselines]
        return Report(
            title=title,
            tables=[table for section in sections for table in section.tables],
            outcomes=[outcome for section in sections for outcome in section.outcomes],
            figures=[figure for section in sections for figure in section.figures],
            settings=configs.describe_config(self.run.config, baselines),
            notes=[note for section in sections for note in section.notes] + self._fallback_notes(baselines),
            versions=package_versions(),
            command=command,
            **fields,
        )

    def publish(self, page: Report, stem: str) -> None:
        """Writes a report to the study's work directory and prints it, see the function `publish`."""
        publish(page, self.run.workdir, stem, self.run.model_directory)

    def _fallback_notes(self, baselines: Sequence[str]) -> list[str]:
        """Returns a note per stage that restarted at a lower learning rate (decision 5)."""
        notes = []
        for run in self.runs:
            for stage in (*paper_stages(run.dataset.arrays), *baselines):
                fallbacks = run.stage_record(stage)["fallbacks"]
                if fallbacks:
                    before = f", after {len(fallbacks) - 1} earlier ones" if len(fallbacks) > 1 else ""
                    notes.append(f"Seed {run.seed}, stage {stage}{before}: {fallbacks[-1]}.")
        return notes


def train_and_measure(runs: Sequence[Run]) -> Study:
    """Trains every unfinished stage, measures the rows of the paper's model, and saves the complete model of
    each run in the run's directory."""
    stages = paper_stages(runs[0].dataset.arrays)
    variants = table_rows.rows_of(stages)
    measured = {name: ([], []) for name in variants}
    for run in runs:
        print(f"seed {run.seed}", flush=True)
        for stage in stages:
            train(run, stage)
        for name, variant in variants.items():
            for collected, value in zip(
                measured[name], table_predictions.measure_row(run, variant), strict=True
            ):
                collected.append(value)
        table_predictions.save_model(run)
        if run.config.finetune.trunk and run.dataset.has_images:  # another seed has another trunk
            frozen_features.discard_maps(run)
        run.discard_images()  # not needed again
    rows = {
        name: MeasuredRow(
            *measured[name], variant.reads_tags, variant.predicts_quantity, variant.counter == "truth"
        )
        for name, variant in variants.items()
    }
    return Study(runs, rows)


def measure_row(truth: np.ndarray, chosen: Sequence[np.ndarray], **fields) -> MeasuredRow:
    """Measures chosen labels, bool [N, C] per seed; `fields` are more fields of `MeasuredRow`."""
    return MeasuredRow(chosen, [annotation_metrics(truth, labels) for labels in chosen], **fields)


def make_table(heading: str, rows: Mapping[str, MeasuredRow], **fields) -> Table:
    """Makes a table of measured rows; `fields` are more fields of `table.Table`."""
    measured_rows = [
        Row(name, row.metrics, row.multi_modal, row.quantity, row.upper_bound) for name, row in rows.items()
    ]
    return Table(heading, measured_rows, **fields)


CLASS_HEADING = "Measured: average precision by class"
RANKING_NOTE = (
    "mAP: mean over the classes with a positive of average precision, equal scores as one threshold "
    "(scikit-learn's rule). C-F1 and I-F1 at p 0.5: eq. 6 for all labels of a probability above 0.5."
)


def ranking_table(rows: Mapping[str, MeasuredRow], first: str = "Models", notes: Sequence[str] = ()) -> Table:
    """Makes the table of mAP and of F1 at probability 0.5, which the paper does not print."""
    table = [Row(name, row.metrics) for name, row in rows.items()]
    heading = "Measured: ranking of the labels, not in the paper's table"
    return Table(heading, table, RANKING_METRICS, first, notes=[RANKING_NOTE, *notes])


def class_table(study: Study, names: Sequence[str]) -> Table:
    """Makes the table of the average precision of every class, for the classifiers of some rows.

    Of many classes it has means of groups by frequency, and the best and the worst classes of the first row.

    names: rows of `table_rows`, a column each.
    """
    run = study.run
    train, test = run.split("train").labels.sum(axis=0), study.truth.sum(axis=0)
    variants = table_rows.TABLE_ROWS | table_rows.TAGS_ONLY
    by_seed = [
        {
            f"AP {name}": average_precision(
                study.truth, table_predictions.predict_probabilities(each, variants[name], "test")
            )
            for name in names
        }
        for each in study.runs
    ]

    def row(name: str, classes: np.ndarray) -> Row:
        """Returns means over some classes, which for one class are its values."""
        tested = classes[test[classes] > 0]
        counts = {"training images": _mean(train[classes]), "test images": _mean(test[classes])}
        seeds = [{c: float(ap[tested].mean()) for c, ap in seed.items() if len(tested)} for seed in by_seed]
        return Row(name, [counts | seed for seed in seeds])

    shown = shown_classes(np.mean([seed[f"AP {names[0]}"] for seed in by_seed], axis=0))
    rows = [row(run.dataset.labels[j], np.array([j])) for j in shown]
    notes = ["Average precision (AP, %) on the test images; — where no test image has the class."]
    if len(train) > MANY:
        groups = frequency_groups(train)
        rows = [
            row(f"{len(g):,} classes of {train[g].min():,} to {train[g].max():,}", g) for g in groups
        ] + rows
        notes.append(
            f"Means of classes by their training images; the best and the worst classes by AP {names[0]}."
        )
    columns = ("training images", "test images", *by_seed[0])
    return Table(CLASS_HEADING, rows, columns, "Class", notes=notes, long=True)


def _mean(counts: np.ndarray) -> float:
    """Returns the mean; of one count the whole number itself."""
    return int(counts[0]) if len(counts) == 1 else float(counts.mean())


def package_versions() -> dict[str, str]:
    """Returns the versions of Python and of the packages that the numbers depend on."""
    return {"python": platform.python_version()} | {p: importlib.metadata.version(p) for p in PACKAGES}


def add_summary(page: Report, study: Study, seconds: float) -> Report:
    """Adds a summary of the runs and of the claims to a report; `seconds` is the time of this command."""
    counts = {verdict: sum(o.verdict == verdict for o in page.outcomes) for verdict in VERDICTS}
    others = [(o.claim, o.verdict) for o in page.outcomes if o.verdict != SUPPORTED]
    records = [read_json(path) for run in study.runs for path in run.directory.glob("*/stage.json")]
    lines = [
        f"{study.description}.",
        f"Claims of the paper, of {len(page.outcomes)} measured: "
        + ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
        + ".",
        *[
            f"{c.name.capitalize()}, {c.better} over {c.worse} by {c.metric}: {verdict}."
            for c, verdict in others
        ],
        f"Training took {_clock(sum(r['seconds'] for r in records))} (all epochs of all seeds); this command "
        f"{_clock(seconds)}, without the stages that had finished before.",
        f"Records: SHA-256 {study.run.dataset.fingerprint[:16]}…. {study.run.dataset.description}",
    ]
    return dataclasses.replace(page, summary=lines)


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return (
        f"{minutes // 60} h {minutes % 60} min {seconds} s" if minutes >= 60 else f"{minutes} min {seconds} s"
    )


def publish(page: Report, workdir: pathlib.Path, stem: str, model: pathlib.Path | None = None) -> None:
    """Writes a report to <workdir>/<stem>/ and prints its tables, its claims and the paths of all output."""
    paths = report.write_report(page, workdir / stem, stem)
    tables = [table for table in page.tables if not table.long]
    short = dataclasses.replace(page, tables=tables, figures=(), settings=(), versions={}, command="")
    print(f"\n{report.as_text(short)}\n")
    print(f"report:      {paths[0]} (and {', '.join(path.name for path in paths[1:])})")
    print(f"tensorboard: tensorboard --logdir={workdir}")
    if model and model.exists():  # with groups there is none
        print(f"model:       {model}")
