"""Table II: Table I's components, beside the paper's numbers for MSCOCO.

    python -m experiments.reproduce_table2 --weights=resnet101.h5             MSCOCO, packed as data/mscoco
    python -m experiments.reproduce_table2 --dataset=scenes --seeds=3         any other data set

Trains every stage that has not finished, measures the six rows on the test split, and writes a report (HTML,
Markdown, CSV). Interrupted, the same command goes on.
"""

from msmm import run_flags
from msmm.core import command_line

run_flags.define_experiment_flags(dataset="mscoco")


def main() -> None:
    runs = run_flags.open_runs()
    from experiments.sections import tables

    tables.reproduce("II", runs, command_line.command())


if __name__ == "__main__":
    command_line.run(main)
