"""Every table and figure of the paper on one data set, in one report.

    python -m experiments.reproduce_all                              the drawn data set, one seed: minutes
    python -m experiments.reproduce_all --dataset=nus_wide --seeds=3

Trains what has not finished; interrupted, the same command goes on. The report stands in
runs/<dataset>/report: one HTML file that needs nothing else, and Markdown with its pictures beside it.
MSCOCO is laid beside Tables II, IV and VI, every other data set beside I, III and V.
"""

import time

from msmm import run_flags
from msmm.core import command_line

run_flags.define_experiment_flags()


def main() -> None:
    started = time.monotonic()
    runs = run_flags.open_runs()
    from experiments.sections import ablations, diagnostics, examples, speed, study, tables

    measured = study.finish(runs)
    numbers = tables.numbers(measured.run)
    sections = [tables.SECTIONS[number](measured, number) for number in numbers]
    sections += [ablations.of_k(measured), ablations.of_rounding(measured)]
    sections += [speed.section(measured)] * (not measured.run.config.groups)  # which no saved model has
    sections += [diagnostics.section(measured), examples.section(measured)]
    doors = [f"experiments.reproduce_{tables.FILES[number]}" for number in numbers]
    commands = [command_line.command()] + [
        command_line.command(door) for door in (*doors, "experiments.figure6", "experiments.timing")
    ]
    title = f"All tables and figures on {measured.run.dataset.name}"
    page = measured.report(title, sections, "\n".join(commands))
    study.publish(study.summed_up(page, measured, time.monotonic() - started), runs, "report")


if __name__ == "__main__":
    command_line.run(main)
