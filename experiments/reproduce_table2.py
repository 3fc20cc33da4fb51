"""Table II: the components of Table I, beside the paper's numbers for MSCOCO.

    python -m experiments.reproduce_table2 --weights=resnet101.h5             MSCOCO, packed as data/mscoco
    python -m experiments.reproduce_table2 --dataset=scenes --seeds=3         any other data set

Trains every unfinished stage, measures the six rows on the test split, and writes a report (HTML, Markdown,
CSV). After an interruption, the same command continues.
"""

from msmm import run_flags
from msmm.core import command_line

run_flags.define_experiment_flags(dataset="mscoco")


def main() -> None:
    runs = run_flags.open_runs()
    from experiments.sections.tables import reproduce_table

    reproduce_table("II", runs, command_line.command())


if __name__ == "__main__":
    command_line.run(main)
