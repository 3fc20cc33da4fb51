"""Reports: measured and published tables, the paper's claims, figures, settings and notes.

A `Report` becomes plain text for a terminal, Markdown, CSV and one self-contained HTML file. Measured and
published numbers are in separate tables and never share a column.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from experiments.reporting import rendering
from experiments.reporting.claims import ONE_SEED, VERDICT_RULE, Outcome
from experiments.reporting.rendering import Block, Cell, Picture
from experiments.reporting.table import LOWER_IS_BETTER, QUANTITY, Row, Table
from msmm.core.files import write_bytes
from msmm.scoring.metrics import METRICS
from msmm.scoring.ranking_metrics import MEAN_AP, RANKING_METRICS

# Equal in every run.
_OF_THE_TRUTH = (
    "mean true", "classes without positives", "variance of true", "training images", "test images",
)  # fmt: skip
_DECIMALS = {"MSE": 3, "quantity MSE": 3, "variance of true": 3, "classes never predicted": 1}
_FLAGS = {True: "yes", False: "no", None: ""}
_MARKS = "†‡§¶"
_NONE = "—"


@dataclasses.dataclass(frozen=True)
class Figure:
    """A picture under a heading, with notes."""

    heading: str
    picture: Picture
    notes: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class Report:
    """The content of a page.

    summary: notes at the top. claims_heading: the heading of the outcomes. settings: (name, value, source).
    notes: about this run. versions: package -> version. command: the command that makes the same report.
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
    claims_heading: str = "The paper's claims, as measured"


def write_report(report: Report, directory: str | pathlib.Path, stem: str) -> list[pathlib.Path]:
    """Writes `stem`.html, .md, .csv, `stem`_claims.csv where there are claims, and the Markdown's pictures.

    Returns their paths, the HTML file first.
    """
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
    """Returns plain text for a terminal, within 80 columns unless names are long."""
    return rendering.text(report.title, list(_blocks(report, best="*")))


def as_markdown(report: Report) -> str:
    """Returns Markdown."""
    return rendering.markdown(report.title, list(_blocks(report, best="Bold")))


def as_html(report: Report) -> str:
    """Returns one self-contained HTML page."""
    return rendering.page(report.title, list(_blocks(report, best="Bold")))


def as_csv(report: Report) -> str:
    """Returns the tables, unrounded: the mean of each row and, with several seeds, each run and the sd."""
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
    """Returns the measured claims, unrounded."""
    lines = [
        ["claim", "source", "better", "worse", "metric"]
        + ["seeds", "gain", "sd", "low", "high", "published", "verdict"]
    ]
    for outcome in report.outcomes:
        gains = outcome.gains
        published = "" if outcome.published is None else outcome.published
        gain = [len(gains), float(np.mean(gains)), _statistic(_sd, gains, 2), *outcome.interval]
        lines.append([*dataclasses.astuple(outcome.claim), *gain, published, outcome.verdict])
    return rendering.comma_separated(lines)


def _statistic(function: Callable, values: Sequence[float], at_least: int) -> float | str:
    return float(function(values)) if len(values) >= at_least else ""


def _sd(values: Sequence[float]) -> float:
    return np.std(values, ddof=1)


def _blocks(report: Report, best: str) -> Iterator[Block]:
    """Yields the blocks of a page; `best` describes how the format marks the best value of a column."""
    if report.summary:
        yield Block("Summary", notes=report.summary)
    for table in report.tables:
        yield _table_block(table, best)
    metrics = list(dict.fromkeys(outcome.claim.metric for outcome in report.outcomes))
    for metric in metrics:
        gain = f"{metric} {'drop' if metric in LOWER_IS_BETTER else 'gain'}"
        header = Cell("Claim"), Cell(gain, "(95 % interval)"), Cell("Published"), Cell("Verdict")
        rows = [_outcome_cells(o) for o in report.outcomes if o.claim.metric == metric]
        heading = report.claims_heading + f": {metric}" * (metric != "H-F1")
        one_seed = any(len(outcome.gains) == 1 for outcome in report.outcomes)
        rules = [VERDICT_RULE, *[ONE_SEED] * one_seed]
        yield Block(heading, header, rows, notes=rules if metric == metrics[-1] else ())
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
    if column in (*METRICS, "Accuracy", MEAN_AP):
        return Cell(column, "(%)")
    first, _, rest = column.partition(" ")
    return Cell(first, rest)


def _best(table: Table, column: str) -> str | None:
    """Returns the best value of a column as printed; None for a column or table without a best."""
    rows = [row for row in table.rows if not row.upper_bound and row.values(column)]
    if len(rows) < 2 or column not in (*METRICS, *QUANTITY, *RANKING_METRICS):
        return None
    pick = min if column in LOWER_IS_BETTER else max
    return _mean_sd(pick(rows, key=lambda row: np.mean(row.values(column))), column)[0]


def _mean_sd(row: Row, column: str) -> tuple[str, str]:
    values = row.values(column)[: 1 if column in _OF_THE_TRUTH else None]
    if not values:
        return _NONE, ""
    if len(set(values)) == 1 and isinstance(values[0], (int, np.integer)):  # a size, a number of passes
        return str(values[0]), ""
    decimals = _DECIMALS.get(column, 2)
    sd = f"± {_sd(values):.{decimals}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{decimals}f}", sd


def _outcome_cells(outcome: Outcome) -> list[Cell]:
    claim, gains = outcome.claim, outcome.gains
    decimals = _DECIMALS.get(claim.metric, 2)
    low, high, mean = (_signed(v, decimals) for v in (*outcome.interval, np.mean(gains)))
    sd = f" ± {_sd(gains):.{decimals}f}" if len(gains) > 1 else ""
    return [
        Cell(f"{claim.name} ({claim.source})", f"{claim.better} over {claim.worse}"),
        Cell(mean + sd, f"({low} to {high})"),
        Cell(_NONE if outcome.published is None else _signed(outcome.published, decimals)),
        Cell(outcome.verdict),
    ]


def _signed(value: float, decimals: int) -> str:
    return f"{round(float(value), decimals) + 0.0:+.{decimals}f}"  # + 0.0 turns -0.0 into 0.0
