"""The export formats: writes each, and opens it in its own runtime."""

import dataclasses
import importlib.util
import logging
import os
import pathlib
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from msmm.core.errors import UserError

if TYPE_CHECKING:  # TensorFlow is imported where it is used: some runtimes do without it
    from msmm.inference.exporting.graph import Graph

OPSET = 18  # of ONNX
SERVING_VERSION = "1"  # TensorFlow Serving looks for models in folders named by a number

# (image float32 [B, S, S, 3], tags float32 [B, T]) -> the results of `Graph.pixels` by name.
RunFunction = Callable[[np.ndarray, np.ndarray], Mapping[str, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Format:
    """A format of exports.

    Attributes:
      write: writes a graph to files in a directory.
      open: opens that directory in the runtime of the format.
      packages: what both need beside TensorFlow; `pip install 'msmm[<name of the format>]'` installs them.
    """

    write: Callable[["Graph", pathlib.Path], None]
    open: Callable[[pathlib.Path], RunFunction]
    packages: tuple[str, ...] = ()


def require(name: str) -> Format:
    """Returns a format by its name. Raises UserError where a package that it needs is missing."""
    missing = [p for p in FORMATS[name].packages if importlib.util.find_spec(p) is None]
    if missing:
        raise UserError(f"--format={name} needs {', '.join(missing)}: pip install 'msmm[{name}]'")
    return FORMATS[name]


def _write_saved_model(graph: "Graph", directory: pathlib.Path) -> None:
    import tensorflow as tf

    signatures = {"serving_default": graph.encoded, "pixels": graph.pixels}
    tf.saved_model.save(graph, str(directory / SERVING_VERSION), signatures=signatures)


def load_saved_model(directory: pathlib.Path):
    """Loads an export by `tf.saved_model.load`; its `signatures` hold the two functions."""
    import tensorflow as tf

    return tf.saved_model.load(str(directory / SERVING_VERSION))


def _open_saved_model(directory: pathlib.Path) -> RunFunction:
    import tensorflow as tf

    loaded = load_saved_model(directory)

    def run(image, tags):
        outputs = loaded.signatures["pixels"](image=tf.constant(image), tags=tf.constant(tags))
        return {name: value.numpy() for name, value in outputs.items()}

    return run


def _write_onnx(graph: "Graph", directory: pathlib.Path) -> None:
    import onnx
    import tensorflow as tf
    import tf2onnx

    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    signature = graph.pixels.input_signature
    handlers = {"Erfc": (_write_erfc, [])}
    model, _ = tf2onnx.convert.from_function(
        graph.pixels, input_signature=signature, opset=OPSET, custom_op_handlers=handlers
    )
    function = graph.pixels.get_concrete_function()
    captured = {inner.name: outer for outer, inner in function.graph.captures if outer.dtype != tf.resource}
    for value in list(model.graph.input):
        if value.name in captured:  # a tensor that a layer holds, as the numbers of ViT's positions
            array = captured[value.name].numpy()
            model.graph.initializer.append(onnx.numpy_helper.from_array(array, value.name))
            model.graph.input.remove(value)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    onnx.checker.check_model(model)
    onnx.save(model, directory / "model.onnx")


def _write_erfc(context, node, name, args) -> None:
    """Writes TensorFlow's Erfc, which GELU has and ONNX lacks, as 1 - Erf."""
    inputs, outputs, shapes, dtypes = (
        list(node.input),
        list(node.output),
        node.output_shapes,
        node.output_dtypes,
    )
    context.remove_node(name)
    one = context.make_const(f"{name}/one", np.ones((), np.float32))
    erf = context.make_node("Erf", inputs)
    context.make_node(
        "Sub", [one.output[0], erf.output[0]], name=name, outputs=outputs, shapes=shapes, dtypes=dtypes
    )


def import_onnxruntime():
    """Imports ONNX Runtime without its telemetry, which reports to its makers and writes in the home.

    It is the only place that imports ONNX Runtime.
    """
    os.putenv("ORT_DISABLE_TELEMETRY", "1")  # read by its C++ library as it is loaded
    import onnxruntime

    return onnxruntime


def _open_onnx(directory: pathlib.Path) -> RunFunction:
    onnxruntime = import_onnxruntime()
    session = onnxruntime.InferenceSession(directory / "model.onnx", providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda image, tags: dict(
        zip(names, session.run(names, {"image": image, "tags": tags}), strict=True)
    )


def import_openvino():
    """Imports OpenVINO without its telemetry, which reports the import to its makers and writes in the home.

    It is the only place that imports OpenVINO.
    """
    if "openvino" not in sys.modules:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # makes its import fail
    import openvino

    return openvino


def _write_openvino(graph: "Graph", directory: pathlib.Path) -> None:
    write_openvino(graph, directory, half=False)


def write_openvino(graph: "Graph", directory: pathlib.Path, half: bool) -> None:
    """Writes model.xml and model.bin; with `half`, weights are stored in float16 and computed in float32."""
    openvino = import_openvino()
    from openvino import opset13, passes

    # A SavedModel or a graph of constants would do, but takes ten times as long to write.
    function, weights = graph.of_weights()
    path = directory / "graph.pb"
    path.write_bytes(function.graph.as_graph_def().SerializeToString())
    # Not openvino.convert_model: it reports to its makers that it was used.
    model = openvino.Core().read_model(path)
    path.unlink()
    for parameter in model.get_parameters():
        name = parameter.get_friendly_name().partition(":")[0]
        if name in weights:
            parameter.output(0).replace(opset13.constant(weights[name]).output(0))
            model.remove_parameter(parameter)
        else:
            parameter.output(0).get_tensor().set_names({name})
    for name, tensor in function.structured_outputs.items():
        model.output(tensor.name).get_tensor().set_names({name})
    for result in model.get_results():  # of operations whose values nothing reads, as in Keras' attention
        if not result.input_value(0).get_names() & function.structured_outputs.keys():
            model.remove_result(result)
    model.validate_nodes_and_infer_types()
    folding = passes.Manager()
    folding.register_pass(passes.ConstantFolding())  # of what is done to weights alone
    folding.run_passes(model)
    openvino.save_model(model, directory / "model.xml", compress_to_fp16=half)


def _open_openvino(directory: pathlib.Path) -> RunFunction:
    openvino = import_openvino()
    settings = {"INFERENCE_PRECISION_HINT": "f32"}  # its own choice is bfloat16 where the processor has it
    model = openvino.Core().compile_model(directory / "model.xml", "CPU", settings)
    names = [output.any_name for output in model.outputs]

    def run(image, tags):
        outputs = model({"image": image, "tags": tags})
        return {name: outputs[name] for name in names}

    return run


def _write_litert(graph: "Graph", directory: pathlib.Path) -> None:
    import tensorflow as tf

    function = graph.pixels.get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], graph)
    (directory / "model.tflite").write_bytes(converter.convert())


def _open_litert(directory: pathlib.Path) -> RunFunction:
    from ai_edge_litert.interpreter import Interpreter

    path, threads = str(directory / "model.tflite"), os.cpu_count()  # its own choice is one
    runner = Interpreter(path, num_threads=threads).get_signature_runner()
    return lambda image, tags: runner(image=image, tags=tags)


FORMATS = {
    "saved_model": Format(_write_saved_model, _open_saved_model),
    "onnx": Format(_write_onnx, _open_onnx, ("onnxruntime", "onnx", "tf2onnx")),
    "openvino": Format(_write_openvino, _open_openvino, ("openvino",)),
    "litert": Format(_write_litert, _open_litert, ("ai_edge_litert",)),
}
