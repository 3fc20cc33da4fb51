"""Engines: what runs the network of a model directory. Which labels are chosen is decided by the same code
for all of them (`model_dir.Model.annotate`).

    model = engines.load(directory)                              the fastest one that is installed
    model = engines.load(directory, "openvino", "bfloat16")

Each runs image [B, S, S, 3] and tags [B, T] to "probabilities" [B, C] and raw "quantity" [B], all float32.
`tensorflow` runs the network with batch normalisation folded, `openvino` and `onnxruntime` a conversion of it
(`msmm.inference.exporting`), which is kept in the model directory; then TensorFlow is not imported.
"""

import contextlib
import dataclasses
import importlib.util
import pathlib
import re
import sys
from collections.abc import Callable, Iterator

from msmm.core.errors import UserError
from msmm.core.files import read_json, write_json
from msmm.inference import model_dir
from msmm.inference.engines import cache
from msmm.inference.exporting import formats

AUTO = "auto"
SIZES = "sizes.json"  # of a conversion: S, T and C


@dataclasses.dataclass(frozen=True)
class Conversion:
    """An engine that reads an export format.

    open: the directory of an export, and a precision, to what runs it. packages: what it needs, and the
    conversion.
    """

    format: str
    open: Callable[[pathlib.Path, str], formats.RunFunction]
    packages: tuple[str, ...]
    precisions: tuple[str, ...]


def _open_openvino(directory: pathlib.Path, precision: str) -> formats.RunFunction:
    from msmm.inference.engines import openvino

    return openvino.open_directory(directory, precision)


def _open_onnx(directory: pathlib.Path, precision: str) -> formats.RunFunction:
    return formats.FORMATS["onnx"].open(directory)


MIXED = "mixed"  # bfloat16, and again in float32 where that could change a label

# None: TensorFlow itself.
ENGINES: dict[str, Conversion | None] = {
    "openvino": Conversion("openvino", _open_openvino, ("openvino",), ("float32", MIXED, "bfloat16")),
    "onnxruntime": Conversion("onnx", _open_onnx, ("onnxruntime", "onnx", "tf2onnx"), ("float32",)),
    "tensorflow": None,
}
PRECISIONS = ("float32", MIXED, "bfloat16")
FASTEST = {  # BENCHMARKS.md
    "float32": ("openvino", "onnxruntime", "tensorflow"),
    MIXED: ("openvino",),
    "bfloat16": ("openvino",),
}


def load(
    directory,
    engine: str = AUTO,
    precision: str = "float32",
    before_tensorflow: Callable[[], None] = lambda: None,
) -> model_dir.Model:
    """A model directory whose network an engine runs.

    engine: one of ENGINES, or "auto" for the fastest one installed. precision: one of PRECISIONS; all but
    "float32" where the processor computes in bfloat16 and the engine can. before_tensorflow: called where
    TensorFlow is needed, before it is imported.
    Raises UserError where an engine is not installed or does not have the precision.
    """
    directory = model_dir.check(directory)
    engine, precision = choose(engine, precision)
    if engine == "tensorflow":
        before_tensorflow()
        from msmm.inference.engines import tensorflow

        network = model_dir.load(directory).network
        run = tensorflow.open_network(network)
        return model_dir.load(directory, model_dir.Engine(run, model_dir.sizes_of(network)))
    with converted(directory, engine, before_tensorflow) as kept:
        sizes, opened = read_json(kept / SIZES), ENGINES[engine].open
        if precision != MIXED:
            return model_dir.load(directory, model_dir.Engine(opened(kept, precision), sizes))
        fast, exact = (opened(kept, p) for p in ("bfloat16", "float32"))
    second_look = _second_look(directory, ENGINES[engine], fast, exact, sizes)
    return model_dir.load(directory, model_dir.Engine(fast, sizes, second_look))


def _second_look(
    directory, conversion: Conversion, fast: formats.RunFunction, exact: formats.RunFunction, sizes
):
    from msmm.inference.engines.second_look import Errors, SecondLook

    def write(partial: pathlib.Path, why_not_kept: str | None) -> None:
        kept = "" if why_not_kept else f"; it is kept in {directory}/engines"
        print(f"measuring what bfloat16 changes{kept}", file=sys.stderr)
        Errors.measured(fast, exact, sizes).write(partial)

    with cache.converted(cache.path(directory, "errors", conversion.packages), write) as kept:
        return SecondLook(exact, Errors.read(kept))


@contextlib.contextmanager
def converted(
    directory, engine: str, before_tensorflow: Callable[[], None] = lambda: None
) -> Iterator[pathlib.Path]:
    """A directory with what openvino or onnxruntime reads of a model directory, converted if need be."""
    directory, conversion = model_dir.check(directory), ENGINES[engine]

    def write(partial: pathlib.Path, why_not_kept: str | None) -> None:
        kept, why = ("cannot be", f": {why_not_kept}") if why_not_kept else ("is", "")
        said = f"converting the network for {engine}; it {kept} kept in {directory}/engines{why}"
        print(said, file=sys.stderr)
        before_tensorflow()
        from msmm.inference.exporting.graph import Graph

        model = model_dir.load(directory)
        formats.FORMATS[conversion.format].write(Graph(model), partial)
        write_json(partial / SIZES, model_dir.sizes_of(model.network))

    with cache.converted(cache.path(directory, engine, conversion.packages), write) as kept:
        yield kept


def prepare(directory) -> None:
    """Converts the network of a model directory for the engine that "auto" means, if that reads a conversion,
    so that the first to annotate need not wait for it."""
    engine, _ = choose()
    if ENGINES[engine]:
        with converted(directory, engine):
            pass


def choose(engine: str = AUTO, precision: str = "float32") -> tuple[str, str]:
    """The engine and the precision that are meant. Raises UserError as `load` does."""
    if engine not in (AUTO, *ENGINES):
        raise UserError(f"expected an engine of auto, {', '.join(ENGINES)}. Received: {engine!r}")
    if precision not in PRECISIONS:
        raise UserError(f"expected a precision of {', '.join(PRECISIONS)}. Received: {precision!r}")
    if precision != "float32" and not has_bfloat16():
        raise UserError("this processor does not compute in bfloat16: use --precision=float32")
    if engine == AUTO:
        here = [e for e in FASTEST[precision] if not missing(e)]
        if not here:
            extra = ENGINES[FASTEST[precision][0]].format
            raise UserError(
                f"--precision={precision} needs an engine of {', '.join(FASTEST[precision])}: "
                f"pip install 'msmm[{extra}]'"
            )
        return here[0], precision
    if absent := missing(engine):
        raise UserError(
            f"--engine={engine} needs {', '.join(absent)}: pip install 'msmm[{ENGINES[engine].format}]'"
        )
    able = ENGINES[engine].precisions if ENGINES[engine] else ("float32",)
    if precision not in able:
        raise UserError(f"--engine={engine} has --precision={', '.join(able)}, not {precision}")
    return engine, precision


def missing(engine: str) -> list[str]:
    """The packages that an engine needs and that are not installed."""
    conversion = ENGINES[engine]
    return [p for p in conversion.packages if importlib.util.find_spec(p) is None] if conversion else []


def has_bfloat16() -> bool:
    """Whether the processor multiplies in bfloat16, as Linux says; elsewhere it is not known."""
    info = pathlib.Path("/proc/cpuinfo")
    return info.is_file() and bool(re.search(r"\b(avx512_bf16|amx_bf16|bf16)\b", info.read_text()))
