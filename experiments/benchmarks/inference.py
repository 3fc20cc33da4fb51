"""Candidates that run the network of a model directory: our engines, and other runtimes."""

import importlib.metadata
import importlib.util
import pathlib
import tempfile
import time
from collections.abc import Callable

import numpy as np

from experiments.benchmarks import measuring
from msmm.core.errors import UserError
from msmm.core.processor import has_bfloat16
from msmm.core.progress import ProgressBar
from msmm.inference import engines, model_dir
from msmm.inference.agreement import compare_annotations
from msmm.inference.exporting import formats
from msmm.inference.exporting.graph import Graph
from msmm.inference.model import Model
from msmm.models import backbone, heads, multi_scale, textual
from msmm.models.annotator import assemble_annotator

# image [B, S, S, 3] and tags [B, T], float32, to any outputs.
Candidate = Callable[[np.ndarray, np.ndarray], object]
KERAS = "Keras, model.predict"


def random_model(directory: pathlib.Path, num_labels: int, num_tags: int) -> pathlib.Path:
    """Writes a model directory with ResNet-101 at 224 pixels and random weights."""
    trunk = backbone.build("resnet101", image_size=224)
    fusion = multi_scale.build_multi_scale([output.shape[1:] for output in trunk.outputs])
    size = fusion.output.shape[1]
    network = assemble_annotator(
        trunk,
        fusion,
        textual.build_textual(num_tags, size),
        heads.build_classifier(2 * size, num_labels),
        heads.build_quantity(2 * size),
        heads.build_classifier(size, num_labels, "visual_head"),
        heads.build_quantity(size, name="quantity_visual"),
    )
    figures = dict.fromkeys(("C-P", "C-R", "C-F1", "I-P", "I-R", "I-F1", "H-F1", "mean true"), 0.0)
    info = {
        "dataset": "random weights",
        "msmm": "",
        "seed": 0,
        "images": {"test": 0},
        "test": figures | {"classes never predicted": 0},
        "settings": {"backbone": "resnet101", "weights": "none"},
    }
    labels, tags = (
        [f"{kind} {i}" for i in range(n)] for kind, n in (("label", num_labels), ("tag", num_tags))
    )
    model_dir.save(directory / "model", network, labels, tags, info)
    return directory / "model"


def keras_candidate(model: Model) -> Candidate:
    """Returns the network as Keras' documentation runs it."""
    return lambda image, tags: model.network.predict({"image": image, "tags": tags}, verbose=0)


def engine_candidates(directory) -> dict[str, Candidate]:
    """Returns every installed engine in every precision of this machine.

    Mixed precision is left out: its time depends on the images.
    """
    candidates = {}
    for engine, precision in list_engines():
        if precision == engines.MIXED:
            continue
        candidates[f"ours: {engine}, {precision}"] = engines.load(directory, engine, precision).run
    return candidates


def list_engines() -> list[tuple[str, str]]:
    """Returns the engines and precisions of this machine; prints those that are missing."""
    available = []
    for engine in engines.ENGINES:
        for precision in engines.PRECISIONS:
            try:
                available.append(engines.choose_engine(engine, precision))
            except UserError as error:
                print(f"left out: {error}")
    return available


def peer_candidates(directory, model: Model) -> dict[str, Candidate]:
    """Returns other runtimes, used as in their documentation.

    They run the files that our engines convert, and PyTorch where the model is a ResNet-101.
    """
    candidates = {}
    for engine, runs in (("onnxruntime", _onnx), ("openvino", _openvino)):
        if not engines.missing(engine):
            with engines.converted(directory, engine) as kept:
                candidates |= runs(kept)
    try:
        target = formats.require("litert")
        with tempfile.TemporaryDirectory() as scratch:
            target.write(Graph(model), pathlib.Path(scratch))
            candidates["LiteRT, float32"] = target.open(pathlib.Path(scratch))
    except UserError as error:
        print(f"left out: {error}")
    if model.info["settings"]["backbone"] == "resnet101":
        if installed_packages("torch"):
            candidates |= _torch(len(model.labels), len(model.tags), model.network.count_params())
        else:
            print("left out: PyTorch: pip install torch")
    return candidates


def _onnx(directory: pathlib.Path) -> dict[str, Candidate]:
    session = formats.import_onnxruntime().InferenceSession(directory / "model.onnx")
    return {"ONNX Runtime, float32": lambda image, tags: session.run(None, {"image": image, "tags": tags})}


def _openvino(directory: pathlib.Path) -> dict[str, Candidate]:
    core = formats.import_openvino().Core()
    by_itself = core.compile_model(directory / "model.xml", "CPU")
    precision = {"f32": "float32", "bf16": "bfloat16"}[
        by_itself.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    ]
    models = {f"OpenVINO, as it comes ({precision})": by_itself}
    if precision != "float32":
        models["OpenVINO, float32"] = core.compile_model(
            directory / "model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
        )
    return {name: lambda image, tags, m=m: m({"image": image, "tags": tags}) for name, m in models.items()}


