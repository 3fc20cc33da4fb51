"""What stages and compared methods cost: time and memory against images, classes and tags.

    python -m experiments.benchmark_scaling                                  NUS-WIDE's size, on features
    python -m experiments.benchmark_scaling --of=finetune --of=visual --steps=2      ResNet-101 at 224 px
    python -m experiments.benchmark_scaling --of=finetune --steps=2 --recompute
    python -m experiments.benchmark_scaling --of=sinn --of=ria --steps=200
    python -m experiments.benchmark_scaling --images=20000,40000,80000 --classes=81,324 --tags=1000,4000

On random rows. The first of --images, --classes and --tags is the size from which one is changed at a time.
Each case is a process of its own, which trains an epoch and evaluates on the held-out images. "Peak" is the
most memory that it held; "own" is that without files that it has mapped, whose pages the system takes back
when it needs them.
"""

import multiprocessing
import tempfile
from concurrent.futures import ProcessPoolExecutor

from absl import flags

from experiments.scaling import METHODS, ON_IMAGES, STAGES, Case, cases, measure, prepare
from msmm import command_line
from msmm.errors import UserError

_OF = flags.DEFINE_multi_enum(
    "of", STAGES, ON_IMAGES + STAGES + METHODS, "What to train; may be given several times."
)
_IMAGES = flags.DEFINE_list("images", ["150000"], "Numbers of training images.")
_CLASSES = flags.DEFINE_list("classes", ["81"], "Numbers of classes.")
_TAGS = flags.DEFINE_list("tags", ["1000"], "Numbers of tags.")
_WIDTH = flags.DEFINE_integer("feature_size", 2048, "Numbers in f_v, and in f_t; a multiple of 32.", 32)
_STEPS = flags.DEFINE_integer(
    "steps", None, "Stop the epoch after so many steps, and tell its time from them.", 2
)
_PRECISION = flags.DEFINE_enum("precision", "float32", ["float32", "bfloat16"], "What layers compute in.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 32, "Images of a step.", 1)
_RECOMPUTE = flags.DEFINE_bool("recompute", False, "What gradients need is computed again, not kept.")
_FOLDER = flags.DEFINE_string("folder", None, "Where to write, and clean up after. [the system's]")


def main() -> None:
    from experiments import measuring

    context = multiprocessing.get_context("spawn")
    columns = ["of", "images", "classes", "tags", "s an epoch", "µs an image", "peak MiB", "own MiB"]
    print(measuring.machine("tensorflow", "keras") + f"; features of {_WIDTH.value:,} numbers\n")
    print(measuring.table(columns, []), flush=True)
    images, classes, tags = (_numbers(flag) for flag in (_IMAGES, _CLASSES, _TAGS))
    wanted = []
    for name in _OF.value:
        sizes = images[0], classes[0], tags[0], _WIDTH.value
        first = Case(name, *sizes, _STEPS.value, _PRECISION.value, _BATCH_SIZE.value, _RECOMPUTE.value)
        wanted += cases(first, images[1:], classes[1:], tags[1:])
    for case in wanted:
        with tempfile.TemporaryDirectory(dir=_FOLDER.value) as folder:
            for task in (prepare, measure):  # each in a fresh process
                with ProcessPoolExecutor(1, context) as process:
                    row = process.submit(task, case, folder).result()
        print(measuring.row(row), flush=True)


def _numbers(flag) -> list[int]:
    try:
        return [int(number) for number in flag.value]
    except ValueError as error:
        raise UserError(f"expected numbers in --{flag.name}. Received: {','.join(flag.value)}") from error


if __name__ == "__main__":
    command_line.run(main)
