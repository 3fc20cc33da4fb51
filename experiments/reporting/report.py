"""The one table path: measured rows, the published ones beside them, the paper's claims, pictures.

A `Report` becomes plain text for a terminal, Markdown, CSV and one self-contained HTML file.
Measured and published numbers stand in tables of their own and never share a column.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from experiments.reporting import rendering
from experiments.reporting.rendering import Block, Cell, Picture
from msmm.core.files import write_bytes
from msmm.scoring.metrics import METRICS

QUANTITY = ("Accuracy", "MSE")  # columns of Tables V and VI
LENGTHS = ("mean predicted", "mean true", "classes never predicted", "classes without positives")
LOWER_IS_BETTER = ("MSE",)
_OF_THE_TRUTH = ("mean true", "classes without positives", "variance of true")  # alike in every run
_DECIMALS = {"MSE": 3, "quantity MSE": 3, "variance of true": 3, "classes never predicted": 1}
_FLAGS = {True: "yes", False: "no", None: ""}
_MARKS = "†‡§¶"
_NONE = "—"


@dataclasses.dataclass(frozen=True)
class Row:
    """One method: a dict of metrics (column -> value) for each training seed, or one as published.

    `multi_modal` and `quantity` are the paper's yes/no columns; None where a table has none.
    An `upper_bound` is given the true quantities and so is never marked as best.
    """

    name: str
    seeds: Sequence[Mapping[str, float]]
    multi_modal: bool | None = None
    quantity: bool | None = None
    upper_bound: bool = False

    def values(self, column: str) -> list[float]:
        """The values of one column, one a seed; empty where the row does not have it."""
        return [seed[column] for seed in self.seeds if column in seed]


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows under a heading that says whose numbers they are and of which data set.

    `marks` maps (row name, column), or (row name, "") for a whole row, to a footnote.
    """

    heading: str
    rows: Sequence[Row]
    columns: Sequence[str] = METRICS
    first: str = "Models"
    marks: Mapping[tuple[str, str], str] = dataclasses.field(default_factory=dict)
    notes: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class Claim:
    """The paper says in `source` that row `better` is better than row `worse` by `metric`."""

    name: str
    source: str
    better: str
    worse: str
    metric: str = "H-F1"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A claim as measured. A gain is `better` minus `worse`; for MSE, `worse` minus `better`.

    differences: the gains, one a training seed; percentage points, or labels^2 for MSE.
    interval: 95 % of the paired bootstrap over test images of their mean over seeds.
    published: the gain as printed in the paper, or None.
    """

    claim: Claim
    differences: Sequence[float]
    interval: tuple[float, float]
    published: float | None = None

    @property
    def verdict(self) -> str:
        """See `VERDICT_RULE`."""
        holds = np.mean(self.differences) > 0
        one_sided = self.interval[0] > 0 or self.interval[1] < 0
        agree = all(d > 0 for d in self.differences) or all(d <= 0 for d in self.differences)
        return ("holds" if holds else "does not hold") + ("" if one_sided and agree else " (within noise)")


VERDICT_RULE = (
    "A claim holds where the gain, averaged over training seeds, is above 0. "
    "It is called within noise where the 95 % interval contains 0 or the seeds disagree about the sign. "
    "The interval is that of a paired bootstrap over the test images, so it holds no training noise; "
    "± is the standard deviation of the gain over training seeds."
)


@dataclasses.dataclass(frozen=True)
class Figure:
    """A picture under a heading, with what a reader must know of it."""

    heading: str
    picture: Picture
    notes: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class Report:
    """All that a page says.

    summary: first of all; claims: what heads the outcomes; settings: (name, value, source) each; notes:
    what a reader must know of this run; versions: package -> version; command: what to type to get the same.
    """

    title: str
    tables: Sequence[Table]
    outcomes: Sequence[Outcome] = ()
    settings: Sequence[tuple[str, str, str]] = ()
    notes: Sequence[str] = ()
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    command: str = ""
    figures: Sequence[Figure] = ()
    summary: Sequence[str] = ()
    claims: str = "The paper's claims, as measured"


def write(report: Report, directory: str | pathlib.Path, stem: str) -> list[pathlib.Path]:
    """Writes `stem`.html, .md, .csv, with claims `stem`_claims.csv, and the pictures of the Markdown;
    returns their paths."""
    directory = pathlib.Path(directory)
    texts = {
        f"{stem}.html": as_html(report),
        f"{stem}.md": as_markdown(report),
        f"{stem}.csv": as_csv(report),
    }
    if report.outcomes:
        texts[f"{stem}_claims.csv"] = claims_as_csv(report)
    contents = {name: text.encode() for name, text in texts.items()}
    contents |= {figure.picture.file_name: figure.picture.as_bytes() for figure in report.figures}
    for name, content in contents.items():
        write_bytes(directory / name, content)
    return [directory / name for name in contents]


def as_text(report: Report) -> str:
    """For a terminal, within 80 columns unless names are long."""
    return rendering.text(report.title, list(_blocks(report, best="*")))


def as_markdown(report: Report) -> str:
    """For a repository's page."""
    return rendering.markdown(report.title, list(_blocks(report, best="Bold")))


