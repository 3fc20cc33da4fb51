"""Measures every stage and annotating on a GPU, with Keras' JAX and PyTorch backends and plain PyTorch.

    pip install -e . 'jax[cuda12]' torch
    python -m experiments.benchmark_gpu
    python -m experiments.benchmark_gpu --minutes=8
    python -m experiments.benchmark_gpu --job=visual --job=annotate --batch_size=256

Uses random pixels, tags and features in memory, without reading and decoding. "PyTorch by hand" is a
channels-last, compiled ResNet-101 with the fusion of Fig. 4, written for PyTorch alone. For each job, every
backend runs in a process of its own and all take turns; the median of --repeats counts. From the speeds, the
time of the whole schedule on NUS-WIDE is computed. TensorFlow is not imported. --minutes begins with the most
important jobs, takes fewer turns, and skips jobs for which no time is left. It runs one backend unless some
are named.
"""

import contextlib
import importlib.util
import math
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor

from absl import flags

from msmm.core import command_line
from msmm.core.errors import UserError
from msmm.training.stage_table import PAPER_HEADS, PAPER_STAGES

ON_IMAGES = (*(name for name in PAPER_STAGES if name not in PAPER_HEADS), "features", "annotate")
JOBS = (*ON_IMAGES, *PAPER_HEADS)
BY_HAND = "PyTorch by hand"
# With --minutes: the order, and each job's share of the time. Compiling the jobs on images takes most of it.
SHARES = {
    "finetune": 6,
    "visual": 6,
    "annotate": 4,
    "features": 4,
    **dict.fromkeys(JOBS[len(ON_IMAGES) :], 1),
}

_JOB = flags.DEFINE_multi_enum("job", JOBS, JOBS, "What to measure; may be given several times.")
_BACKENDS = flags.DEFINE_multi_enum(
    "backend", ["jax", "torch"], ["jax", "torch", "tensorflow"], "Of Keras; may be given several times."
)
_BACKBONE = flags.DEFINE_string("backbone", "resnet101", "Of Keras; PyTorch by hand is always ResNet-101.")
_SIZE = flags.DEFINE_integer("image_size", 224, "Side of the images, pixels.", 32)
_PRECISION = flags.DEFINE_enum(
    "precision", "bfloat16", ["float32", "bfloat16", "float16"], "What layers compute in."
)
_BATCH = flags.DEFINE_integer("batch_size", 128, "Images per step.", 1)
_STEPS = flags.DEFINE_integer("steps", 10, "Steps per turn; on features ten times as many.", 1)
_REPEATS = flags.DEFINE_integer("repeats", 5, "Turns of each candidate that count; the median is printed.", 1)
_MINUTES = flags.DEFINE_float("minutes", None, "Time for everything; see above. [no limit]", 0.0)
_COMPILE = flags.DEFINE_boolean("compile", True, "Compile the plain PyTorch network.")
_MATRIX = flags.DEFINE_integer("matrix_size", 8192, "Side of the matrices whose products are the limit.", 16)


def main() -> None:
    from experiments.benchmarks import measuring
    from experiments.benchmarks.schedule import describe_schedule

    deadline = math.inf if _MINUTES.value is None else time.monotonic() + 60 * _MINUTES.value
    backends = _backends()
    print(measuring.describe_machine("keras", *backends))
    print(f"{_BACKBONE.value} at {_SIZE.value} px, {_PRECISION.value}, batches of {_BATCH.value}; median of")
    print(f"{_REPEATS.value} turns; share: of the rate at which the device multiplies matrices\n")
    columns = ["job, on", "images/s", "GFLOP per image", "share", "peak MiB", "device"]
    print(measuring.markdown_table(columns, []), flush=True)
    speeds, skipped = {}, []
    jobs = _JOB.value if _MINUTES.value is None else [job for job in SHARES if job in _JOB.value]
    for number, job in enumerate(jobs):
        left = deadline - time.monotonic()
        if number and left <= 0:
            skipped.append(job)
            continue
        share = SHARES[job] / sum(SHARES[later] for later in jobs[number:])
        speeds[job], facts = _measure(job, backends, left * share)
        for backend, speed in speeds[job].items():
            work, rate, peak, device = facts[backend]
            cells = [
                f"{speed:,.1f}",
                f"{work / 1e9:,.3f}",
                f"{speed * work / rate:.1%}",
                f"{peak:,.0f}",
                device,
            ]
            print(measuring.markdown_row([f"{job}, {backend}", *cells]), flush=True)
    if skipped:
        print(f"\nskipped, as no time was left: {', '.join(skipped)}")
    for backend in backends:
        by_job = {job: by_backend[backend] for job, by_backend in speeds.items()}
        print(f"\n{describe_schedule(by_job, backend)}")


