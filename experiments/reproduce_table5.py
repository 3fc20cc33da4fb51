"""Table V: how well the label quantity is predicted, from pixels and with tags.

    python -m experiments.reproduce_table5                          the drawn data set, one seed: minutes
    python -m experiments.reproduce_table5 --dataset=nus_wide --seeds=3

Accuracy and MSE of the two regressors, beside the paper's; in a table of their own what needs no
regressor: the mean and the most common training count, the sum of the probabilities, the number of those
above one half. Trains every stage that has not finished. Interrupted, the same command goes on.
"""

from msmm import run_flags
from msmm.core import command_line

run_flags.define_experiment_flags()


def main() -> None:
    runs = run_flags.open_runs()
    from experiments.sections import tables

    tables.reproduce("V", runs, command_line.command())


if __name__ == "__main__":
    command_line.run(main)
