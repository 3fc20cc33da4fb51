"""How fast a model annotates: our engines beside what people would use instead.

    python -m experiments.benchmark_inference
    python -m experiments.benchmark_inference --model=runs/scenes/seed0/model --nopeers
    python -m experiments.benchmark_inference --model=MODEL --dataset=openclipart_noleak

Images a second of a network, on random pixels, in batches of 1 and 8: all take turns, and what counts is the
median. Without --model it is the paper's: ResNet-101 at 224 pixels, 81 labels, 1,000 tags, random weights.
Peers of a ResNet-101 are the same network written in PyTorch, too. With --dataset the engines annotate its
test images, in turn, too, and it says on how many each chooses the labels that Keras chooses in float32.

What is not installed is left out: pip install 'msmm[onnx,openvino,litert]' torch
"""

import contextlib
import pathlib
import tempfile

from absl import flags

from msmm.core import command_line
from msmm.core.errors import UserError

_MODEL = flags.DEFINE_string("model", None, "Model directory. [a ResNet-101 with random weights]")
_PEERS = flags.DEFINE_bool("peers", True, "Also run what people would use instead.")
_BATCHES = flags.DEFINE_list("batches", ["1", "8"], "Images of a batch.")
_REPEATS = flags.DEFINE_integer("repeats", 5, "Rounds in which all take turns.", lower_bound=1)
_DATASET = flags.DEFINE_string("dataset", None, "Data set to compare labels on; needs --model.")
_DATA_DIR = flags.DEFINE_string("data_dir", "data", "Where packed data sets are.")
_IMAGES = flags.DEFINE_integer("images", None, "How many to compare labels on. [all]", lower_bound=1)
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
        ways = {inference.KERAS: inference.keras(model)} | inference.ours(directory)
        if _PEERS.value and _BATCHES.value:
            ways |= inference.peers(directory, model)
        packages = inference.installed(
            "tensorflow", "keras", "openvino", "onnxruntime", "ai-edge-litert", "torch"
        )
        print(f"{measuring.machine(*packages)}\n{_what(model)}\n")
        if _BATCHES.value:
            print(inference.speeds(ways, model, [int(batch) for batch in _BATCHES.value], _REPEATS.value))
        if _DATASET.value:
            from msmm.data import records
            from msmm.photos.batches import BATCH

            dataset = records.open_dataset(pathlib.Path(_DATA_DIR.value), _DATASET.value)
            batch = max(map(int, _BATCHES.value), default=BATCH)
            print(f"\n{inference.agreement(directory, dataset, _IMAGES.value, batch, _TAGS.value)}")


def _what(model) -> str:
    name = (
        f"{model.info.get('dataset')}, {model.info['settings']['backbone']}" if _MODEL.value else "ResNet-101"
    )
    sizes = f"{model.image_size} px, {len(model.labels)} labels, {len(model.tags):,} tags"
    return f"{name} at {sizes}; images a second"


if __name__ == "__main__":
    command_line.run(main)