def _torch(num_labels: int, num_tags: int, num_parameters: int) -> dict[str, Candidate]:
    """Returns PyTorch, eager and compiled, channels last, in float32 and, where supported, bfloat16."""
    import torch

    from experiments.benchmarks.torch_annotator import Annotator

    network = Annotator(num_labels, num_tags).eval().to(memory_format=torch.channels_last)
    count = sum(p.numel() for p in network.parameters()) + sum(
        b.numel() for name, b in network.named_buffers() if "running" in name
    )
    if count != num_parameters:
        raise ValueError(f"expected {num_parameters:,} parameters in PyTorch. Received: {count:,}")
    compiled = torch.compile(network, dynamic=False, options={"freezing": True})

    def candidate(run, bfloat16):
        def call(image, tags):
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                outputs = run(torch.from_numpy(image).permute(0, 3, 1, 2), torch.from_numpy(tags))
                return [part.float().numpy() for part in outputs]

        return call

    precisions = {"float32": False} | ({"bfloat16": True} if has_bfloat16() else {})
    return {
        f"PyTorch {kind}, {precision}": candidate(run, bfloat16)
        for kind, run in (("eager", network), ("compiled", compiled))
        for precision, bfloat16 in precisions.items()
    }


def installed_packages(*packages: str) -> list[str]:
    """Returns the packages that are installed."""
    return [
        p for p in packages if importlib.util.find_spec(p.replace("-", "_")) and importlib.metadata.version(p)
    ]


def speed_table(candidates: dict[str, Candidate], model: Model, batches: list[int], repeats: int) -> str:
    """Returns a table of images per second by candidate and batch size, and their ratio to the first one."""
    rng, speeds = np.random.default_rng(0), {}
    for batch in batches:
        image = rng.uniform(0, 255, (batch, model.image_size, model.image_size, 3)).astype(np.float32)
        tags = (rng.random((batch, len(model.tags))) < 0.01).astype(np.float32)
        tags[0, :1] = 1

        def turn(candidate, image=image, tags=tags, batch=batch):
            candidate(image, tags)
            return batch

        speeds[batch] = measuring.measure_in_turn(
            {name: lambda w=w: turn(w) for name, w in candidates.items()}, repeats
        )
    rows = [
        [
            name,
            *(
                cell
                for b in batches
                for cell in (
                    f"{speeds[b][name]:.2f}",
                    f"{speeds[b][name] / next(iter(speeds[b].values())):.2f}",
                )
            ),
        ]
        for name in candidates
    ]
    return measuring.markdown_table(["", *(c for b in batches for c in (f"batch {b}", "times"))], rows)


def agreement_table(directory, dataset, limit: int | None, batch_size: int, with_tags: bool) -> str:
    """Returns a table that compares the labels of Keras and of all engines on test images.

    They annotate batches in turn. Columns compare with Keras in float32: images per second, images with the
    same labels, labels that differ on the border, the largest difference of a probability. The last column
    counts the images that are computed again.

    limit: number of images, instead of all. with_tags: whether the images have their tags.
    """
    from msmm.data.input_pipeline import Images

    first = model_dir.load(directory)
    first.run = _keras_run(first)
    models = {KERAS: first}
    models |= {f"{e}, {p}": engines.load(directory, e, p) for e, p in list_engines()}
    rows = dataset.annotations("test")[1][:limit]
    tags = [[tag for tag, has in zip(dataset.tags, row, strict=True) if has and with_tags] for row in rows]
    predictions, seconds = {name: [] for name in models}, {name: [] for name in models}
    images = Images(dataset, "test", first.image_size, cache_gib=0)
    batches = images.ordered(batch_size, rows=np.arange(len(rows)))
    total = -(-len(rows) // batch_size)
    for batch in ProgressBar(batches, "comparing labels", total=total, unit="batches"):
        for name, annotations in predictions.items():
            some = tags[len(annotations) : len(annotations) + len(batch)]
            if not annotations:
                models[name].run(*models[name].inputs(batch, some))  # to warm up
            started = time.perf_counter()
            annotations += models[name].annotate(batch, some)
            seconds[name].append(time.perf_counter() - started)
    exact = predictions[KERAS]
    rates = {name: len(rows) / sum(spent) for name, spent in seconds.items()}
    table = []
    for name, annotations in predictions.items():
        agreement = compare_annotations(first, annotations, exact, tags)
        look = models[name].second_look
        speed = [f"{rates[name]:.2f}", f"{rates[name] / rates[KERAS]:.2f}"]
        share = [
            f"{agreement.same_labels} of {len(rows)}",
            f"{100 * agreement.same_labels / len(rows):.2f} %",
        ]
        share += [f"{agreement.borderline}", f"{agreement.probability:.1e}"]
        table.append([name, *speed, *share, f"{look.again}" if look else ""])
    tagged = "with" if with_tags else "without"
    title = f"{len(rows)} test images of {dataset.name}, {tagged} tags, batches of {batch_size}"
    columns = [
        "images/s",
        "times",
        "labels of Keras",
        "share",
        "on the border",
        "largest difference",
        "again in float32",
    ]
    return measuring.markdown_table([title, *columns], table)


def _keras_run(model: Model):
    predict = keras_candidate(model)

    def run(image, tags):
        outputs = predict(image, tags)
        return {"probabilities": outputs["probabilities"], "quantity": outputs["quantity"][:, 0]}

    return run
