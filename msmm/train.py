"""Trains the stages of Algorithm 1 on a packed data set.

    python -m msmm.train --stage=all                      everything, on the drawn data set `scenes`
    python -m msmm.train --stage=visual                   MS-CNN, and first the CNN that it starts from
    python -m msmm.train --dataset=nus_wide --stage=all --weights=resnet101.h5
    python -m msmm.train --stage=textual --textual_epochs=40 --restart

    python -m msmm.train --stage=joint                    beyond the paper: all parts at once, by one loss
    python -m msmm.train --method=warp                    a method of Tables III and IV

Stages: finetune, visual, textual, classifier, quantity (and quantity_visual, the regressor without tags of
Tables I and V); with --groups also a third branch, of the data set's groups. A finished stage is left alone,
an interrupted one goes on. Watch it with `tensorboard --logdir=runs`.
"""

from absl import flags

from msmm import command_line
from msmm.configs import base

STAGES = ("finetune", "visual", "textual", "classifier", "quantity", "quantity_visual")
METHODS = (
    "logistic", "softmax", "warp", "cnn_rnn", "ria", "tag_neighbour", "sinn", "sr_cnn_rnn",
)  # fmt: skip
_STAGE = flags.DEFINE_enum("stage", None, [*STAGES, "all", "joint"], "The stage to train.")
_METHOD = flags.DEFINE_enum("method", None, METHODS, "The compared method to train, instead of a stage.")
flags.mark_flags_as_mutual_exclusive(["stage", "method"], required=True)
_RESTART = flags.DEFINE_boolean(
    "restart", False, "Discard what the stage has done before; with all, every stage."
)
command_line.define_run_flags()
command_line.define_dataclass_flags(base.Config)


def main() -> None:
    run = command_line.open_run()
    from msmm import stages, variants

    wanted = STAGES if _STAGE.value == "all" else (_STAGE.value or _METHOD.value,)
    for stage in wanted:
        stages.train(run, stage, _RESTART.value)
    if _STAGE.value == "joint":
        print(f"model:       {variants.save_model(run.of_joint())}")
    elif _STAGE.value:
        missing = [stage for stage in STAGES if not run.stage_record(stage)]
        model = f"not before {', '.join(missing)} have finished" if missing else variants.save_model(run)
        print(f"model:       {model or 'none with --groups: msmm.annotate knows no groups'}")
    print(f"work:        {run.directory}")
    print(f"tensorboard: tensorboard --logdir={run.directory}")


if __name__ == "__main__":
    command_line.run(main)
