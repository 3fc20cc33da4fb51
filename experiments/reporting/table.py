"""The tables of reports: rows with a value per column and training seed."""

import dataclasses
from collections.abc import Mapping, Sequence

from msmm.scoring.metrics import METRICS

QUANTITY = ("Accuracy", "MSE")  # columns of Tables V and VI
LENGTHS = ("mean predicted", "mean true", "classes never predicted", "classes without positives")
LOWER_IS_BETTER = ("MSE",)


@dataclasses.dataclass(frozen=True)
class Row:
    """One method in a table.

    seeds: column -> value, for each training seed; one entry for a published row.
    multi_modal, quantity: the paper's yes/no columns; None where a table has none.
    upper_bound: the row uses the true quantities, so it is never marked as best.
    """

    name: str
    seeds: Sequence[Mapping[str, float]]
    multi_modal: bool | None = None
    quantity: bool | None = None
    upper_bound: bool = False

    def values(self, column: str) -> list[float]:
        """Returns the values of one column, one per seed; empty where the row has no such column."""
        return [seed[column] for seed in self.seeds if column in seed]


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows under a heading that names their source ("Measured" or "Published") and the data set.

    Attributes:
        heading: the source and the data set.
        rows: the rows, in the order in which they are shown.
        columns: names of the shown columns.
        first: the heading of the column of row names.
        marks: (row name, column), or (row name, "") for a whole row -> footnote.
        notes: sentences below the table.
        long: a terminal leaves the table out; the files of a report have it.
    """

    heading: str
    rows: Sequence[Row]
    columns: Sequence[str] = METRICS
    first: str = "Models"
    marks: Mapping[tuple[str, str], str] = dataclasses.field(default_factory=dict)
    notes: Sequence[str] = ()
    long: bool = False
