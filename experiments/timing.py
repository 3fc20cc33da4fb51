"""Measures the time of training by stage and of a test image, beside the paper's three days and 10 ms.

    python -m experiments.timing                               the drawn data set, trained if it is not yet
    python -m experiments.timing --dataset=nus_wide

Times the complete model of the first seed, warm. Test images pass one by one and in batches, with decoding
and without. The table has the median, the 10th and the 90th percentile.
"""

from msmm import run_flags
from msmm.core import command_line

run_flags.define_experiment_flags()


def main() -> None:
    runs = run_flags.open_runs()
    from experiments.sections.speed import speed_section
    from experiments.sections.study import train_and_measure

    study = train_and_measure(runs)
    section = speed_section(study, again=True)
    page = study.make_report(f"Timing on {study.run.dataset.name}", [section], command_line.command())
    study.publish(page, "timing")


if __name__ == "__main__":
    command_line.run(main)
