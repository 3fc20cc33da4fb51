"""Table V: the predicted label quantity, from pixels and with tags.

    python -m experiments.reproduce_table5                          the drawn data set, one seed: minutes
    python -m experiments.reproduce_table5 --dataset=nus_wide --seeds=3

Measures accuracy and MSE of the two regressors, beside the paper's. A further table has predictors without a
regressor. Two are constants: the mean and the most common training count. Two read the classifier: the sum of
the probabilities, and the number of probabilities above one half. Trains every unfinished stage; an
interrupted command continues when repeated.
"""

from msmm import run_flags
from msmm.core import command_line

run_flags.define_experiment_flags()


def main() -> None:
    runs = run_flags.open_runs(need_images=False)
    from experiments.sections.tables import reproduce_table

    reproduce_table("V", runs, command_line.command())


if __name__ == "__main__":
    command_line.run(main)
