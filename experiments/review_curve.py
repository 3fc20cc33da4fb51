"""Measures how much a reviewer's corrections improve the next model (beyond the paper).

    python -m experiments.review_curve                                              on scenes
    python -m experiments.review_curve --dataset=my_library --labelled=300 --draws=10

A simulated reviewer gives photographs their true labels, as a person does with `msmm.app --photos`. The
photographs are those that the model is least sure of, or a random choice. At first, only --labelled training
images have labels; the others do not train. After 50, 100 and 200 corrections (--corrections), the model is
fitted again and measured on the test images. Every draw chooses other labelled images.

A model is a head on features of the pretrained backbone. They are computed once, and shared with the method
CNN+logistic (python -m msmm.train --method=logistic). Without pretrained weights (--weights=none), stage
finetune must be trained; its features have seen all labels, so the gains are too small. The report is in
runs/<dataset>/review_curve/.
"""

from absl import flags

from msmm import run_flags
from msmm.core import command_line
from msmm.core.errors import UserError

_LABELLED = flags.DEFINE_integer("labelled", 200, "Training images with labels at first.", lower_bound=2)
_CORRECTIONS = flags.DEFINE_list("corrections", ["50", "100", "200"], "Numbers of corrected photographs.")
_DRAWS = flags.DEFINE_integer("draws", 5, "How many draws of the labelled images.", lower_bound=1)
run_flags.define_run_flags()
run_flags.define_setting_flags()


def main() -> None:
    corrections = _read_corrections()
    run = run_flags.open_run()
    from experiments.reporting.report import Report
    from experiments.sections import review
    from experiments.sections.study import package_versions, publish

    data = review.read_review_data(run)
    figures = review.simulate_review(data, _LABELLED.value, corrections, _DRAWS.value)
    description = (
        f"{run.dataset.name}, {_LABELLED.value:,} labelled of {len(data.pool):,} training images, "
        f"{len(data.test_labels):,} test images, {data.labels.shape[1]} classes, {_DRAWS.value} draws"
    )
    notes = [
        f"Features of {data.source}. The penalty of each model is chosen on "
        f"{len(data.held_out):,} held-out images, which are labelled in every model."
    ]
    page = Report(
        title=f"Corrections and the next model: {run.dataset.name}",
        tables=review.curve_tables(figures, corrections, description),
        figures=[review.curve_figure(figures, corrections)],
        notes=notes,
        versions=package_versions(),
        command=command_line.command(),
    )
    publish(page, run.workdir, "review_curve")


def _read_corrections() -> list[int]:
    values = _CORRECTIONS.value
    if not values or not all(text.strip().isdecimal() and int(text) > 0 for text in values):
        raise UserError(f"expected --corrections as 50,100,200. Received: {','.join(values)!r}")
    return sorted({int(text) for text in values})


if __name__ == "__main__":
    command_line.run(main)
