"""Every table and figure of the paper on one data set, in one report.

    python -m experiments.reproduce_all                              the drawn data set, one seed: minutes
    python -m experiments.reproduce_all --dataset=nus_wide --seeds=3

Trains the stages that have not finished; after an interruption, the same command continues. The report is
written to runs/<dataset>/report: one self-contained HTML file, and Markdown with its pictures. MSCOCO is
compared with Tables II, IV and VI, every other data set with I, III and V.
"""

import time

from msmm import run_flags
from msmm.core import command_line

run_flags.define_experiment_flags()


def main() -> None:
    started = time.monotonic()
    runs = run_flags.open_runs()
    from experiments.sections.ablations import fixed_length_section, rounding_section
    from experiments.sections.diagnostics import diagnostics_section
    from experiments.sections.examples import examples_section
    from experiments.sections.speed import speed_section
    from experiments.sections.study import add_summary, train_and_measure
    from experiments.sections.tables import FILES, SECTIONS, table_numbers

    study = train_and_measure(runs)
    numbers = table_numbers(study.run)
    sections = [SECTIONS[number](study, number) for number in numbers]
    sections += [fixed_length_section(study), rounding_section(study)]
    if not study.run.config.groups:  # with groups no complete model is saved
        sections.append(speed_section(study))
    sections += [diagnostics_section(study), examples_section(study)]
    modules = [f"experiments.reproduce_{FILES[number]}" for number in numbers]
    modules += ["experiments.figure6", "experiments.timing"]
    commands = [command_line.command(), *map(command_line.command, modules)]
    page = study.make_report(
        f"All tables and figures on {study.run.dataset.name}", sections, "\n".join(commands)
    )
    study.publish(add_summary(page, study, time.monotonic() - started), "report")


if __name__ == "__main__":
    command_line.run(main)
