"""Definitions of the rows of Tables I and II: the complete model and its ablations (IV-B). No Keras here."""

import dataclasses
from collections.abc import Collection

from msmm.training.stage_table import STAGE_OF_PART

COMPLETE = "MS-CNN+Tags+LQP"
WITHOUT_TAGS = "MS-CNN+LQP"


@dataclasses.dataclass(frozen=True)
class TableRow:
    """A row of the table: the part that ranks labels and the part that counts them.

    Attributes:
        scorer: the part whose logits rank the labels.
        counter: the part that predicts the quantity, "truth" (the upper bound) or None (top k).
        reads_tags, predicts_quantity: the row's two columns in the paper.
    """

    scorer: str
    counter: str | None
    reads_tags: bool
    predicts_quantity: bool

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that train its parts."""
        return tuple(STAGE_OF_PART[part] for part in (self.scorer, self.counter) if part in STAGE_OF_PART)


TABLE_ROWS: dict[str, TableRow] = {
    "Upper bound": TableRow("classifier", "truth", True, True),
    COMPLETE: TableRow("classifier", "quantity", True, True),
    WITHOUT_TAGS: TableRow("visual_head", "quantity_visual", False, True),
    "MS-CNN+Tags": TableRow("classifier", None, True, False),
    "MS-CNN": TableRow("visual_head", None, False, False),
    "CNN": TableRow("cnn_head", None, False, False),
}
# Not in the paper: the tags alone, to show what the pixels add to them.
TAGS_ONLY = {"Tags (MLP alone)": TableRow("textual_head", None, True, False)}
# scorer -> the regressor on the same feature.
COUNTERS = {"classifier": "quantity", "visual_head": "quantity_visual"}


def rows_of(stages: Collection[str]) -> dict[str, TableRow]:
    """Returns the rows, `TAGS_ONLY` among them, whose parts these stages train."""
    return {name: row for name, row in (TABLE_ROWS | TAGS_ONLY).items() if {*row.stages} <= {*stages}}


def add_counter(row: TableRow) -> TableRow:
    """Returns the row with the regressor on its classifier's feature.

    Raises:
        ValueError: there is no regressor on that feature.
    """
    if row.scorer not in COUNTERS:
        raise ValueError(f"no regressor has the feature of {row.scorer}")
    return dataclasses.replace(row, counter=COUNTERS[row.scorer], predicts_quantity=True)
