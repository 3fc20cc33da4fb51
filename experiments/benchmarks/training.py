"""The candidates of `benchmark_training`: every stage, a plain Keras fit, and the same steps in PyTorch."""

import dataclasses
import gc
import itertools
import pathlib
import shutil
import tempfile
from collections.abc import Callable

import keras
import numpy as np

from experiments.benchmarks import measuring, synthetic
from msmm.configs.base import Config
from msmm.models import losses
from msmm.training import compiling, model_parts, stages
from msmm.training.run import Run
from msmm.training.stage_table import PAPER_HEADS, PAPER_PARTS

PLAIN, THROUGH = "plain fit of the whole network", "classifier, through the images"
FINETUNE, VISUAL, ON_MAPS = "finetune", "visual, through the images", "visual, on kept maps"
IN_PRECISION = (FINETUNE, VISUAL, ON_MAPS)  # candidates that --precision applies to
CLASSES, TAGS = 81, 1000
HEAD_BATCH, HEAD_STEPS = 32, 50  # the default batch, and steps per turn, on features
IMAGES, ROWS = 72, 3600  # training rows with maps, and with features

Turn = Callable[[], int]  # does steps and returns their number of images


@dataclasses.dataclass(frozen=True)
class Setup:
    """The network, its precision and the sizes of a measurement.

    Attributes:
        backbone, image_size, precision: settings of those names.
        batch_size, steps: images per step and steps per turn, on images or their maps.
        pytorch: how PyTorch runs each step: of "eager" and "compiled"; none of it where empty.
    """

    backbone: str
    image_size: int
    precision: str
    batch_size: int
    steps: int
    pytorch: tuple[str, ...] = ()


def stage_of(candidate: str) -> str:
    """Returns the candidate in Keras that does the same work."""
    return candidate.partition(", PyTorch")[0]


def precision_of(candidate: str, setup: Setup) -> str:
    """Returns what a candidate computes in."""
    return setup.precision if stage_of(candidate) in IN_PRECISION else "float32"


def make_runs(folder: pathlib.Path, setup: Setup) -> dict[str, Run]:
    """Makes runs on images, on cached maps and on features, with the same parts."""

    def run(name, rows, maps_cache_gib=0.0, batch_size=setup.batch_size):
        splits = (("train", rows), ("test", 10))
        dataset = synthetic.SyntheticDataset(splits, CLASSES, TAGS, setup.image_size)
        config = Config(
            backbone=setup.backbone,
            weights="none",
            image_size=setup.image_size,
            precision=setup.precision,
            bn_momentum=0.0,
            batch_size=batch_size,
            maps_cache_gib=maps_cache_gib,
        )
        return Run(folder / name, dataset, config)

    images, heads = run("images", IMAGES), run("features", ROWS, batch_size=HEAD_BATCH)
    synthetic.fake_stages(images, "finetune", "visual", "textual")
    shutil.copytree(images.directory, heads.directory)
    width = model_parts.map_shapes(heads.config)[-1][-1]
    for kind in ("visual", "textual"):
        synthetic.fill_features(heads, "train", kind, width)
    return {"images": images, "maps": run("images", IMAGES, maps_cache_gib=100.0), "heads": heads}


def make_candidates(setup: Setup, images: Run, maps: Run, heads: Run) -> dict[str, Callable[[], Turn]]:
    """Returns functions that build a turn of each candidate, in the order of the table."""
    built: dict[str, Callable[[], Turn]] = {
        PLAIN: lambda: _plain_fit(setup, images),
        FINETUNE: lambda: _stage(images, "finetune", setup.steps),
        VISUAL: lambda: _stage(images, "visual", setup.steps),
        ON_MAPS: lambda: _stage(maps, "visual", setup.steps),
        THROUGH: lambda: _through_images(setup, images),
        **{stage: lambda stage=stage: _stage(heads, stage, HEAD_STEPS) for stage in PAPER_HEADS},
    }
    candidates: dict[str, Callable[[], Turn]] = {}
    for name, build in built.items():
        candidates[name] = build
        for mode in setup.pytorch:
            candidates[f"{name}, PyTorch {mode}"] = lambda name=name, mode=mode: _torch(
                setup, images, name, mode
            )
    return candidates


def count_operations(run: Run) -> dict[str, float]:
    """Counts the floating-point operations per image of each candidate in Keras."""
    built = {part: model_parts.build_part(part, run.config, CLASSES, TAGS) for part in PAPER_PARTS}
    once = {part: measuring.forward_operations(model) for part, model in built.items()}
    step = {part: measuring.training_operations(model) for part, model in built.items()}
    branches = ("backbone", "multi_scale", "textual")
    return {
        PLAIN: sum(step[part] for part in branches) + step["classifier"],
        FINETUNE: step["backbone"] + step["cnn_head"],
        VISUAL: once["backbone"] + step["multi_scale"] + step["visual_head"],
        ON_MAPS: step["multi_scale"] + step["visual_head"],
        THROUGH: sum(once[part] for part in branches) + step["classifier"],
        "textual": step["textual"] + step["textual_head"],
        "classifier": step["classifier"],
        "quantity": step["quantity"],
        "quantity_visual": step["quantity_visual"],
    }


def _stage(run: Run, stage: str, steps: int) -> Turn:
    """Returns a turn of steps of a stage as `stages.train` takes them, reading included."""
    task = stages.make_task(run, stage)
    rate = task.optimisation.learning_rate / 1000
    model, _ = compiling.build_compiled(task, run.config, rate)  # no matter what it learns
    batches = itertools.chain.from_iterable(task.data.batches(number) for number in itertools.count())

    def turn() -> int:
        images = 0
        for x, y in itertools.islice(batches, steps):
            model.train_on_batch(x, y)
            images += len(y)
        return images

    return turn


