"""How many labels? Every estimator of the label quantity, from top 3 to the true one.

    python -m experiments.quantity                                   the drawn data set, one seed: minutes
    python -m experiments.quantity --dataset=my_photos --seeds=3

Without tags (MS-CNN) and with them (MS-CNN+Tags): the paper's regression, the rounded sum of the
probabilities, thresholds, likelihoods of the count, expected F1, and the one that held-out images choose,
each with its gain over the paper's regression; and how many held-out images they need. Trains every stage
that has not finished. Interrupted, the same command goes on.
"""

from msmm import run_flags
from msmm.core import command_line

run_flags.define_experiment_flags()


def main() -> None:
    runs = run_flags.open_runs()
    from experiments.sections import how_many, study

    measured = study.finish(runs)
    title = f"How many labels? {measured.run.dataset.name}"
    page = measured.report(
        title, [how_many.section(measured)], command_line.command(), claims=how_many.CLAIMS
    )
    study.publish(page, runs, "quantity")


if __name__ == "__main__":
    command_line.run(main)
