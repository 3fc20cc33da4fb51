"""Measures CNN on images larger or smaller than those it was trained on.

    python -m experiments.image_sizes --dataset=my_photos --sizes=224,256,288,320

Beyond the paper. The trunk and the head of stage finetune, which must have finished, stay as they are; only
the size of the images changes. The held-out figures are for choosing a size, the test figures stand beside.
"""

import dataclasses

from absl import flags

from msmm import run_flags
from msmm.core import command_line
from msmm.core.errors import UserError

_SIZES = flags.DEFINE_list("sizes", ["224", "256", "288", "320"], "Sides of the images, pixels.")
_BATCH = 32  # images
_FIGURES = ("mAP", "H-F1")
run_flags.define_run_flags()
run_flags.define_setting_flags()


def main() -> None:
    if not all(size.isdigit() and int(size) >= 32 for size in _SIZES.value):
        raise UserError(f"expected --sizes of whole numbers from 32. Received: {','.join(_SIZES.value)}")
    run = run_flags.open_run().with_recorded_settings(["finetune"])
    import numpy as np

    from experiments.benchmarks.measuring import markdown_table

    every = np.arange(run.dataset.num_examples("test"))
    splits = {"held-out": ("train", run.held_out_rows), "test": ("test", every)}
    rows = []
    for size in map(int, _SIZES.value):
        figures = [_measure(run, size, *split) for split in splits.values()]
        rows.append([str(size), *(f"{of_split[name]:.1f}" for of_split in figures for name in _FIGURES)])
    columns = [f"{split} {name}" for split in splits for name in _FIGURES]
    print(markdown_table(["image size, px", *columns], rows))
    trained_at, k = run.config.image_size, run.config.k
    print(f"\nCNN of {run.dataset.name}, trained at {trained_at} px; mAP and H-F1 at top {k}, percent")


def _measure(run, size: int, split: str, rows) -> dict[str, float]:
    """Returns the figures of CNN on some images of a split, at a size."""
    import keras
    import numpy as np

    from msmm.core.progress import ProgressBar
    from msmm.data.input_pipeline import Images
    from msmm.scoring.predictions import Predictions, choose_labels
    from msmm.training import model_parts, selection

    config = dataclasses.replace(run.config, image_size=size, weights="none", precision="float32")
    backbone = model_parts.build_backbone(config)
    model_parts.load_part_weights(backbone, run.stage_directory("finetune"), "backbone")
    network = model_parts.build_pooled_model(backbone, model_parts.load_part(run, "cnn_head"))
    logits = []
    with ProgressBar(description=f"{size} px, {split}", total=len(rows), unit="images") as bar:
        for images in Images(run.dataset, split, size, cache_gib=0).ordered(_BATCH, rows=rows):
            logits.append(keras.ops.convert_to_numpy(network.predict_on_batch(images)))
            bar.update(len(images))
    scores = np.concatenate(logits)
    truth = run.split(split).labels[rows]
    return selection.held_out_figures(truth, choose_labels(Predictions(scores), run.config.k), scores)


if __name__ == "__main__":
    command_line.run(main)
