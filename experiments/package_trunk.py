"""Writes the fine-tuned trunk of a run as a backbone of the package (`--backbone=photos`).

    python -m experiments.package_trunk --dataset=coco_photos_noleak --config=coco_photos \
        --backbone=efficientnet_lite0_imagenet.keras --output=msmm/models/trunks/photos.npz

The backbone must be a saved .keras file or resnet-D-D-D-D-wW: their preprocessing is part of the network or a
key. Kernels become float16; the command prints how much the maps of a drawn image change.
"""

from absl import flags

from msmm import run_flags
from msmm.core import command_line
from msmm.core.errors import UserError

_OUTPUT = flags.DEFINE_string("output", None, "The .npz file.", required=True)
run_flags.define_run_flags("coco_photos_noleak")
run_flags.define_setting_flags()


def main() -> None:
    run = run_flags.open_run()
    import keras
    import numpy as np

    from msmm.models import packaged
    from msmm.training import model_parts

    run = run.with_recorded_settings(["finetune"])
    kind = run.config.preprocessing
    if kind == "auto":  # as backbone.build resolves it
        kind = "none" if run.config.backbone.endswith(".keras") else "caffe"
        if kind == "caffe" and not run.config.backbone.startswith("resnet-"):
            raise UserError(
                "expected --backbone as a .keras file or resnet-D-D-D-D-wW, or --preprocessing. Received: "
                f"{run.config.backbone}"
            )
    backbone = model_parts.load_part(run, "backbone")
    maps = backbone.get_layer("maps")
    trunk = keras.Model(maps.input, maps.outputs[-1], name="photos")
    taps = tuple(output._keras_history.operation.name for output in maps.outputs)
    packaged.write_trunk(_OUTPUT.value, trunk, kind, taps)
    image = np.random.default_rng(0).uniform(0, 255, (4, *backbone.input_shape[1:])).astype(np.float32)
    before = backbone.predict_on_batch(image)[-1]
    trunk.set_weights([_as_written(w) for w in trunk.get_weights()])
    change = np.abs(backbone.predict_on_batch(image)[-1] - before).max() / np.abs(before).max()
    print(f"wrote {_OUTPUT.value}: M_5 of an image of noise changes by {change:.1e} of its largest value")


def _as_written(value):
    import numpy as np

    return value.astype(np.float16).astype(np.float32) if value.ndim > 1 else value


if __name__ == "__main__":
    command_line.run(main)