def as_html(report: Report) -> str:
    """One self-contained page."""
    return rendering.page(report.title, list(_blocks(report, best="Bold")))


def as_csv(report: Report) -> str:
    """The tables, unrounded: for each row its mean and, with more than one seed, each run and the sd."""
    columns = list(dict.fromkeys(column for table in report.tables for column in table.columns))
    lines = [["table", "row", "multi-modal", "LQP", "statistic", *columns]]
    for table in report.tables:
        for row in table.rows:
            start = [table.heading, row.name, _FLAGS[row.multi_modal], _FLAGS[row.quantity]]
            values = [row.values(column) if column in table.columns else [] for column in columns]
            lines.append([*start, "mean", *(_statistic(np.mean, v, 1) for v in values)])
            if len(row.seeds) > 1:
                lines.append([*start, "sd", *(_statistic(_sd, v, 2) for v in values)])
                runs = zip(*(v or [""] * len(row.seeds) for v in values), strict=True)
                lines += [[*start, f"run {i}", *run] for i, run in enumerate(runs, start=1)]
    return rendering.comma_separated(lines)


def claims_as_csv(report: Report) -> str:
    """The claims, unrounded."""
    lines = [
        ["claim", "source", "better", "worse", "metric"]
        + ["seeds", "gain", "sd", "low", "high", "published", "verdict"]
    ]
    for outcome in report.outcomes:
        d = outcome.differences
        published = "" if outcome.published is None else outcome.published
        gain = [len(d), float(np.mean(d)), _statistic(_sd, d, 2), *outcome.interval]
        lines.append([*dataclasses.astuple(outcome.claim), *gain, published, outcome.verdict])
    return rendering.comma_separated(lines)


def _statistic(of: Callable, values: Sequence[float], at_least: int) -> float | str:
    return float(of(values)) if len(values) >= at_least else ""


def _sd(values: Sequence[float]) -> float:
    return np.std(values, ddof=1)


def _blocks(report: Report, best: str) -> Iterator[Block]:
    """`best` is the format's word for how the best of a column is set off."""
    if report.summary:
        yield Block("Summary", notes=report.summary)
    for table in report.tables:
        yield _table_block(table, best)
    metrics = list(dict.fromkeys(outcome.claim.metric for outcome in report.outcomes))
    for metric in metrics:
        gain = f"{metric} {'drop' if metric in LOWER_IS_BETTER else 'gain'}"
        header = Cell("Claim"), Cell(gain, "(95 % interval)"), Cell("Published"), Cell("Verdict")
        rows = [_outcome_cells(o) for o in report.outcomes if o.claim.metric == metric]
        heading = report.claims + f": {metric}" * (metric != "H-F1")
        yield Block(heading, header, rows, notes=[VERDICT_RULE] * (metric == metrics[-1]))
    for figure in report.figures:
        yield Block(figure.heading, notes=figure.notes, picture=figure.picture)
    if report.settings:
        header = Cell("Setting"), Cell("Value"), Cell("Source")
        yield Block("Settings", header, [[Cell(x) for x in s] for s in report.settings], left=3)
    if report.notes:
        yield Block("Notes", notes=report.notes)
    if report.versions:
        yield Block("Versions", notes=[", ".join(f"{k} {v}" for k, v in report.versions.items())])
    if report.command:
        yield Block("Command", code=report.command)


