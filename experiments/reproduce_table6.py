"""Table VI: the label quantities of Table V, beside the paper's numbers for MSCOCO.

    python -m experiments.reproduce_table6 --weights=resnet101.h5             MSCOCO, packed as data/mscoco
    python -m experiments.reproduce_table6 --dataset=scenes --seeds=3         any other data set

Measures accuracy and MSE of the two regressors, and of predictors without a regressor. Trains every
unfinished stage; after an interruption, the same command continues.
"""

from msmm import run_flags
from msmm.core import command_line

run_flags.define_experiment_flags(dataset="mscoco")


def main() -> None:
    runs = run_flags.open_runs()
    from experiments.sections.tables import reproduce_table

    reproduce_table("VI", runs, command_line.command())


if __name__ == "__main__":
    command_line.run(main)
