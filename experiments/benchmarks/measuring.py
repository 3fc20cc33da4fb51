"""Shared functions of the benchmarks: timing in turn, the machine, its matrix rate, operations, memory.

Runs on any Keras backend, which is chosen when a function first needs it.
"""

import importlib.metadata
import itertools
import math
import os
import pathlib
import platform
import re
import statistics
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from msmm.core.progress import ProgressBar

if TYPE_CHECKING:
    import keras


def measure_in_turn(
    candidates: Mapping[str, Callable[[], int]], repeats: int, seconds: float = math.inf
) -> dict[str, float]:
    """Measures images per second of every candidate: the median of `repeats` rounds in which all take turns.

    A candidate does its work and returns its number of images. The first call of each does not count. After
    `seconds`, no further round begins; one round counts in any case.
    """
    spent = {name: [] for name in candidates}
    turns = list(itertools.product(range(1 + repeats), candidates))
    deadline = time.perf_counter() + seconds
    with ProgressBar(description="measuring", total=len(turns), unit="turns") as bar:
        for turn, name in turns:
            started = time.perf_counter()
            if started > deadline and turn > 1 and name == turns[0][1]:
                break
            bar.note(name)
            started = time.perf_counter()
            images = candidates[name]()
            if turn:
                spent[name].append((time.perf_counter() - started) / images)
            bar.update()
    return {name: 1 / statistics.median(seconds) for name, seconds in spent.items()}


def describe_machine(*packages: str) -> str:
    """Returns a line with the processor, its cores, and the versions of Python and of packages."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    info = pathlib.Path("/proc/cpuinfo")
    text = info.read_text() if info.exists() else ""
    name = re.search(r"model name\s*: (.+)", text)
    bits = [
        flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if re.search(rf"\b{flag}\b", text)
    ]
    words = [name[1] if name else platform.machine(), f"{cores} cores", *bits]
    words += [f"Python {platform.python_version()}"]
    return ", ".join([*words, *map(_version, packages)])


def _version(package: str) -> str:
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        return f"no {package}"


def measure_matrix_rate(
    precision: str = "float32", size: int = 2048, products: int = 1, rounds: int = 7
) -> float:
    """Measures floating-point operations per second of products of square matrices, the median of rounds."""
    import keras

    rng = np.random.default_rng(0)
    a, b = (keras.ops.cast(rng.random((size, size), np.float32), precision) for _ in range(2))
    spent = []
    for _ in range(1 + rounds):
        started = time.perf_counter()
        for _ in range(products):
            c = keras.ops.matmul(a, b)
        keras.ops.convert_to_numpy(keras.ops.cast(c[0, 0], "float32"))  # waits for it
        spent.append(time.perf_counter() - started)
    return 2 * products * size**3 / statistics.median(spent[1:])


def forward_operations(model: "keras.Model") -> float:
    """Counts floating-point operations per image of the products and convolutions of a network.

    An addition and a multiplication are two operations. The count is nan where a layer cannot be counted.
    """
    return sum(_layers(model))


def training_operations(model: "keras.Model") -> float:
    """Counts floating-point operations per image of a training step.

    A step has the forward pass and, for each layer, gradients by the weights and by the input. The first
    layer needs no gradient by its input.
    """
    work = _layers(model)
    return 3 * sum(work) - work[0]


def _layers(model: "keras.Model") -> list[float]:
    import keras

    work = []
    for layer in model.layers:
        if hasattr(layer, "layers"):
            if None in layer.inputs[0].shape[1:]:  # made for images of any size
                layer = keras.models.clone_model(layer, keras.Input(model.inputs[0].shape[1:]))
            work += _layers(layer)
        elif hasattr(layer, "kernel"):
            transposed = isinstance(layer, keras.layers.Conv2DTranspose)  # a product for each place it reads
            places = (layer.input if transposed else layer.output).shape[1:-1]
            work.append(2 * int(np.prod(layer.kernel.shape)) * int(np.prod(places)))
        elif any(weights.ndim > 1 for weights in layer.weights):
            work.append(math.nan)  # a layer with products of its own kind, such as a transformer's block
    return work


def describe_feeding(fed: float, steps: float) -> str:
    """Describes the pipeline's speed by images/s of a training that it feeds, and of its steps alone."""
    if fed >= 0.99 * steps:  # turns differ by more
        return "costs less than can be measured"
    feeding = 1 / (1 / fed - 1 / steps)
    return f"feeds {feeding:,.0f} images/s, {feeding / steps:.1f} times what the training takes"


class Memory:
    """Peak memory of this process, MiB: `peak` in all, `own` without mapped files while the context lasts."""

    def __enter__(self):
        self.peak = self.own = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        status = pathlib.Path("/proc/self/status")
        while True:
            over = self._over.wait(0.02)
            if status.exists():
                held = dict(re.findall(r"(\w+):\s+(\d+) kB", status.read_text()))
                self.peak = int(held["VmHWM"]) / 2**10
                self.own = max(self.own, int(held["RssAnon"]) / 2**10)
            elif over:  # not on Linux: the most in all is known
                import resource

                self.peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
            if over:
                return


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a Markdown table; the first column is text, the others are numbers."""
    return "\n".join(
        [
            markdown_row(columns),
            markdown_row(["---", *["---:"] * (len(columns) - 1)]),
            *map(markdown_row, rows),
        ]
    )


def markdown_row(cells: Sequence[str]) -> str:
    """Returns a row of a Markdown table."""
    return f"| {' | '.join(cells)} |"
