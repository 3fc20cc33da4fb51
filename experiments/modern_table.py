"""Compares the paper's model with CSRA, ML-Decoder and Query2Label, heads of the modern field.

    python -m experiments.modern_table                                   the drawn data set, one seed
    python -m experiments.modern_table --dataset=my_photos --seeds=3 --nofinetune_trunk
    python -m experiments.modern_table --csra_loss=asymmetric --ml_decoder_loss=asymmetric

Beyond the paper. Each head reads the last map of the frozen trunk, without tags and with them. Columns are
mAP and H-F1: at top 3, with one threshold, with the default counting rule and with the true quantity. Further
tables have the gains of quantity and of tags, with intervals, and the parameters and seconds. Trains every
unfinished stage and head; after an interruption, the same command continues.
"""

from msmm import run_flags
from msmm.core import command_line

run_flags.define_experiment_flags()


def main() -> None:
    runs = run_flags.open_runs(need_images=False)
    from experiments.sections.modern import CLAIMS_HEADING, modern_section
    from experiments.sections.study import train_and_measure
    from msmm.configs.modern import head_methods
    from msmm.training.baseline_tasks import choose_trunk

    for head in head_methods(runs[0].config):  # before anything is trained: a data set may have no maps
        choose_trunk(runs[0], head)
    study = train_and_measure(runs)
    title = f"Heads of the modern field on {study.run.dataset.name}"
    section = modern_section(study)
    page = study.make_report(title, [section], command_line.command(), claims_heading=CLAIMS_HEADING)
    study.publish(page, "modern_table")


if __name__ == "__main__":
    command_line.run(main)
