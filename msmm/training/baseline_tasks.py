"""What the compared methods share: the features that they read, their training task, their annotations."""

import dataclasses

import keras
import numpy as np

from msmm.baselines.method import Examples, Method, predict
from msmm.baselines.registry import METHODS
from msmm.data.input_pipeline import batches_of, epoch_rows
from msmm.scoring.metrics import annotation_metrics
from msmm.scoring.predictions import Annotations, choose
from msmm.training import frozen_features, model_parts, stage_tasks
from msmm.training.loop import Task
from msmm.training.run import Run


def trunk(run: Run, name: str) -> str:
    """Whose features a method reads in a run: "pretrained", "finetuned", or "images" if it trains its own."""
    wanted = METHODS[name].trunk
    if wanted == "own":
        return "images" if run.config.finetune_trunk else "pretrained"
    # Without ImageNet weights there is one trunk that has learnt something.
    return wanted if model_parts.is_pretrained(run.config) else "finetuned"


def create(run: Run, name: str) -> Method:
    """A method with the splits of a run."""
    of_trunk = {
        "pretrained": _pretrained,
        "finetuned": frozen_features.cnn,
        "images": lambda run, split: None,
    }
    feature = of_trunk[trunk(run, name)]
    splits = {}
    for split in run.dataset.splits:
        annotated = run.split(split)
        splits[split] = Examples(feature(run, split), annotated.tags, annotated.labels)

    def cached(kind, key, *how):
        key = {"dataset": run.dataset.fingerprint, **key}
        return frozen_features.cached(run.features_directory, kind, key, *how)

    return METHODS[name](run.config, splits, model_parts.map_shapes(run.config)[-1][-1], cached)


def task(run: Run, name: str) -> Task:
    """What `training.fit` needs to train a method."""
    method = create(run, name)
    on_images = trunk(run, name) == "images"
    seed = stage_tasks.stage_seed(run, name)
    held_out = run.held_out_rows

    model_parts.map_shapes(run.config)  # before anything is seeded, see `tasks.fresh_parts`

    def build():
        keras.utils.set_random_seed(seed)
        network = method.build()
        if not on_images:
            return network, {name: network}
        backbone = model_parts.build_backbone(run.config)
        return model_parts.on_pooled_maps(backbone, network), {f"{name}_backbone": backbone, name: network}

    def epoch(number):
        rng = np.random.default_rng((seed, number, 2))
        if on_images:
            shuffled = run.images("train").epoch(
                run.train_rows, method.batch_size, seed, number, run.config.flip
            )
            return ((x, method.targets(rows, rng)) for x, rows in shuffled)
        order = epoch_rows(run.train_rows, seed, number)
        rows_of = batches_of(order, method.batch_size, drop_remainder=True)
        return ((method.inputs(rows, number, rng), method.targets(rows, rng)) for rows in rows_of)

    def outputs(model):
        if on_images:
            return stage_tasks.predict_images(run, model)
        return predict(model, method.inputs(held_out, None, np.random.default_rng(seed)))

    def choose_held_out(model, said):
        annotated = method.decode(said) if on_images else method.annotate(model, "train", held_out)
        return chosen(run, annotated)

    def figures(model, said):
        return stage_tasks.held_out_figures(run.split("train").labels[held_out], choose_held_out(model, said))

    return Task(
        name=name,
        learning_rate=getattr(run.config, f"{name}_learning_rate"),
        epochs=getattr(run.config, f"{name}_epochs"),
        steps_per_epoch=max(1, len(run.train_rows) // method.batch_size),
        build=build,
        loss=method.loss,
        optimizer=method.optimizer,
        epoch=epoch,
        predict=outputs,
        held_out_y=method.targets(held_out, np.random.default_rng(seed)),
        figures=figures,
        chosen=choose_held_out,
        select="H-F1",
    )


def annotate(run: Run, name: str, split: str = "test") -> Annotations:
    """What a trained method says of a split; counts are its own, or None where it only ranks."""
    method = create(run, name)
    network = method.build()
    directory = run.stage_directory(name)
    model_parts.load_weights(network, directory, name)
    if trunk(run, name) != "images":
        return method.annotate(network, split, np.arange(run.dataset.num_examples(split)))
    backbone = model_parts.build_backbone(
        dataclasses.replace(run.config, weights="none", precision="float32")
    )
    model_parts.load_weights(backbone, directory, f"{name}_backbone")
    whole = model_parts.on_pooled_maps(backbone, network)
    batches = run.images(split).ordered(frozen_features.BATCH)
    said = [keras.ops.convert_to_numpy(whole.predict_on_batch(batch)) for batch in batches]
    return method.decode(np.concatenate(said))


def measure(run: Run, name: str, split: str = "test") -> tuple[np.ndarray, dict[str, float]]:
    """The labels that a method chooses (its own number, or k), bool [N, C], and the figures of eq. 6-7."""
    said = chosen(run, annotate(run, name, split))
    return said, annotation_metrics(run.split(split).labels, said)


def chosen(run: Run, annotations: Annotations) -> np.ndarray:
    """The labels that annotations ask for, bool [N, C]; k an image where they only rank."""
    return choose(annotations, k=run.config.k if annotations.counts is None else None)


def _pretrained(run: Run, split: str) -> np.ndarray:
    backbone = stage_tasks.fresh_parts(run, "finetune", "backbone")[0]
    return frozen_features.pretrained(run, backbone, split)
