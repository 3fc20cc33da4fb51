"""Trains the stages of Algorithm 1 on a packed data set.

    python -m msmm.train                                  everything, on the drawn data set `scenes`
    python -m msmm.train --dataset=my_library             everything, on your own photographs
    python -m msmm.train --stage=visual                   MS-CNN, and first the CNN that it starts from
    python -m msmm.train --dataset=nus_wide --stage=all --weights=resnet101.h5
    python -m msmm.train --stage=textual --textual_epochs=40 --restart

    python -m msmm.train --stage=joint                    beyond the paper: all parts at once, by one loss
    python -m msmm.train --method=warp                    a baseline of Tables III and IV

    python -m msmm.train --stage=all --distribute=mirrored        on every GPU of this machine
    python -m msmm.train --stage=all --distribute=multi_worker    on every machine of TF_CONFIG's cluster

Without --stage, or with `--stage=all`, it trains the stages of Algorithm 1 and quantity_visual, the regressor
without tags of Tables I and V. With --groups it also trains a third branch, of the data set's groups. A
finished stage is kept, an interrupted stage continues. Watch it with `tensorboard --logdir=runs`.

The finished model of your own data set is compared with the starter model of the package. The line `starter:`
has the figures on the test images, for the labels that both have.
"""

import pathlib

from absl import flags

from msmm import run_flags
from msmm.configs.baselines import baseline_implementations
from msmm.configs.modern import head_methods
from msmm.core import command_line
from msmm.core.errors import UserError
from msmm.training.stage_table import JOINT, STAGES, paper_stages

BASELINES = (*baseline_implementations(), *head_methods())
DISTRIBUTIONS = ("mirrored", "multi_worker")
_STAGE = flags.DEFINE_enum("stage", None, [*STAGES, "all"], "The stage to train. [all]")
_METHOD = flags.DEFINE_enum("method", None, BASELINES, "The baseline to train, instead of a stage.")
_RESTART = flags.DEFINE_boolean(
    "restart", False, "Discard earlier results of the stage; with all, of every stage."
)
_DISTRIBUTE = flags.DEFINE_enum(
    "distribute",
    None,
    DISTRIBUTIONS,
    "Share the steps of the stages that train on images, finetune and visual: mirrored, among this machine's "
    "GPUs; multi_worker, among the machines of TF_CONFIG. The first of them writes --workdir, and all read "
    "it. Losses equal the losses of one process with the same --batch_size.",
)
run_flags.define_run_flags()
run_flags.define_setting_flags()


def main() -> None:
    if _STAGE.value and _METHOD.value:
        raise UserError(
            f"expected --stage, one of all, {', '.join(STAGES)}; or else --method, one of "
            f"{', '.join(BASELINES)}; not both"
        )
    if not _DISTRIBUTE.value:
        return _train()
    settings = run_flags.read_config()
    command_line.import_tensorflow()
    from msmm.training import stages
    from msmm.training.distribution import Distribution, cluster_errors

    with cluster_errors():
        distribution = Distribution(_DISTRIBUTE.value, settings)
        if not distribution.is_chief:
            stages.follow_chief(run_flags.open_run, distribution)
            print(f"worker {distribution.share.index}: done")
            return None
        try:
            _train(distribution)
        except UserError:
            distribution.broadcast_done()
            raise
        distribution.broadcast_done()


def _train(distribution=None) -> None:
    run = run_flags.open_run()
    if "test" not in run.dataset.splits:
        raise UserError(
            f"the data set {run.dataset.name!r} has no split test, on which a model is measured before it is "
            "written: pack it again with some"
        )
    from msmm.training import stages

    paper = paper_stages(run.dataset.arrays)
    stage = _STAGE.value or _METHOD.value or "all"
    wanted = paper if stage == "all" else (str(stage),)
    for stage in wanted:
        stages.train(run, stage, _RESTART.value, distribution)
    if not _METHOD.value:
        model = _save_model(run)
        print(f"model:       {model}", flush=True)
        if isinstance(model, pathlib.Path) and (compared := _compare_with_starter(run)):
            print(f"starter:     {compared}")
    print(f"work:        {run.directory}")
    print(f"tensorboard: tensorboard --logdir={run.directory}")


def _compare_with_starter(run) -> str | None:
    """Returns a sentence on the finished model beside the starter model, or None where there is none."""
    from msmm.training import starter_comparison

    return starter_comparison.compare_with_starter(run.with_joint_parts() if _STAGE.value == JOINT else run)


def _save_model(run):
    """Writes the finished model, ready to annotate, and returns its path, or the reason why there is none."""
    from msmm.training import table_predictions

    if not run.dataset.has_images:
        return "none: the data set has no images, which a model annotates"
    joint = _STAGE.value == JOINT
    paper = paper_stages(run.dataset.arrays)
    missing = [stage for stage in paper if not joint and not run.stage_record(stage)]
    if missing:
        return f"not before {', '.join(missing)} have finished"
    model = table_predictions.save_model(run.with_joint_parts() if joint else run)
    if not model:
        return "none with --groups: msmm.annotate has no groups as input"
    return model


if __name__ == "__main__":
    command_line.run(main)
