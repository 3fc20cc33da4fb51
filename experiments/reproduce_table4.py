"""Table IV: the paper's model beside eight methods, all on one backbone.

    python -m experiments.reproduce_table4 --weights=resnet101.h5             MSCOCO, packed as data/mscoco
    python -m experiments.reproduce_table4 --dataset=scenes --seeds=3         any other data set

Trains every unfinished stage and method, and measures them on the test split. Further tables, which the paper
lacks, give the methods of fixed length our predicted quantity and the true one. After an interruption, the
same command continues.
"""

from msmm import run_flags
from msmm.core import command_line

run_flags.define_experiment_flags(dataset="mscoco")


def main() -> None:
    runs = run_flags.open_runs()
    from experiments.sections.tables import reproduce_table

    reproduce_table("IV", runs, command_line.command())


if __name__ == "__main__":
    command_line.run(main)
