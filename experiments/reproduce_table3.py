"""Table III: the paper's model beside eight methods, all on one backbone.

    python -m experiments.reproduce_table3                          the drawn data set, one seed
    python -m experiments.reproduce_table3 --dataset=nus_wide --weights=resnet101.h5

Trains every unfinished stage and method, and measures them on the test split. Further tables, which the paper
lacks, give the methods of fixed length our predicted quantity and the true one. After an interruption, the
same command continues.
"""

from msmm import run_flags
from msmm.core import command_line

run_flags.define_experiment_flags()


def main() -> None:
    runs = run_flags.open_runs(need_images=False)
    from experiments.sections.tables import reproduce_table

    reproduce_table("III", runs, command_line.command())


if __name__ == "__main__":
    command_line.run(main)
