"""Engines: runtimes of the network of a model directory. Labels are chosen by the same code for all of them
(`Model.annotate`).

    model = engines.load(directory)                              the fastest one that is installed
    model = engines.load(directory, "openvino", "bfloat16")

Each runs image [B, S, S, 3] and tags [B, T] to "probabilities" [B, C] and raw "quantity" [B], all float32.
`openvino` and `onnxruntime` run a conversion of the network (`msmm.inference.exporting`), which is kept in
the model directory; then TensorFlow is not imported. `keras` runs the network itself.
"""

import contextlib
import dataclasses
import importlib.util
import pathlib
import sys
from collections.abc import Callable, Iterator

import numpy as np

from msmm.core.errors import UserError
from msmm.core.files import read_json, write_json
from msmm.core.processor import has_bfloat16
from msmm.inference import model_dir
from msmm.inference.engines import cache, second_look
from msmm.inference.exporting import formats
from msmm.inference.model import Model, RunnableNetwork, sizes_of

AUTO = "auto"
MIXED = "mixed"  # bfloat16, and again in float32 where that could change a label
PRECISIONS = ("float32", MIXED, "bfloat16")
_BATCH = 32  # images on which errors are measured at a time


@dataclasses.dataclass(frozen=True)
class Engine:
    """A runtime of networks.

    Attributes:
      format: the export format that it reads; "" for the Keras network itself.
      precisions: the members of PRECISIONS that it supports.
    """

    format: str
    precisions: tuple[str, ...]

    @property
    def packages(self) -> tuple[str, ...]:
        """The packages that the runtime and the conversion for it need."""
        return formats.FORMATS[self.format].packages if self.format else ()


# The fastest first; docs/research/benchmarks.md.
ENGINES = {
    "openvino": Engine("openvino", PRECISIONS),
    "onnxruntime": Engine("onnx", ("float32",)),
    "keras": Engine("", ("float32",)),
}


def load(
    directory,
    engine: str = AUTO,
    precision: str = "float32",
    before_tensorflow: Callable[[], None] = lambda: None,
) -> Model:
    """Loads a model directory whose network an engine runs.

    Args:
      directory: the model directory.
      engine: one of ENGINES, or "auto" for the fastest one that is installed and works here.
      precision: one of PRECISIONS; others than "float32" need a processor that computes in bfloat16.
      before_tensorflow: called where TensorFlow is needed, before it is imported.

    Raises:
      UserError: an engine is not installed or does not have the precision, or the directory is damaged.
    """
    directory = model_dir.check_directory(directory)
    if model_dir.is_converted(directory):
        return _load_converted_alone(directory, engine, precision)
    chosen, precision = choose_engine(engine, precision)
    if ENGINES[chosen].format:
        try:
            return _load_converted(directory, chosen, precision, before_tensorflow)
        except (ImportError, OSError) as error:
            if engine != AUTO or "keras" not in _able(precision):
                raise
            reason = " ".join(str(error).split())
            print(f"{chosen} does not work here ({reason}): Keras runs the network, slower", file=sys.stderr)
    before_tensorflow()
    return model_dir.load(directory)


def _load_converted(directory, engine: str, precision: str, before_tensorflow) -> Model:
    with converted(directory, engine, before_tensorflow) as kept:
        return _load_kept(directory, kept, engine, precision)


def _load_converted_alone(directory: pathlib.Path, engine: str, precision: str) -> Model:
    """Loads a converted model, whose network only OpenVINO runs."""
    chosen, precision = choose_engine("openvino" if engine == AUTO else engine, precision)
    if chosen != "openvino":
        raise UserError(f"the model {directory} is for --engine=openvino alone. Received: --engine={chosen}")
    try:
        return _load_kept(directory, directory, chosen, precision)
    except (ImportError, OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"OpenVINO does not work here ({reason}), and {directory} has no other network: name another "
            "model"
        ) from error


def _load_kept(directory: pathlib.Path, kept: pathlib.Path, engine: str, precision: str) -> Model:
    """Loads a model directory with the conversion that `kept` holds."""
    sizes = read_json(kept / model_dir.SIZES)
    if precision != MIXED:
        return model_dir.load(directory, RunnableNetwork(_open(kept, engine, precision), sizes))
    fast, exact = (_open(kept, engine, p) for p in ("bfloat16", "float32"))
    errors = second_look.Errors.read(directory, sizes["labels"])
    look = second_look.SecondLook(errors, exact)
    return model_dir.load(directory, RunnableNetwork(fast, sizes, look))


