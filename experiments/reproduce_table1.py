"""Table I: the contribution of each component of the model, on any packed data set.

    python -m experiments.reproduce_table1                          the drawn data set, one seed: minutes
    python -m experiments.reproduce_table1 --seeds=3
    python -m experiments.reproduce_table1 --dataset=nus_wide --weights=resnet101.h5

Packs `scenes` if it is missing and trains every unfinished stage. Measures the six rows on the test split and
writes a report (HTML, Markdown, CSV). After an interruption, the same command continues.
"""

from msmm import run_flags
from msmm.core import command_line

run_flags.define_experiment_flags()


def main() -> None:
    runs = run_flags.open_runs(need_images=False)
    from experiments.sections.tables import reproduce_table

    reproduce_table("I", runs, command_line.command())


if __name__ == "__main__":
    command_line.run(main)
