"""OpenVINO on a batch in pieces: each core has its own, and need not wait for others after every layer."""

import pathlib

import numpy as np

from msmm.core import workers
from msmm.core.errors import UserError
from msmm.inference.exporting.formats import RunFunction, import_openvino

PIECE = 4  # images


def open_directory(directory: pathlib.Path, precision: str) -> RunFunction:
    """Opens an export in OpenVINO; its network is compiled at the first batch, and for a first larger one.

    Args:
      directory: holds the export.
      precision: "float32", or "bfloat16" for the computation within; results are float32.

    The function raises UserError where OpenVINO cannot compile the network for this processor.
    """
    core = import_openvino().Core()
    model = core.read_model(directory / "model.xml")
    names = [output.any_name for output in model.outputs]
    hint = {"float32": "f32", "bfloat16": "bf16"}[precision]
    requests: list = []  # one per stream

    def run(image: np.ndarray, tags: np.ndarray) -> dict[str, np.ndarray]:
        pieces = max(1, len(image) // PIECE)
        streams = min(pieces, workers.cores())
        if streams > len(requests):
            settings = {"INFERENCE_PRECISION_HINT": hint, "NUM_STREAMS": str(streams)}
            try:
                compiled = core.compile_model(model, "CPU", settings)
            except RuntimeError as error:  # as where ONEDNN_MAX_CPU_ISA forbids its own kernels
                reason = [line for line in map(str.strip, str(error).splitlines()) if line][-1]
                raise UserError(
                    f"OpenVINO cannot run the network here ({reason}): choose another --engine, or unset "
                    "ONEDNN_MAX_CPU_ISA where it is set"
                ) from error
            requests[:] = [compiled.create_infer_request() for _ in range(streams)]
        parts = list(zip(np.array_split(image, pieces), np.array_split(tags, pieces), strict=True))
        results = []
        for first in range(0, pieces, len(requests)):
            busy = list(zip(requests, parts[first : first + len(requests)], strict=False))
            for request, (images, words) in busy:
                request.start_async({"image": images, "tags": words})
            for request, _ in busy:
                request.wait()
                results.append({name: np.array(request.get_tensor(name).data) for name in names})
        return {name: np.concatenate([result[name] for result in results]) for name in names}

    return run
