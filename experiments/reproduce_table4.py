"""Table IV: the paper's model beside eight methods, all on one backbone.

    python -m experiments.reproduce_table4 --weights=resnet101.h5             MSCOCO, packed as data/mscoco
    python -m experiments.reproduce_table4 --dataset=scenes --seeds=3         any other data set

Trains every stage and every method that has not finished, measures them on the test split, and adds what the
paper lacks: the methods of fixed length with our predicted quantity, and with the true one. Interrupted,
the same command goes on.
"""

from msmm import run_flags
from msmm.core import command_line

run_flags.define_experiment_flags(dataset="mscoco")


def main() -> None:
    runs = run_flags.open_runs()
    from experiments.sections import tables

    tables.reproduce("IV", runs, command_line.command())


if __name__ == "__main__":
    command_line.run(main)