def _table_block(table: Table, best: str) -> Block:
    flags = any(row.multi_modal is not None or row.quantity is not None for row in table.rows)
    footnotes = list(dict.fromkeys(table.marks.values()))
    symbols = {note: _MARKS[i % len(_MARKS)] * (1 + i // len(_MARKS)) for i, note in enumerate(footnotes)}
    marks = {place: symbols[note] for place, note in table.marks.items()}
    tops = {column: _best(table, column) for column in table.columns}
    header = [Cell(table.first)] + flags * [Cell("Multi", "modal"), Cell("LQP")]
    header += [_column_head(column) for column in table.columns]
    rows = []
    for row in table.rows:
        cells = [Cell(row.name, mark=marks.get((row.name, ""), ""))]
        cells += flags * [Cell(_FLAGS[f] or _NONE) for f in (row.multi_modal, row.quantity)]
        for column in table.columns:
            mean, sd = _mean_sd(row, column)
            is_best = not row.upper_bound and tops[column] is not None and mean == tops[column]
            cells.append(Cell(mean, sd, is_best, marks.get((row.name, column), "")))
        rows.append(cells)
    legend = "LQP: label quantity prediction. " * flags
    if any(top is not None for top in tops.values()):
        legend += f"{best}: best of its column, upper bounds left out. "
    if any(len(row.seeds) > 1 for row in table.rows):
        legend += "Mean ± standard deviation over training seeds."
    notes = [legend.strip()] * bool(legend) + [f"{symbols[note]} {note}" for note in footnotes]
    return Block(table.heading, header, rows, notes=[*notes, *table.notes])


def _column_head(column: str) -> Cell:
    if column in METRICS or column == "Accuracy":
        return Cell(column, "(%)")
    first, _, rest = column.partition(" ")
    return Cell(first, rest)


def _best(table: Table, column: str) -> str | None:
    """The best value of a column as it is printed; None for a column or table without a best."""
    rows = [row for row in table.rows if not row.upper_bound and row.values(column)]
    if len(rows) < 2 or column not in (*METRICS, *QUANTITY):
        return None
    pick = min if column in LOWER_IS_BETTER else max
    return _mean_sd(pick(rows, key=lambda row: np.mean(row.values(column))), column)[0]


def _mean_sd(row: Row, column: str) -> tuple[str, str]:
    values = row.values(column)[: 1 if column in _OF_THE_TRUTH else None]
    if not values:
        return _NONE, ""
    whole = len(values) == 1 and isinstance(values[0], (int, np.integer))
    decimals = 0 if whole else _DECIMALS.get(column, 2)
    sd = f"± {_sd(values):.{decimals}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{decimals}f}", sd


def _outcome_cells(outcome: Outcome) -> list[Cell]:
    claim, differences = outcome.claim, outcome.differences
    decimals = _DECIMALS.get(claim.metric, 2)
    low, high, mean = (_signed(v, decimals) for v in (*outcome.interval, np.mean(differences)))
    sd = f" ± {_sd(differences):.{decimals}f}" if len(differences) > 1 else ""
    verdict, _, noise = outcome.verdict.partition(" (")
    return [
        Cell(f"{claim.name} ({claim.source})", f"{claim.better} over {claim.worse}"),
        Cell(mean + sd, f"({low} to {high})"),
        Cell(_NONE if outcome.published is None else _signed(outcome.published, decimals)),
        Cell(verdict, f"({noise}" if noise else ""),
    ]


def _signed(value: float, decimals: int) -> str:
    return f"{round(float(value), decimals) + 0.0:+.{decimals}f}"  # + 0.0 turns -0.0 into 0.0