def _joint(run: Run, trainable: bool) -> keras.Model:
    """Builds the float32 model from pixels and tags to [f_v, f_t]."""
    parts = [model_parts.load_part(run, part) for part in ("backbone", "multi_scale", "textual")]
    for part in parts:
        part.trainable = trainable
    backbone, fusion, textual = parts
    joint = keras.layers.Concatenate()([fusion(backbone.output), textual.output])
    return keras.Model([backbone.input, textual.input], joint)


def _network(run: Run, trainable: bool) -> keras.Model:
    """Builds one float32 model from pixels and tags to the classifier's logits."""
    joint = _joint(run, trainable)
    head = model_parts.build_part("classifier", run.config, CLASSES, TAGS)
    model = keras.Model(joint.inputs, head(joint.output))
    model.compile(keras.optimizers.SGD(1e-6, momentum=0.9), losses.sigmoid_cross_entropy, jit_compile=False)
    return model


def _plain_fit(setup: Setup, run: Run) -> Turn:
    """Returns a turn of `Model.fit` of the whole network in float32, on pixels in memory."""
    model = _network(run, trainable=True)
    rows = np.arange(setup.batch_size * setup.steps)
    pixels = run.images("train").take(rows).astype(np.float32)
    tags, labels = (matrix[rows].astype(np.float32) for matrix in run.dataset.annotations("train")[1:])

    def turn() -> int:
        model.fit([pixels, tags], labels, batch_size=setup.batch_size, verbose=0, shuffle=False)
        return len(rows)

    return turn


def _through_images(setup: Setup, run: Run) -> Turn:
    """Returns a turn that trains the classifier alone and computes f_v and f_t at each step."""
    model, split = _network(run, trainable=False), run.split("train")

    def turn() -> int:
        epoch = run.images("train").epoch(run.train_rows, setup.batch_size, 0, 0, flip=True)
        for x, rows in itertools.islice(epoch, setup.steps):
            model.train_on_batch([x, split.tags[rows].astype(np.float32)], split.labels[rows])
        return setup.batch_size * setup.steps

    return turn


def _torch(setup: Setup, run: Run, stage: str, mode: str) -> Turn:
    """Returns a turn of a stage's steps in PyTorch, on one batch in memory."""
    from experiments.benchmarks.torch_training import TorchTraining

    batch, steps = (HEAD_BATCH, HEAD_STEPS) if stage in PAPER_HEADS else (setup.batch_size, setup.steps)
    l2 = 0.0 if stage in (PLAIN, THROUGH) else run.config.weight_decay  # as the candidate in Keras
    work = make_work(run, stage, batch)
    training = TorchTraining(work, precision_of(stage, setup), mode == "compiled", l2=l2)

    def turn() -> int:
        for _ in range(steps):
            training.step()
        return batch * steps

    return turn


def make_work(run: Run, stage: str, batch: int):
    """Returns the `torch_training.Work` of a candidate, on random inputs and targets of `batch` rows."""
    from experiments.benchmarks.torch_training import Work

    def part(name):
        fresh = name not in ("backbone", "multi_scale", "textual")
        model = (
            model_parts.build_part(name, run.config, CLASSES, TAGS)
            if fresh
            else model_parts.load_part(run, name)
        )
        model.trainable = True
        return model

    def after(body, head):
        return keras.Model(body.inputs, part(head)(body.output))

    backbone = part("backbone") if stage in (PLAIN, FINETUNE, VISUAL, THROUGH) else None
    trained = {
        PLAIN: lambda: _network(run, trainable=True),
        FINETUNE: lambda: model_parts.build_pooled_model(backbone, part("cnn_head")),
        VISUAL: lambda: after(part("multi_scale"), "visual_head"),
        ON_MAPS: lambda: after(part("multi_scale"), "visual_head"),
        THROUGH: lambda: part("classifier"),
        "textual": lambda: after(part("textual"), "textual_head"),
    }.get(stage, lambda: part(stage))()
    frozen = {VISUAL: backbone, THROUGH: _joint(run, False) if stage == THROUGH else None}.get(stage)
    rng, counts = np.random.default_rng(0), stage.startswith("quantity")
    inputs = []
    for tensor in (frozen or trained).inputs:
        shape = (batch, *tensor.shape[1:])
        if tensor.shape[-1] == 3:  # an image
            inputs.append(rng.uniform(0, 255, shape).astype(np.float32))
        elif tensor.shape[-1] == TAGS:
            inputs.append((rng.random(shape) < synthetic.TAGS_PER_IMAGE / TAGS).astype(np.float32))
        else:
            inputs.append(rng.random(shape, np.float32))
    labels = (rng.random((batch, CLASSES)) < synthetic.LABELS_PER_IMAGE / CLASSES).astype(np.float32)
    targets = labels.sum(axis=1, keepdims=True) if counts else labels
    return Work(trained, tuple(inputs), targets, frozen, counts)


def measure_memory(setup: Setup, candidate: str) -> float:
    """Returns the memory that a candidate takes, at its peak, MiB: for a process that does nothing else.

    It has the weights, the data and a turn of steps, but not what the process held before: the libraries.
    """
    with tempfile.TemporaryDirectory() as folder:
        build = make_candidates(setup, **make_runs(pathlib.Path(folder), setup))[candidate]
        gc.collect()
        with measuring.Memory() as before:
            pass
        with measuring.Memory() as held:
            build()()
    return held.own - before.own