def _backends() -> list[str]:
    """Returns the backends of Keras to measure: with --minutes, the first installed one unless named."""
    if _MINUTES.value is None or flags.FLAGS["backend"].present:
        return _BACKENDS.value
    installed = [backend for backend in _BACKENDS.value if importlib.util.find_spec(backend)]
    if not installed:
        raise UserError(f"expected one of {', '.join(_BACKENDS.value)}: pip install 'jax[cuda12]'")
    return installed[:1]


def _measure(job: str, backends: list[str], seconds: float) -> tuple[dict[str, float], dict[str, tuple]]:
    """Returns images/s and facts of a job, by backend, in about `seconds`."""
    from experiments.benchmarks import measuring

    deadline = time.monotonic() + seconds
    by_hand = [BY_HAND] if job in ON_IMAGES and importlib.util.find_spec("torch") else []
    steps = _STEPS.value * (1 if job in ON_IMAGES else 10)
    sizes = (
        _BACKBONE.value,
        _SIZE.value,
        _PRECISION.value,
        _BATCH.value,
        steps,
        _COMPILE.value,
        _MATRIX.value,
    )
    context = multiprocessing.get_context("spawn")
    with contextlib.ExitStack() as stack:
        processes = {}
        for backend in (*backends, *by_hand):
            given = (job, backend, *sizes)
            process = ProcessPoolExecutor(1, context, initializer=_start, initargs=given)
            processes[backend] = stack.enter_context(process)
        for started in [process.submit(_turn) for process in processes.values()]:
            started.result()  # they build and compile at the same time
        candidates = {name: lambda p=process: p.submit(_turn).result() for name, process in processes.items()}
        speed = measuring.measure_in_turn(candidates, _REPEATS.value, deadline - time.monotonic())
        return speed, {name: process.submit(_facts).result() for name, process in processes.items()}


# The functions below run in a backend's own process.

_process = {}


def _start(job: str, backend: str, *sizes) -> None:
    """Builds the step of the process; Keras reads the environment when it is imported."""
    os.environ["KERAS_BACKEND"] = "torch" if backend == BY_HAND else backend
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # other processes need memory too
    from experiments.benchmarks import gpu_jobs

    setup = gpu_jobs.Setup(job, *sizes)
    step, work = (gpu_jobs.torch_step if backend == BY_HAND else gpu_jobs.keras_step)(setup)
    _process.update(setup=setup, step=step, work=work)


def _turn() -> int:
    setup = _process["setup"]
    for _ in range(setup.steps):
        output = _process["step"]()
    float(output)  # waits for the device
    return setup.steps * setup.batch_size


def _facts() -> tuple[float, float, float, str]:
    """Returns operations per image and per second of matrix products, peak MiB, and the device."""
    from experiments.benchmarks import gpu_jobs, measuring

    peak, device = gpu_jobs.peak_memory()  # before the matrices take theirs
    setup = _process["setup"]
    return (
        _process["work"],
        measuring.measure_matrix_rate(setup.precision, setup.matrix_size, products=10),
        peak,
        device,
    )


if __name__ == "__main__":
    command_line.run(main)
