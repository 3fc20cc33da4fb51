"""The work of each stage, and of annotating, on random arrays: on any Keras backend, and in plain PyTorch.

For `benchmark_gpu`. A step is a call that may return before the device is done; `float` of its result waits.
"""

import dataclasses

import keras
import numpy as np

from experiments.benchmarks import measuring
from experiments.benchmarks.measuring import forward_operations, training_operations
from msmm.models import backbone, heads, losses, multi_scale, optimizers, textual
from msmm.models.annotator import assemble_annotator
from msmm.models.precision import IN_PRECISION, set_precision

CLASSES, TAGS = 81, 1000


@dataclasses.dataclass(frozen=True)
class Setup:
    """The job and the sizes that a process measures.

    backbone: of Keras; in plain PyTorch it is always ResNet-101. matrix_size: side of the matrices that the
    limit is measured with.
    """

    job: str
    backbone: str
    image_size: int
    precision: str
    batch_size: int
    steps: int
    compile: bool
    matrix_size: int


def peak_memory() -> tuple[float, str]:
    """Returns the peak memory in MiB on the device that Keras uses, and the name of the device."""
    if keras.backend.backend() == "torch":
        import torch

        if torch.cuda.is_available():
            return torch.cuda.max_memory_allocated() / 2**20, torch.cuda.get_device_name()
    if keras.backend.backend() == "jax":
        import jax

        device = jax.devices()[0]
        if device.platform != "cpu":
            return device.memory_stats()["peak_bytes_in_use"] / 2**20, device.device_kind
    with measuring.Memory() as held:
        pass
    return held.peak, "CPU"


def _arrays(setup: Setup, width: int) -> dict:
    """Returns inputs and targets by name, float32."""
    rng, batch = np.random.default_rng(0), setup.batch_size
    return {
        "image": rng.uniform(0, 255, (batch, setup.image_size, setup.image_size, 3)).astype(np.float32),
        "tags": (rng.random((batch, TAGS)) < 0.01).astype(np.float32),
        "labels": (rng.random((batch, CLASSES)) < 0.03).astype(np.float32),
        "counts": rng.integers(1, 5, batch).astype(np.float32),
        "f_v": rng.random((batch, width), np.float32),
        "joint": rng.random((batch, 2 * width), np.float32),
    }


def _parts(setup: Setup) -> dict:
    """Builds the parts of the model as `msmm.training.model_parts` does, which needs TensorFlow."""
    trunk = backbone.build(setup.backbone, image_size=setup.image_size)
    maps = [tuple(m.shape[1:]) for m in trunk.outputs]
    width = maps[-1][-1]
    built = {
        "backbone": trunk,
        "multi_scale": multi_scale.build_multi_scale(maps),
        "textual": textual.build_textual(TAGS, width),
        "visual_head": heads.build_classifier(width, CLASSES, "visual_head"),
        "classifier": heads.build_classifier(2 * width, CLASSES),
        "quantity": heads.build_quantity(2 * width),
        "quantity_visual": heads.build_quantity(width, name="quantity_visual"),
    }
    return {n: set_precision(p, setup.precision) if n in IN_PRECISION else p for n, p in built.items()}


def count_operations(job: str, part: dict) -> int:
    """Counts the floating-point operations per image of a job."""
    once = {name: forward_operations(model) for name, model in part.items()}
    step = {name: training_operations(model) for name, model in part.items()}
    features = once["backbone"] + once["multi_scale"]
    return {
        "finetune": step["backbone"] + step["visual_head"],
        "visual": once["backbone"] + step["multi_scale"] + step["visual_head"],
        "features": features,
        "annotate": sum(once.values()),
        "textual": step["textual"] + step["visual_head"],
    }.get(job) or step[job]


