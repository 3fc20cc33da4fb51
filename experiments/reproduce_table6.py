"""Table VI: Table V's quantities, beside the paper's numbers for MSCOCO.

    python -m experiments.reproduce_table6 --weights=resnet101.h5             MSCOCO, packed as data/mscoco
    python -m experiments.reproduce_table6 --dataset=scenes --seeds=3         any other data set

Accuracy and MSE of the two regressors, and of what needs no regressor. Trains every stage that has not
finished. Interrupted, the same command goes on.
"""

from msmm import run_flags
from msmm.core import command_line

run_flags.define_experiment_flags(dataset="mscoco")


def main() -> None:
    runs = run_flags.open_runs()
    from experiments.sections import tables

    tables.reproduce("VI", runs, command_line.command())


if __name__ == "__main__":
    command_line.run(main)