def _open(directory: pathlib.Path, engine: str, precision: str) -> formats.RunFunction:
    if engine != "openvino":
        return formats.FORMATS[ENGINES[engine].format].open(directory)
    from msmm.inference.engines import openvino

    return openvino.open_directory(directory, precision)


@contextlib.contextmanager
def converted(
    directory, engine: str, before_tensorflow: Callable[[], None] = lambda: None
) -> Iterator[pathlib.Path]:
    """Yields a directory with the conversion of a model directory for an engine, converted if need be."""
    directory = model_dir.check_directory(directory)

    def write(partial: pathlib.Path, reason: str | None) -> None:
        kept = f"it cannot be kept in {directory}/engines: {reason}"
        kept = kept if reason else f"it is kept in {directory}/engines"
        print(f"converting the network for {engine}; {kept}", file=sys.stderr)
        before_tensorflow()
        from msmm.inference.exporting.graph import Graph

        model = model_dir.load(directory)
        formats.FORMATS[ENGINES[engine].format].write(Graph(model), partial)
        write_json(partial / model_dir.SIZES, sizes_of(model.network))

    with cache.converted(cache.path(directory, engine, ENGINES[engine].packages), write) as kept:
        yield kept


def prepare(directory, images: np.ndarray | None = None, tags: np.ndarray | None = None) -> None:
    """Prepares a model directory for the engine that "auto" means here, so that later uses start at once.

    The network is converted, if the engine reads a conversion. Where the engine and the processor have the
    precision "mixed", the errors of bfloat16 on the given images are measured and saved in the directory.

    Args:
      directory: a model directory that was just saved.
      images: uint8 [N, S, S, 3], held out from training; `second_look.IMAGES` of them are enough.
      tags: [N, T] in {0, 1}, of these images.
    """
    engine, _ = choose_engine()
    if not ENGINES[engine].format:
        return
    with converted(directory, engine) as kept:
        if images is None or tags is None or MIXED not in ENGINES[engine].precisions or not has_bfloat16():
            return
        fast, exact = (_open(kept, engine, precision) for precision in ("bfloat16", "float32"))
        slices = (slice(start, start + _BATCH) for start in range(0, len(images), _BATCH))
        batches = ((images[s].astype(np.float32), tags[s].astype(np.float32)) for s in slices)
        errors = second_look.measure(fast, exact, batches, read_json(kept / model_dir.SIZES)["labels"])
    model_dir.add_file(directory, second_look.FILE, errors.to_bytes())


def choose_engine(engine: str = AUTO, precision: str = "float32") -> tuple[str, str]:
    """Returns the engine and the precision that are meant. Raises UserError as `load` does."""
    if engine not in (AUTO, *ENGINES):
        raise UserError(f"expected an engine of auto, {', '.join(ENGINES)}. Received: {engine!r}")
    if precision not in PRECISIONS:
        raise UserError(f"expected a precision of {', '.join(PRECISIONS)}. Received: {precision!r}")
    if precision != "float32" and not has_bfloat16():
        raise UserError(
            "this processor does not compute in bfloat16, or ONEDNN_MAX_CPU_ISA forbids it: use "
            "--precision=float32"
        )
    if engine == AUTO:
        installed = [name for name in _able(precision) if not missing(name)]
        if not installed:
            engines = _able(precision)
            raise UserError(
                f"--precision={precision} needs an engine of {', '.join(engines)}: {_remedy(engines[0])}"
            )
        return installed[0], precision
    if absent := missing(engine):
        raise UserError(f"--engine={engine} needs {', '.join(absent)}: {_remedy(engine)}")
    if precision not in ENGINES[engine].precisions:
        precisions = ", ".join(ENGINES[engine].precisions)
        raise UserError(f"--engine={engine} has --precision={precisions}, not {precision}")
    return engine, precision


def _able(precision: str) -> list[str]:
    return [name for name, engine in ENGINES.items() if precision in engine.precisions]


def _remedy(engine: str) -> str:
    return f"pip install 'msmm[{ENGINES[engine].format}]'"


def missing(engine: str) -> list[str]:
    """Returns the packages that an engine needs and that are not installed."""
    return [package for package in ENGINES[engine].packages if importlib.util.find_spec(package) is None]
