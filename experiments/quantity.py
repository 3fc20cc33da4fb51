"""Compares all rules for how many labels to keep, from top 3 to the true number.

    python -m experiments.quantity                                   the drawn data set, one seed: minutes
    python -m experiments.quantity --dataset=my_photos --seeds=3

Measures each rule without tags (MS-CNN) and with them (MS-CNN+Tags), and its gain over the paper's
regression. The rules: the rounded sum of the probabilities, thresholds, likelihoods of the count, expected
F1, and the rule chosen on held-out images. Another table has the number of held-out images that they need.
Trains every unfinished stage; after an interruption, the same command continues.
"""

from msmm import run_flags
from msmm.core import command_line

run_flags.define_experiment_flags()


def main() -> None:
    runs = run_flags.open_runs(need_images=False)
    from experiments.sections.counting_rules import CLAIMS_HEADING, counting_rules_section
    from experiments.sections.study import train_and_measure

    study = train_and_measure(runs)
    title = f"How many labels? {study.run.dataset.name}"
    section = counting_rules_section(study)
    page = study.make_report(title, [section], command_line.command(), claims_heading=CLAIMS_HEADING)
    study.publish(page, "quantity")


if __name__ == "__main__":
    command_line.run(main)
