"""How fast a model annotates in each runtime that it can be exported to.

    python -m experiments.benchmark_export --model=runs/scenes/seed0/model

Exports to every format whose packages are installed, and prints milliseconds an image, on random pixels,
beside those of Keras.
"""

import pathlib
import tempfile
import time

from absl import flags

from msmm import command_line

_MODEL = flags.DEFINE_string("model", None, "Model directory.", required=True)
_ROUNDS = flags.DEFINE_integer(
    "rounds", 3, "The best of how many rounds, in which all take turns.", lower_bound=1
)
_SECONDS = flags.DEFINE_float("seconds", 2, "At least how long one lasts.", lower_bound=0)

BATCHES = (1, 32)


def main() -> None:
    command_line.import_tensorflow()
    import numpy as np

    from msmm import model_dir

    model, rng = model_dir.load(_MODEL.value), np.random.default_rng(0)
    size, num_tags = model.image_size, len(model.tags)
    with tempfile.TemporaryDirectory() as scratch:
        runs = {"Keras": lambda image, tags: model.network.predict_on_batch({"image": image, "tags": tags})}
        runs |= _exported(model, pathlib.Path(scratch))
        best = {}
        for _ in range(_ROUNDS.value):
            for batch in BATCHES:
                images = rng.uniform(0, 255, (batch, size, size, 3)).astype(np.float32)
                tags = (rng.random((batch, num_tags)) < 0.01).astype(np.float32)
                for name, run in runs.items():
                    best[name, batch] = min(_measure(run, images, tags), best.get((name, batch), np.inf))
    print(f"{model.info.get('dataset')}, {size} px, milliseconds an image, best of {_ROUNDS.value}")
    print(f"{'':>12}" + "".join(f"{f'batch {batch}':>12}" for batch in BATCHES))
    for name in runs:
        print(f"{name:>12}" + "".join(f"{best[name, batch]:>12.2f}" for batch in BATCHES))


def _exported(model, scratch: pathlib.Path) -> dict:
    from msmm.errors import UserError
    from msmm.exporting import formats
    from msmm.exporting.graph import Graph

    runs, graph = {}, Graph(model)
    for name in formats.FORMATS:
        try:
            target = formats.require(name)
        except UserError as error:
            print(f"left out: {error}")
            continue
        (scratch / name).mkdir()
        target.write(graph, scratch / name)
        runs[name] = target.open(scratch / name)
    return runs


def _measure(run, images, tags) -> float:
    """Milliseconds an image."""
    run(images, tags)
    calls, started = 0, time.perf_counter()
    while time.perf_counter() - started < _SECONDS.value or not calls:
        run(images, tags)
        calls += 1
    return 1000 * (time.perf_counter() - started) / calls / len(images)


if __name__ == "__main__":
    command_line.run(main)
