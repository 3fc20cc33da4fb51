"""Measures the speed of each stage, beside a plain Keras fit of the whole network and the machine's limit.

    python -m experiments.benchmark_training
    python -m experiments.benchmark_training --precision=bfloat16

Uses random images, annotations and weights, which do not change the speed. All candidates take turns in one
process; the median of --repeats counts. "Plain fit" is `Model.fit` of backbone, fusion, MLP and classifier
together, on decoded images in memory. The limit is the work of a stage (its products and convolutions) over
the rate at which this machine multiplies matrices of the same precision. Features that are computed once are
float32 in any case.
"""

import itertools
import pathlib
import shutil
import tempfile

from absl import flags

from msmm.core import command_line
from msmm.training.stage_table import PAPER_HEADS

_BACKBONE = flags.DEFINE_string("backbone", "resnet101", "As the setting of that name.")
_SIZE = flags.DEFINE_integer("image_size", 224, "Side of the images, pixels.", 32)
_PRECISION = flags.DEFINE_enum(
    "precision", "float32", ["float32", "bfloat16", "float16"], "Of the stages; the plain fit is float32."
)
_BATCH = flags.DEFINE_integer("batch_size", 8, "Images per step, on images or their maps.", 1)
_STEPS = flags.DEFINE_integer("steps", 2, "Steps per turn, on images or their maps.", 1)
_REPEATS = flags.DEFINE_integer("repeats", 3, "Turns of each candidate that count; the median is printed.", 1)

PLAIN, THROUGH = "plain fit of the whole network", "classifier, through the images"
CLASSES, TAGS = 81, 1000
HEAD_BATCH, HEAD_STEPS = 32, 50  # the default batch, and steps per turn, on features
IMAGES, ROWS = 72, 3600  # training rows with maps, and with features


def main() -> None:
    command_line.import_tensorflow()
    from experiments.benchmarks import measuring

    with tempfile.TemporaryDirectory() as folder:
        runs = _runs(pathlib.Path(folder))
        work, candidates = _work(runs["images"]), _candidates(**runs)
        speed = measuring.measure_in_turn(candidates, _REPEATS.value)
    rates = {p: measuring.measure_matrix_rate(p) for p in ("float32", _PRECISION.value)}
    print(measuring.describe_machine("tensorflow", "keras"))
    print(f"{_BACKBONE.value} at {_SIZE.value} px, stages in {_PRECISION.value}; 81 classes, 1,000 tags;")
    print(f"batches of {_BATCH.value}, on features {HEAD_BATCH}; median of {_REPEATS.value} turns; matrices:")
    print(", ".join(f"{rate / 1e9:,.0f} GFLOP/s in {name}" for name, rate in rates.items()) + "\n")
    rows = []
    for name in candidates:
        precision = _PRECISION.value if name.startswith(("finetune", "visual")) else "float32"
        limit = rates[precision] / work[name]
        row = [f"{speed[name]:,.1f}", f"{speed[name] / speed[PLAIN]:,.2f}", f"{work[name] / 1e9:,.3f}"]
        rows.append([name, *row, f"{speed[name] / limit:.0%}"])
    print(measuring.markdown_table(["", "images/s", "times plain", "GFLOP per image", "of the limit"], rows))
    print(f"\nclassifier: on features {speed['classifier'] / speed[THROUGH]:,.0f} times as fast as {THROUGH}")


