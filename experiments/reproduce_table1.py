"""Table I: what each component of the model adds, on any packed data set.

    python -m experiments.reproduce_table1                          the drawn data set, one seed: minutes
    python -m experiments.reproduce_table1 --seeds=3
    python -m experiments.reproduce_table1 --dataset=nus_wide --weights=resnet101.h5

Packs `scenes` if it is not there, trains every stage that has not finished, measures the six rows on the test
split, and writes a report (HTML, Markdown, CSV). Interrupted, the same command goes on.
"""

from msmm import run_flags
from msmm.core import command_line

run_flags.define_experiment_flags()


def main() -> None:
    runs = run_flags.open_runs()
    from experiments.sections import tables

    tables.reproduce("I", runs, command_line.command())


if __name__ == "__main__":
    command_line.run(main)
