"""What the doors share: seeds -> finished runs -> measured rows -> a report."""

import dataclasses
import importlib.metadata
import pathlib
import platform
from collections.abc import Mapping, Sequence

import numpy as np

from experiments.reporting import report
from experiments.reporting.claims import judge
from experiments.reporting.report import Claim, Figure, Outcome, Report, Row, Table
from msmm import configs
from msmm.core.files import read_json
from msmm.scoring.metrics import annotation_metrics
from msmm.training import frozen_features, row_table, table_rows
from msmm.training.run import Run
from msmm.training.stage_table import PAPER_STAGES
from msmm.training.stages import train

PACKAGES = ("tensorflow", "keras", "tensorflow-datasets", "numpy", "pillow")


@dataclasses.dataclass(frozen=True)
class Measured:
    """One row of a table as measured on the test split, with one entry a training seed.

    chosen: the labels that it gives, bool [N, C] each.
    figures: column -> value, each as `metrics.annotation_metrics` gives them (and `quantity_metrics`).
    multi_modal, quantity, upper_bound: as in `report.Row`.
    """

    chosen: Sequence[np.ndarray]
    figures: Sequence[Mapping[str, float]]
    multi_modal: bool | None = None
    quantity: bool | None = None
    upper_bound: bool = False


@dataclasses.dataclass(frozen=True)
class Section:
    """What one table or figure of the paper adds to a report; methods: the compared ones that it trains."""

    tables: Sequence[Table] = ()
    outcomes: Sequence[Outcome] = ()
    figures: Sequence[Figure] = ()
    notes: Sequence[str] = ()
    methods: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class Study:
    """Finished runs, alike but for their seeds, and the rows of the paper's own model on them."""

    runs: Sequence[Run]
    rows: Mapping[str, Measured]

    @property
    def run(self) -> Run:
        """The first run, for what all runs share."""
        return self.runs[0]

    @property
    def truth(self) -> np.ndarray:
        """The true labels of the test split, bool [N, C]."""
        return self.run.split("test").labels

    @property
    def what(self) -> str:
        """What was measured, on what and how often."""
        dataset, config = self.run.dataset, self.run.config
        counts = {split: dataset.num_examples(split) for split in dataset.splits}
        seeds = f"{len(self.runs)} seed{'s' * (len(self.runs) > 1)}"
        return (
            f"{dataset.name} ({counts['train']:,} training and {counts['test']:,} test images, "
            f"{len(dataset.labels)} classes, {len(dataset.tags)} tags), "
            f"{pathlib.Path(config.backbone).stem} at {config.image_size} px, {seeds}"
        )

    def judge(
        self, claims: Sequence[Claim], published: Table | None, rows: Mapping[str, Measured] | None = None
    ) -> list[Outcome]:
        """Claims about annotations, measured on `rows` (the study's own if None)."""
        rows = self.rows if rows is None else rows
        chosen = [{name: row.chosen[i] for name, row in rows.items()} for i in range(len(self.runs))]
        return [judge(claim, self.truth, chosen, published) for claim in claims]

    def report(self, title: str, sections: Sequence[Section], command: str, **also) -> Report:
        """One report of several sections; `command` is what was typed, `also` more fields of `Report`."""
        methods = [name for section in sections for name in section.methods]
        return Report(
            title=title,
            tables=[table for section in sections for table in section.tables],
            outcomes=[outcome for section in sections for outcome in section.outcomes],
            figures=[figure for section in sections for figure in section.figures],
            settings=configs.describe_config(self.run.config, methods),
            notes=[note for section in sections for note in section.notes] + self._fallbacks(methods),
            versions=versions(),
            command=command,
            **also,
        )

    def _fallbacks(self, methods: Sequence[str]) -> list[str]:
        """Where training began again at a lower learning rate (decision 5), a line a stage."""
        found = []
        for run in self.runs:
            for stage in (*PAPER_STAGES, *methods):
                fallbacks = run.stage_record(stage)["fallbacks"]
                if fallbacks:
                    before = f", after {len(fallbacks) - 1} such before" if len(fallbacks) > 1 else ""
                    found.append(f"Seed {run.seed}, stage {stage}{before}: {fallbacks[-1]}.")
        return found


