"""Does it help to read unknown tags as the nearest known ones (annotate --nearest_tags)? Beyond the paper.

    python -m experiments.nearest_tags                         the finished model on scenes
    python -m experiments.nearest_tags --seeds=3 --dataset=my_photos

Half of the tags that a model knows are hidden from it, at random, three times. A hidden tag of an image is
left out, or read as the nearest of the others if the cosine of their word vectors is at least a threshold;
"random" gives a random tag wherever "nearest" gives one. H-F1 (%), counted as annotate counts, on held-out
training images, which should choose the threshold, and on test images; means over draws and seeds.
"""

import random

from msmm import command_line

command_line.define_experiment_flags()

THRESHOLDS = (0.4, 0.5, 0.6, 0.7, 0.8)
DRAWS = 3
COLUMNS = ("hidden tags", "read (%)", "held-out", "gain", "test", "gain, ± over draws and seeds")


def main() -> None:
    from msmm.annotating import word_vectors

    word_vectors.require()
    runs = command_line.open_runs()
    import numpy as np

    from experiments import measuring

    found = [_measured(run, draw) for run in runs for draw in range(DRAWS)]
    rows = []
    for case in found[0]:
        read, *f1 = np.mean([of[case] for of in found], axis=0)
        gains = np.subtract([of[case][1:] for of in found], [of["left out"][1:] for of in found])
        (_, spread), gain = gains.std(axis=0, ddof=1), gains.mean(axis=0)
        cells = (f"{read:.1f}", f"{f1[0]:.2f}", f"{gain[0]:+.2f}", f"{f1[1]:.2f}", f"{gain[1]:+.2f}")
        rows.append([case, *cells[:4], f"{cells[4]} ± {spread:.2f}"])
    print(measuring.table(COLUMNS, rows))


def _measured(run, draw: int) -> dict[str, tuple[float, float, float]]:
    """What becomes of hidden tags -> % of them that are read, H-F1 of held-out and of test images."""
    from msmm.annotating.keywords import Tags
    from msmm.annotating.word_vectors import nearest

    model, tags = _of_features(run), run.dataset.tags
    left = tuple(random.Random(draw).sample(tags, len(tags) // 2))

    def at_random(find):
        return lambda word: find(word) and random.Random(f"{draw} {word}").choice(left)

    readers = {"not hidden": Tags(tags), "left out": Tags(left)}
    for threshold in THRESHOLDS:
        find = nearest(left, threshold)
        readers |= {f"nearest, {threshold}": Tags(left, find)}
        readers |= {f"random, {threshold}": Tags(left, at_random(find))}
    return {case: _figures(run, model, reader) for case, reader in readers.items()}


def _of_features(run):
    """The finished model, for images of one pixel whose channels are f_v."""
    import keras

    from msmm import model_dir

    whole = model_dir.load(run.model_directory)
    inputs = [whole.network.get_layer("joint").input[0], whole.network.input["tags"]]
    rest = keras.Model(inputs, whole.network.output)

    def predict(image, tags):
        said = rest.predict_on_batch([image[:, 0, 0], tags])
        return said | {"quantity": said["quantity"][:, 0]}

    engine = model_dir.Engine(predict, model_dir.sizes_of(whole.network) | {"image": 1})
    fitted = whole.quantities, whole.quantities_without_tags
    return model_dir.Model(engine, whole.labels, whole.tags, whole.info, *fitted)


def _figures(run, model, reader) -> tuple[float, float, float]:
    import numpy as np

    from msmm import features
    from msmm.metrics import annotation_metrics

    found = []
    for split, rows in (("train", run.held_out_rows), ("test", np.arange(len(run.split("test").ids)))):
        words = ([model.tags[i] for i in np.flatnonzero(row)] for row in run.split(split).tags[rows])
        known, unknown, near = zip(*(reader.split(of_image) for of_image in words), strict=True)
        said = model.annotate(features.visual(run, split)[rows][:, None, None], known)
        chosen = np.array([np.isin(model.labels, annotation.labels) for annotation in said])
        found.append(annotation_metrics(run.split(split).labels[rows], chosen)["H-F1"])
    read, rest = (sum(map(len, words)) for words in (near, unknown))
    return 100 * read / max(1, read + rest), *found


if __name__ == "__main__":
    command_line.run(main)
