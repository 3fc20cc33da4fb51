"""OpenVINO on a batch in pieces: each core has its own, and need not wait for others after every layer."""

import pathlib

import numpy as np
import openvino

from msmm.exporting.formats import Run
from tfrecords_tools import workers

PIECE = 4  # images


def open_directory(directory: pathlib.Path, precision: str) -> Run:
    """An export in OpenVINO.

    precision: "float32", or "bfloat16" for what is computed within; results are float32. A network is
    compiled at the first batch, and again for a first large one.
    """
    core = openvino.Core()
    model = core.read_model(directory / "model.xml")
    names = [output.any_name for output in model.outputs]
    hint = {"float32": "f32", "bfloat16": "bf16"}[precision]
    queues = {}  # by their number of streams

    def queue_for(pieces: int) -> openvino.AsyncInferQueue:
        streams = min(pieces, workers.cores())
        if not queues or streams > max(queues):
            settings = {"INFERENCE_PRECISION_HINT": hint, "NUM_STREAMS": str(streams)}
            queues[streams] = openvino.AsyncInferQueue(core.compile_model(model, "CPU", settings), streams)
        return queues[max(queues)]

    def run(image: np.ndarray, tags: np.ndarray) -> dict[str, np.ndarray]:
        pieces = max(1, len(image) // PIECE)
        queue, said = queue_for(pieces), [{}] * pieces

        def keep(request, piece: int) -> None:
            said[piece] = {name: np.array(request.get_tensor(name).data) for name in names}

        queue.set_callback(keep)
        parts = zip(np.array_split(image, pieces), np.array_split(tags, pieces), strict=True)
        for piece, (images, words) in enumerate(parts):
            queue.start_async({"image": images, "tags": words}, piece)
        queue.wait_all()
        return {name: np.concatenate([part[name] for part in said]) for name in names}

    return run
