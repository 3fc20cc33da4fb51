"""Measures the speed of annotating: our engines beside other runtimes.

    python -m experiments.benchmark_inference
    python -m experiments.benchmark_inference --model=runs/scenes/seed0/model --nopeers
    python -m experiments.benchmark_inference --model=MODEL --dataset=openclipart_noleak

Measures images per second of a network on random pixels, in batches of 1 and 8. All candidates take turns,
and the median counts. Without --model the network is the paper's: ResNet-101 at 224 pixels, 81 labels, 1,000
tags, random weights. The peers of a ResNet-101 include the same network in PyTorch. With --dataset the
engines also annotate its test images in turn; the table counts the images with the labels of Keras in
float32.

Runtimes that are not installed are left out: pip install 'msmm[onnx,openvino,litert]' torch
"""

import contextlib
import pathlib
import tempfile

from absl import flags

from msmm.core import command_line
from msmm.core.errors import UserError

_MODEL = flags.DEFINE_string("model", None, "Model directory. [a ResNet-101 with random weights]")
_PEERS = flags.DEFINE_bool("peers", True, "Also measure other runtimes.")
_BATCHES = flags.DEFINE_list("batches", ["1", "8"], "Images per batch.")
_REPEATS = flags.DEFINE_integer("repeats", 5, "Rounds in which all take turns.", lower_bound=1)
_DATASET = flags.DEFINE_string("dataset", None, "Data set to compare labels on; needs --model.")
_DATA_DIR = flags.DEFINE_string("data_dir", "data", "Where packed data sets are.")
_IMAGES = flags.DEFINE_integer("images", None, "Number of images to compare labels on. [all]", lower_bound=1)
_TAGS = flags.DEFINE_bool("with_tags", True, "Whether the images of --dataset have their tags.")
LABELS, TAGS = 81, 1000  # of NUS-WIDE


def main() -> None:
    if _DATASET.value and not _MODEL.value:
        raise UserError("--dataset compares labels, which random weights choose at random: give a --model")
    if not all(batch.isdigit() and int(batch) for batch in _BATCHES.value):
        raise UserError(f"expected numbers of images in --batches, got {','.join(_BATCHES.value)}")
    command_line.import_tensorflow()
    from experiments.benchmarks import inference, measuring
    from msmm.inference import model_dir

    with contextlib.ExitStack() as stack:
        directory = _MODEL.value or inference.random_model(
            pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory())), LABELS, TAGS
        )
        model = model_dir.load(directory)
        candidates = {inference.KERAS: inference.keras_candidate(model)} | inference.engine_candidates(
            directory
        )
        if _PEERS.value and _BATCHES.value:
            candidates |= inference.peer_candidates(directory, model)
        packages = inference.installed_packages(
            "tensorflow", "keras", "openvino", "onnxruntime", "ai-edge-litert", "torch"
        )
        print(f"{measuring.describe_machine(*packages)}\n{_describe(model)}\n")
        if _BATCHES.value:
            print(
                inference.speed_table(
                    candidates, model, [int(batch) for batch in _BATCHES.value], _REPEATS.value
                )
            )
        if _DATASET.value:
            from msmm.data import records
            from msmm.photos.batches import BATCH

            dataset = records.open_dataset(pathlib.Path(_DATA_DIR.value), _DATASET.value)
            batch = max(map(int, _BATCHES.value), default=BATCH)
            print(f"\n{inference.agreement_table(directory, dataset, _IMAGES.value, batch, _TAGS.value)}")


def _describe(model) -> str:
    name = (
        f"{model.info.get('dataset')}, {model.info['settings']['backbone']}" if _MODEL.value else "ResNet-101"
    )
    sizes = f"{model.image_size} px, {len(model.labels)} labels, {len(model.tags):,} tags"
    return f"{name} at {sizes}; images per second"


if __name__ == "__main__":
    command_line.run(main)