def finish(runs: Sequence[Run]) -> Study:
    """Trains what has not finished of each run, measures every row of the paper's model, and saves the
    complete model in the run's directory."""
    wanted = row_table.TABLE_ROWS | row_table.TAGS_ONLY
    measured = {name: ([], []) for name in wanted}
    for run in runs:
        print(f"seed {run.seed}", flush=True)
        for stage in PAPER_STAGES:
            train(run, stage)
        for name, variant in wanted.items():
            chosen, figures = table_rows.measure_row(run, variant)
            measured[name][0].append(chosen)
            measured[name][1].append(figures)
        table_rows.save_model(run)
        if run.config.finetune.trunk:  # another seed has another trunk
            frozen_features.discard_maps(run)
        Run.images.cache_clear()  # gigabytes on real data, and of no more use
    rows = {
        name: Measured(
            *measured[name], variant.reads_tags, variant.predicts_quantity, variant.counter == "truth"
        )
        for name, variant in wanted.items()
    }
    return Study(runs, rows)


def measured(truth: np.ndarray, chosen: Sequence[np.ndarray], **what) -> Measured:
    """A row from the labels chosen, bool [N, C] a seed; `what` is passed on to `Measured`."""
    return Measured(chosen, [annotation_metrics(truth, c) for c in chosen], **what)


def table(heading: str, rows: Mapping[str, Measured], **how) -> Table:
    """A table of measured rows; `how` is passed on to `report.Table`."""
    found = [
        Row(name, row.figures, row.multi_modal, row.quantity, row.upper_bound) for name, row in rows.items()
    ]
    return Table(heading, found, **how)


def versions() -> dict[str, str]:
    """Python and the packages that the numbers depend on."""
    return {"python": platform.python_version()} | {p: importlib.metadata.version(p) for p in PACKAGES}


def summed_up(page: Report, study: Study, seconds: float) -> Report:
    """The report with a summary: what was run and which claims hold; `seconds` is what it took this time."""
    holding = sum(outcome.verdict.startswith("holds") for outcome in page.outcomes)
    doubtful = [(o.claim, o.verdict) for o in page.outcomes if o.verdict != "holds"]
    records = [read_json(path) for run in study.runs for path in run.directory.glob("*/stage.json")]
    lines = [
        f"{study.what}.",
        f"Of {len(page.outcomes)} claims of the paper that were measured, {holding} hold on this data.",
        *[
            f"{c.name.capitalize()}, {c.better} over {c.worse} by {c.metric}: {verdict}."
            for c, verdict in doubtful
        ],
        f"Training took {_clock(sum(r['seconds'] for r in records))} (all epochs of all seeds); this command "
        f"{_clock(seconds)}, without what had finished before.",
        f"Records: SHA-256 {study.run.dataset.fingerprint[:16]}…. {study.run.dataset.description}",
    ]
    return dataclasses.replace(page, summary=lines)


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return (
        f"{minutes // 60} h {minutes % 60} min {seconds} s" if minutes >= 60 else f"{minutes} min {seconds} s"
    )


def publish(page: Report, runs: Sequence[Run], stem: str) -> None:
    """Writes a report to <workdir>/<stem>/, prints its tables and claims, and says where everything is."""
    workdir = runs[0].workdir
    paths = report.write(page, workdir / stem, stem)
    # What follows is in the files.
    short = dataclasses.replace(page, figures=(), settings=(), versions={}, command="")
    print(f"\n{report.as_text(short)}\n")
    print(f"report:      {paths[0]} (and {', '.join(path.name for path in paths[1:])})")
    print(f"tensorboard: tensorboard --logdir={workdir}")
    if (model := runs[0].model_directory).exists():  # with groups there is none
        print(f"model:       {model}")
