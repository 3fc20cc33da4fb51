"""The one table path: measured rows, the published ones beside them, and the paper's claims.

A `Report` becomes plain text for a terminal, Markdown, CSV and one self-contained HTML file.
Measured and published numbers stand in tables of their own and never share a column.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from experiments import rendering
from experiments.rendering import Block, Cell
from msmm.metrics import METRICS, annotation_metrics, bootstrap_difference

QUANTITY = ("Accuracy", "MSE")  # columns of Tables V and VI
LENGTHS = ("mean predicted", "mean true", "classes never predicted", "classes without positives")
_LOWER_IS_BETTER = ("MSE",)
_OF_THE_TRUTH = ("mean true", "classes without positives", "variance of true")  # alike in every run
_DECIMALS = {"MSE": 3, "variance of true": 3, "classes never predicted": 1}
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
    """The paper says in `source` that row `better` has a higher H-F1 than row `worse`."""

    name: str
    source: str
    better: str
    worse: str


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A claim as measured; differences are H-F1 of `better` minus `worse`, percentage points.

    differences: one a training seed.
    interval: 95 % of the paired bootstrap over test images of their mean over seeds.
    published: the difference as printed in the paper, or None.
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
    "A claim holds where the gain in H-F1, averaged over training seeds, is above 0. "
    "It is called within noise where the 95 % interval contains 0 or the seeds disagree about the sign. "
    "The interval is that of a paired bootstrap over the test images, so it holds no training noise; "
    "± is the standard deviation of the gain over training seeds."
)


@dataclasses.dataclass(frozen=True)
class Report:
    """All that a page says.

    settings: (name, value, source) each; notes: what a reader must know of this run;
    versions: package -> version; command: what to type to get the same.
    """

    title: str
    tables: Sequence[Table]
    outcomes: Sequence[Outcome] = ()
    settings: Sequence[tuple[str, str, str]] = ()
    notes: Sequence[str] = ()
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    command: str = ""


def judge(
    claim: Claim,
    truth: np.ndarray,
    chosen: Sequence[Mapping[str, np.ndarray]],
    published: Table | None = None,
    resamples: int = 1000,
) -> Outcome:
    """Measures `claim`.

    Args:
        truth: [N, C] bool.
        chosen: for each training seed, row name -> chosen labels [N, C] bool.
        published: the paper's table that has both rows, or None.
        resamples: of the bootstrap, which is a function of the arrays alone.
    """
    better, worse = ([seed[name] for seed in chosen] for name in (claim.better, claim.worse))
    scores = [[annotation_metrics(truth, c)["H-F1"] for c in seeds] for seeds in (better, worse)]
    drawn = bootstrap_difference(truth, worse, better, "H-F1", resamples)
    low, high = (float(p) for p in np.percentile(drawn, [2.5, 97.5]))
    printed = {row.name: row.seeds[0]["H-F1"] for row in published.rows} if published else {}
    both = claim.better in printed and claim.worse in printed
    return Outcome(
        claim,
        tuple(b - w for b, w in zip(*scores, strict=True)),
        (low, high),
        round(printed[claim.better] - printed[claim.worse], 2) if both else None,
    )


def write(report: Report, directory: str | pathlib.Path, stem: str) -> list[pathlib.Path]:
    """Writes `stem`.html, .md, .csv and, with claims, `stem`_claims.csv; returns their paths."""
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    texts = {".html": as_html(report), ".md": as_markdown(report), ".csv": as_csv(report)}
    if report.outcomes:
        texts["_claims.csv"] = claims_as_csv(report)
    paths = [directory / f"{stem}{end}" for end in texts]
    for path, text in zip(paths, texts.values(), strict=True):
        path.write_text(text, encoding="utf-8", newline="")
    return paths


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
            lines.append([*start, "mean", *(_statistic(np.mean, row.values(c), 1) for c in columns)])
            if len(row.seeds) > 1:
                lines.append([*start, "sd", *(_statistic(_sd, row.values(c), 2) for c in columns)])
                runs = enumerate(row.seeds, start=1)
                lines += [[*start, f"run {i}", *(seed.get(c, "") for c in columns)] for i, seed in runs]
    return rendering.comma_separated(lines)


def claims_as_csv(report: Report) -> str:
    """The claims, unrounded."""
    lines = [
        ["claim", "source", "better", "worse", "seeds", "gain", "sd", "low", "high", "published", "verdict"]
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
    for table in report.tables:
        yield _table_block(table, best)
    if report.outcomes:
        header = Cell("Claim"), Cell("H-F1 gain", "(95 % interval)"), Cell("Published"), Cell("Verdict")
        rows = [_outcome_cells(outcome) for outcome in report.outcomes]
        yield Block("The paper's claims, as measured", header, rows, notes=[VERDICT_RULE])
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
    pick = min if column in _LOWER_IS_BETTER else max
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
    gain = _signed(np.mean(differences))
    if len(differences) > 1:
        gain += f" ± {_sd(differences):.2f}"
    verdict, _, noise = outcome.verdict.partition(" (")
    return [
        Cell(f"{claim.name} ({claim.source})", f"{claim.better} over {claim.worse}"),
        Cell(gain, f"({_signed(outcome.interval[0])} to {_signed(outcome.interval[1])})"),
        Cell(_NONE if outcome.published is None else _signed(outcome.published)),
        Cell(verdict, f"({noise}" if noise else ""),
    ]


def _signed(value: float) -> str:
    return f"{round(float(value), 2) + 0.0:+.2f}"  # + 0.0 turns -0.0 into 0.0