def _runs(folder: pathlib.Path) -> dict:
    """Makes runs on images, on cached maps and on features, with the same parts."""
    from experiments.benchmarks import synthetic
    from msmm.configs.base import Config
    from msmm.training import model_parts
    from msmm.training.run import Run

    def run(name, rows, maps_cache_gib=0.0, batch_size=_BATCH.value):
        dataset = synthetic.SyntheticDataset((("train", rows), ("test", 10)), CLASSES, TAGS, _SIZE.value)
        config = Config(
            backbone=_BACKBONE.value,
            weights="none",
            image_size=_SIZE.value,
            precision=_PRECISION.value,
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


def _candidates(images, maps, heads) -> dict:
    """Returns the candidates that take turns."""
    return {
        PLAIN: _plain_fit(images),
        "finetune": _stage(images, "finetune", _STEPS.value),
        "visual, through the images": _stage(images, "visual", _STEPS.value),
        "visual, on kept maps": _stage(maps, "visual", _STEPS.value),
        THROUGH: _through_images(images),
        **{stage: _stage(heads, stage, HEAD_STEPS) for stage in PAPER_HEADS},
    }


def _work(run) -> dict[str, float]:
    """Counts the floating-point operations per image of each candidate."""
    from experiments.benchmarks import measuring
    from msmm.training import model_parts
    from msmm.training.stage_table import PAPER_PARTS, STAGES

    built = {part: model_parts.build_part(part, run.config, CLASSES, TAGS) for part in PAPER_PARTS}
    once = {part: measuring.forward_operations(model) for part, model in built.items()}
    step = {part: measuring.training_operations(model) for part, model in built.items()}
    branches = ("backbone", "multi_scale", "textual")
    return {
        PLAIN: sum(step[part] for part in branches) + step["classifier"],
        "finetune": step["backbone"] + step["cnn_head"],
        "visual, through the images": once["backbone"] + step["multi_scale"] + step["visual_head"],
        "visual, on kept maps": step["multi_scale"] + step["visual_head"],
        THROUGH: sum(once[part] for part in branches) + step["classifier"],
        **{stage: sum(step[part] for part in STAGES[stage].parts) for stage in PAPER_HEADS},
    }


def _stage(run, stage: str, steps: int):
    """Returns a turn of steps of a stage as `stages.train` takes them, reading included."""
    from msmm.training import compiling, stages

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


def _network(run, trainable: bool):
    """Builds one float32 model from pixels and tags to the classifier's logits."""
    import keras

    from msmm.models import losses
    from msmm.training import model_parts

    inputs = keras.Input((_SIZE.value, _SIZE.value, 3)), keras.Input((TAGS,))
    backbone, fusion, textual = (
        model_parts.load_part(run, part) for part in ("backbone", "multi_scale", "textual")
    )
    for part in (backbone, fusion, textual):
        part.trainable = trainable
    joint = keras.layers.Concatenate()([fusion(backbone(inputs[0])), textual(inputs[1])])
    model = keras.Model(inputs, model_parts.build_part("classifier", run.config, CLASSES, TAGS)(joint))
    model.compile(keras.optimizers.SGD(1e-6, momentum=0.9), losses.sigmoid_cross_entropy, jit_compile=False)
    return model


def _plain_fit(run):
    """Returns a turn of `Model.fit` of the whole network in float32, on pixels in memory."""
    import numpy as np

    model = _network(run, trainable=True)
    rows = np.arange(_BATCH.value * _STEPS.value)
    pixels = run.images("train").take(rows).astype(np.float32)
    tags, labels = (matrix[rows].astype(np.float32) for matrix in run.dataset.annotations("train")[1:])

    def turn() -> int:
        model.fit([pixels, tags], labels, batch_size=_BATCH.value, verbose=0, shuffle=False)
        return len(rows)

    return turn


def _through_images(run):
    """Returns a turn that trains the classifier alone and computes f_v and f_t at each step."""
    import numpy as np

    model, split = _network(run, trainable=False), run.split("train")

    def turn() -> int:
        epoch = run.images("train").epoch(run.train_rows, _BATCH.value, 0, 0, flip=True)
        for x, rows in itertools.islice(epoch, _STEPS.value):
            model.train_on_batch([x, split.tags[rows].astype(np.float32)], split.labels[rows])
        return _BATCH.value * _STEPS.value

    return turn


if __name__ == "__main__":
    command_line.run(main)
