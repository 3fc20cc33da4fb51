"""Measures the speed of each stage, beside a plain Keras fit, PyTorch and the limit of the machine.

    python -m experiments.benchmark_training
    python -m experiments.benchmark_training --precision=bfloat16 --memory
    python -m experiments.benchmark_training --backbone=trunk.keras --batch_size=32

Uses random images, annotations and weights, which do not change the speed. All candidates take turns in one
process; the median of --repeats counts. "Plain fit" is `Model.fit` of backbone, fusion, MLP and classifier
together, on decoded images in memory. PyTorch, where it is installed, has the same networks, translated layer
by layer, the same batch size, loss and optimiser, channels last, on one batch in memory: it neither reads nor
decodes. The limit is the work of a stage (its products and convolutions) over the rate at which this machine
multiplies matrices of the same precision. Features that are computed once are float32 in any case. --memory
also runs each candidate in a process of its own.
"""

import importlib.util
import math
import multiprocessing
import os
import pathlib
import shutil
import tempfile
from concurrent.futures import ProcessPoolExecutor

from absl import flags

from msmm.core import command_line

MODES = ("eager", "compiled")
_BACKBONE = flags.DEFINE_string("backbone", "resnet101", "As the setting of that name.")
_SIZE = flags.DEFINE_integer("image_size", 224, "Side of the images, pixels.", 32)
_PRECISION = flags.DEFINE_enum(
    "precision", "float32", ["float32", "bfloat16", "float16"], "Of the stages; the plain fit is float32."
)
_BATCH = flags.DEFINE_integer("batch_size", 8, "Images per step, on images or their maps.", 1)
_STEPS = flags.DEFINE_integer("steps", 2, "Steps per turn, on images or their maps.", 1)
_REPEATS = flags.DEFINE_integer("repeats", 3, "Turns of each candidate that count; the median is printed.", 1)
_PYTORCH = flags.DEFINE_list(
    "pytorch", list(MODES), "How PyTorch runs the same steps, of eager and compiled; empty: it does not."
)
_STAGES = flags.DEFINE_list("stages", [], "Beginnings of names of stages, as finetune,visual. [all]")
_MEMORY = flags.DEFINE_boolean("memory", False, "Also peak memory of each candidate, in its own process.")


def main() -> None:
    modes = _pytorch_modes()  # PyTorch is looked for before TensorFlow's seconds
    command_line.import_tensorflow()
    from experiments.benchmarks import measuring, training

    sizes = _BACKBONE.value, _SIZE.value, _PRECISION.value, _BATCH.value, _STEPS.value
    setup = training.Setup(*sizes, modes)
    with tempfile.TemporaryDirectory() as folder:
        runs = training.make_runs(pathlib.Path(folder), setup)
        work, builders = training.count_operations(runs["images"]), training.make_candidates(setup, **runs)
        chosen = (training.PLAIN, *(_STAGES.value or [""]))
        candidates = {name: build() for name, build in builders.items() if name.startswith(chosen)}
        speed = measuring.measure_in_turn(candidates, _REPEATS.value)
    rates = {p: measuring.measure_matrix_rate(p) for p in ("float32", _PRECISION.value)}
    print(measuring.describe_machine("tensorflow", "keras", *(["torch"] if modes else [])))
    print(f"{_BACKBONE.value} at {_SIZE.value} px, stages in {_PRECISION.value}; 81 classes, 1,000 tags;")
    heads = training.HEAD_BATCH
    print(f"batches of {_BATCH.value}, on features {heads}; median of {_REPEATS.value} turns; matrices:")
    print(", ".join(f"{rate / 1e9:,.0f} GFLOP/s in {name}" for name, rate in rates.items()) + "\n")
    memory = _measure_memory(setup, candidates) if _MEMORY.value else {}
    rows = []
    for name in candidates:
        operations = work[training.stage_of(name)]
        limit = rates[training.precision_of(name, setup)] / operations
        share = [f"{operations / 1e9:.3g}", f"{speed[name] / limit:.0%}"]
        row = [
            f"{speed[name]:,.1f}",
            f"{speed[name] / speed[training.PLAIN]:,.2f}",
            *(["-", "-"] if math.isnan(operations) else share),
        ]
        rows.append([name, *row, *([f"{memory[name]:,.0f}"] if memory else [])])
    columns = [
        "",
        "images/s",
        "times plain",
        "GFLOP per image",
        "of the limit",
        *(["peak MiB"] if memory else []),
    ]
    print(measuring.markdown_table(columns, rows))
    if "classifier" in speed and training.THROUGH in speed:
        times = speed["classifier"] / speed[training.THROUGH]
        print(f"\nclassifier: on features {times:,.0f} times as fast as {training.THROUGH}")


def _pytorch_modes() -> tuple[str, ...]:
    """Returns the modes of --pytorch that can run here, and says which cannot."""
    from msmm.core.errors import UserError

    modes = tuple(_PYTORCH.value)
    if unknown := [mode for mode in modes if mode not in MODES]:
        raise UserError(f"expected --pytorch of {', '.join(MODES)}. Received: {unknown[0]!r}")
    if modes and not importlib.util.find_spec("torch"):
        print("PyTorch is not installed, and its rows are left out: pip install torch")
        return ()
    compilers = [os.environ.get("CXX"), "g++", "clang++"]
    if "compiled" in modes and not any(shutil.which(name) for name in compilers if name):
        print("torch.compile needs a C++ compiler, and its rows are left out: install g++")
        return tuple(mode for mode in modes if mode != "compiled")
    return modes


def _measure_memory(setup, candidates) -> dict[str, float]:
    """Returns the peak memory of each candidate, MiB, one process after another."""
    from experiments.benchmarks import training

    context, peaks = multiprocessing.get_context("spawn"), {}
    for name in candidates:
        with ProcessPoolExecutor(1, context) as process:
            peaks[name] = process.submit(training.measure_memory, setup, name).result()
    return peaks


if __name__ == "__main__":
    command_line.run(main)
