"""Compares choices that the paper leaves open.

    python -m experiments.ablation --of=k                      lists of 1, 2, … labels; trains nothing more
    python -m experiments.ablation --of=rounding               of the predicted quantity; trains nothing more
    python -m experiments.ablation --of=textual_dropout        0 and 0.5 in the textual MLP
    python -m experiments.ablation --of=weight_decay           0, 0.0001, 0.0003 and, literally, 0.9997
    python -m experiments.ablation --of=bn_decay               0.9997, with new statistics, and 0.99
    python -m experiments.ablation --of=classifier_loss        eq. 4, and asymmetric losses (beyond the paper)
    python -m experiments.ablation --of=visual_fusion          eq. 2-3, and controls without smaller scales
    python -m experiments.ablation --of=class_tags --dataset=nus_wide --dataset_without=nus_wide_ablation

Other settings train in runs/<dataset>/ablation/, with copies of the stages that they do not change. Choice
class_tags compares two packed data sets, the second one packed with --drop_class_tags.
"""

import pathlib

from absl import flags

from msmm import run_flags
from msmm.core import command_line
from msmm.core.errors import UserError

CHOICES = (
    "k",
    "rounding",
    "textual_dropout",
    "weight_decay",
    "bn_decay",
    "classifier_loss",
    "visual_fusion",
    "class_tags",
)
_OF = flags.DEFINE_enum("of", None, CHOICES, "The choice.", required=True)
_WITHOUT = flags.DEFINE_string("dataset_without", None, "For class_tags: the data set without these tags.")
run_flags.define_experiment_flags()


def main() -> None:
    of = _OF.value
    if (of == "class_tags") != (_WITHOUT.value is not None):
        raise UserError(
            f"expected --dataset_without with --of=class_tags, and only then. Received: --of={of} and "
            f"--dataset_without={_WITHOUT.value}"
        )
    runs = run_flags.open_runs()
    from experiments.sections import ablations
    from experiments.sections.study import train_and_measure

    study = train_and_measure(runs)
    if of == "class_tags":
        section = ablations.class_tags_section(study, train_and_measure(_runs_without(runs)))
    elif of == "k":
        section = ablations.fixed_length_section(study)
    elif of == "rounding":
        section = ablations.rounding_section(study)
    else:
        section = ablations.settings_section(of, study)
    page = study.make_report(f"{of} on {study.run.dataset.name}", [section], command_line.command())
    study.publish(page, f"ablation_{of}")


def _runs_without(runs: list) -> list:
    """Returns the same runs on the other data set, in a work directory beside theirs."""
    from msmm.data import records
    from msmm.training.run import Run

    dataset = records.open_dataset(pathlib.Path(command_line.FLAGS.data_dir), _WITHOUT.value)
    return [Run(run.workdir.parent / dataset.name, dataset, run.config, run.seed) for run in runs]


if __name__ == "__main__":
    command_line.run(main)