def keras_step(setup: Setup):
    """Returns a step of the job on Keras, and its operations per image."""
    part = _parts(setup)
    trunk, fusion, head, tags = (part[p] for p in ("backbone", "multi_scale", "visual_head", "textual"))
    arrays = _arrays(setup, fusion.output_shape[-1])
    arrays = {name: keras.ops.convert_to_tensor(array) for name, array in arrays.items()}
    trunk.trainable = setup.job == "finetune"
    pooled = keras.layers.GlobalAveragePooling2D(dtype="float32")
    model, x, y = {
        "finetune": lambda: (keras.Model(trunk.input, head(pooled(trunk.output[-1]))), "image", "labels"),
        "visual": lambda: (keras.Model(trunk.input, head(fusion(trunk.output))), "image", "labels"),
        "features": lambda: (keras.Model(trunk.input, fusion(trunk.output)), "image", None),
        "annotate": lambda: (assemble_annotator(**part), None, None),
        "textual": lambda: (keras.Model(tags.input, head(tags.output)), "tags", "labels"),
        "classifier": lambda: (part["classifier"], "joint", "labels"),
        "quantity": lambda: (part["quantity"], "joint", "counts"),
        "quantity_visual": lambda: (part["quantity_visual"], "f_v", "counts"),
    }[setup.job]()
    work = count_operations(setup.job, part)
    if setup.job == "annotate":
        both = {"image": arrays["image"], "tags": arrays["tags"]}
        return lambda: model.predict_on_batch(both)["quantity"][0, 0], work
    if setup.job == "features":
        return lambda: model.predict_on_batch(arrays["image"])[0, 0], work
    loss = losses.squared_error if y == "counts" else losses.sigmoid_cross_entropy
    model.compile(optimizers.Momentum(1e-6), loss)
    return lambda: model.train_on_batch(arrays[x], arrays[y]), work


def torch_step(setup: Setup):
    """Returns a step of a job on images in plain PyTorch, and its operations per image.

    Operations are counted in Keras' ResNet-101.
    """
    import torch
    from torch.nn import functional

    from experiments.benchmarks.torch_annotator import Annotator

    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = Annotator(CLASSES, TAGS).to(device, memory_format=torch.channels_last)
    arrays = {name: torch.tensor(array, device=device) for name, array in _arrays(setup, 1).items()}
    image = arrays["image"].permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
    autocast = torch.autocast(device, getattr(torch, setup.precision), enabled=setup.precision != "float32")
    job = _network_of(setup.job, network, image, arrays["tags"])
    job = torch.compile(job) if setup.compile else job
    work = count_operations(setup.job, _parts(dataclasses.replace(setup, backbone="resnet101")))
    if setup.job in ("features", "annotate"):
        network.eval()

        def step():
            with torch.inference_mode(), autocast:
                return job()[0, 0]

        return step, work
    network.train(setup.job == "finetune")
    network.fusions.train()
    trained = [network.stem, *network.stages] if setup.job == "finetune" else [*network.fusions]
    trained = [p for module in (*trained, network.visual.classifier) for p in module.parameters()]
    optimizer = torch.optim.SGD(trained, 1e-6, 0.9, weight_decay=1e-4)

    def step():
        optimizer.zero_grad(set_to_none=True)
        with autocast:
            logits = job().float()
        loss = functional.binary_cross_entropy_with_logits(logits, arrays["labels"], reduction="sum")
        (loss / setup.batch_size).backward()
        optimizer.step()
        return loss.detach()

    return step, work


def _network_of(job: str, network, image, tags):
    """Returns a call of the part of an `Annotator` that a job needs; it returns logits, f_v or quantities."""
    import torch
    from torch.nn import functional

    def maps():
        x = functional.relu(network.stem(image.flip(1) - network.mean))
        scales, x = [x], functional.max_pool2d(x, 3, 2, 1)
        for stage in network.stages:
            x = stage(x)
            scales.append(x)
        return scales

    def frozen_maps():
        with torch.no_grad():
            return maps()

    def fused(scales):
        x = scales[0]
        for current, fusion in zip(scales[1:], network.fusions, strict=True):
            x = current + fusion(x)
        return x.mean((2, 3))

    return {
        "finetune": lambda: network.visual.classifier(maps()[-1].mean((2, 3))),
        "visual": lambda: network.visual.classifier(fused(frozen_maps())),
        "features": lambda: fused(maps()),
        "annotate": lambda: network(image, tags)[1],
    }[job]
