"""Measures time and memory of stages and compared methods against images, classes, tags and workers.

    python -m experiments.benchmark_scaling                                  NUS-WIDE's size, on features
    python -m experiments.benchmark_scaling --of=finetune --of=visual --steps=2      ResNet-101 at 224 px
    python -m experiments.benchmark_scaling --of=finetune --steps=2 --recompute
    python -m experiments.benchmark_scaling --of=finetune --of=visual --steps=3 --workers=1,2
    python -m experiments.benchmark_scaling --of=sinn --of=ria --steps=200
    python -m experiments.benchmark_scaling --images=20000,40000,80000 --classes=81,324 --tags=1000,4000

Trains on random rows. The first values of --images, --classes, --tags and --workers make the first case;
every other case changes one of them. Each case is a process of its own, which trains an epoch and evaluates
on the held-out images; "-" workers are one process on all cores. "s per epoch" is wall-clock time, "core s"
the time of all cores together, which other work on the machine hardly changes. "Peak" is the peak memory of a
process, of several workers the largest; "own" is the same without mapped files, whose pages the system can
take back. "Loss" is the loss of the last step, equal for any number of workers.
"""

import contextlib
import json
import multiprocessing
import os
import socket
import tempfile
from concurrent.futures import ProcessPoolExecutor

from absl import flags

from experiments.benchmarks.scaling import (
    METHODS,
    Case,
    Cost,
    check_case,
    make_cases,
    measure_case,
    prepare_case,
    table_row,
)
from msmm.core import command_line
from msmm.core.errors import UserError
from msmm.training.stage_table import ON_PIXELS, PAPER_HEADS

_OF = flags.DEFINE_multi_enum(
    "of", PAPER_HEADS, ON_PIXELS + PAPER_HEADS + METHODS, "What to train; may be given several times."
)
_IMAGES = flags.DEFINE_list("images", ["150000"], "Numbers of training images.")
_CLASSES = flags.DEFINE_list("classes", ["81"], "Numbers of classes.")
_TAGS = flags.DEFINE_list("tags", ["1000"], "Numbers of tags.")
_WORKERS = flags.DEFINE_list(
    "workers",
    [],
    "Numbers of processes that share each batch of finetune or visual, a core each. [all cores]",
)
_WIDTH = flags.DEFINE_integer("feature_size", 2048, "Numbers in f_v, and in f_t; a multiple of 32.", 32)
_BACKBONE = flags.DEFINE_string("backbone", "resnet101", "The trunk of the stages on images.")
_IMAGE_SIZE = flags.DEFINE_integer("image_size", 224, "Side of their images, pixels.", 32)
_STEPS = flags.DEFINE_integer(
    "steps", None, "Stop the epoch after so many steps, and compute its time from them.", 2
)
_PRECISION = flags.DEFINE_enum("precision", "float32", ["float32", "bfloat16"], "What layers compute in.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 32, "Images of a step, over all workers.", 1)
_RECOMPUTE = flags.DEFINE_bool(
    "recompute", False, "Compute activations again for the gradients instead of keeping them."
)
_FOLDER = flags.DEFINE_string("folder", None, "Folder for temporary files. [the system's]")


def main() -> None:
    from experiments.benchmarks import measuring

    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    all_cases = _list_cases()
    for case in all_cases:
        check_case(case, len(cores))
    context = multiprocessing.get_context("spawn")
    columns = ["of", "images", "classes", "tags", "workers", "s per epoch", "core s", "µs per image"]
    columns += ["peak MiB", "own MiB", "loss"]
    print(measuring.describe_machine("tensorflow", "keras") + f"; features of {_WIDTH.value:,} numbers\n")
    print(measuring.markdown_table(columns, []), flush=True)
    for case in all_cases:
        with tempfile.TemporaryDirectory(dir=_FOLDER.value) as folder:
            with ProcessPoolExecutor(1, context) as process:
                process.submit(prepare_case, case, folder).result()
            print(measuring.markdown_row(table_row(case, _measure(case, folder, context, cores))), flush=True)


def _list_cases() -> list[Case]:
    images, classes, tags, workers = (_numbers(flag) for flag in (_IMAGES, _CLASSES, _TAGS, _WORKERS))
    all_cases = []
    for name in _OF.value:
        first = Case(
            name,
            images[0],
            classes[0],
            tags[0],
            _WIDTH.value,
            _STEPS.value,
            _PRECISION.value,
            _BATCH_SIZE.value,
            _RECOMPUTE.value,
            workers[0] if workers else None,
            _BACKBONE.value,
            _IMAGE_SIZE.value,
        )
        all_cases += make_cases(
            first, images=images[1:], classes=classes[1:], tags=tags[1:], workers=workers[1:]
        )
    return all_cases


def _measure(case: Case, folder: str, context, cores: list[int]) -> list[Cost]:
    """Measures each worker of a case, all at once in fresh processes; or one process on all cores."""
    addresses = _free_addresses(case.workers or 1)
    with contextlib.ExitStack() as stack:
        costs = []
        for number in range(len(addresses)):
            place = (_take_place, (addresses, number, cores[number])) if case.workers else ()
            process = stack.enter_context(ProcessPoolExecutor(1, context, *place))
            costs.append(process.submit(measure_case, case, folder))
        return [cost.result() for cost in costs]


def _take_place(addresses: list[str], number: int, core: int) -> None:
    """Makes this process a worker, on a core of its own: TensorFlow then has one thread."""
    os.sched_setaffinity(0, {core})
    cluster = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": number}}
    os.environ["TF_CONFIG"] = json.dumps(cluster)


def _free_addresses(count: int) -> list[str]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]


def _numbers(flag) -> list[int]:
    try:
        return [int(number) for number in flag.value]
    except ValueError as error:
        raise UserError(f"expected numbers in --{flag.name}. Received: {','.join(flag.value)}") from error


if __name__ == "__main__":
    command_line.run(main)
