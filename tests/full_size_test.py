"""Training at the sizes of the paper: ResNet-101 at 224 pixels, 81 classes, 1,000 tags."""

import keras
import numpy as np
import pytest
from PIL import Image

from msmm.configs import get_config, replace_flat
from msmm.data.input_pipeline import Images
from msmm.training import batch_norm_statistics, model_parts, stages, table_predictions
from msmm.training.run import Run
from msmm.training.stage_table import PAPER_STAGES, STAGES
from msmm.training.table_rows import COMPLETE, TABLE_ROWS


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Packs 36 training and 8 test images of noise with NUS-WIDE's numbers of classes and tags."""
    import json

    from msmm.data import records
    from tfrecords_tools.datasets import manifest
    from tfrecords_tools.packing import builder

    directory = tmp_path_factory.mktemp("full_size")
    rng = np.random.default_rng(0)
    labels, tags = [f"class{i}" for i in range(81)], [f"tag{i}" for i in range(1000)]
    lines = []
    for i in range(44):
        Image.fromarray(rng.integers(0, 256, (240, 320, 3), np.uint8)).save(directory / f"{i}.jpg")
        row = {"image": f"{i}.jpg", "split": "train" if i < 36 else "test"}
        row |= {"labels": list(rng.choice(labels, 3, False)), "tags": list(rng.choice(tags, 5, False))}
        lines.append(json.dumps(row))
    for name, words in (("labels.txt", labels), ("tags.txt", tags), ("manifest.jsonl", lines)):
        (directory / name).write_text("\n".join(words))
    builder.pack(
        manifest.Manifest,
        "noise",
        directory / "data",
        manifest=directory / "manifest.jsonl",
        labels_file=directory / "labels.txt",
        tags_file=directory / "tags.txt",
    )
    return records.open_dataset(directory / "data", "noise")


@pytest.fixture(scope="module")
def weights(dataset, tmp_path_factory):
    """Writes weights of a ResNet-101 with random kernels and their batch statistics.

    Without these statistics, a hundred layers in inference mode would multiply the activations without end.
    """
    trunk = keras.applications.ResNet101(include_top=False, weights=None, input_shape=(224, 224, 3))
    images = next(Images(dataset, "train", 224, cache_gib=1).ordered(16))
    batch_norm_statistics.reestimate(trunk, [keras.applications.resnet.preprocess_input(images)], 1)
    path = tmp_path_factory.mktemp("weights") / "resnet101.weights.h5"
    trunk.save_weights(path)
    return str(path)


@pytest.mark.slow
@pytest.mark.parametrize("maps_cache_gib", [0.0, 8.0])
def test_every_stage_trains_a_few_steps_at_full_size(dataset, weights, tmp_path, maps_cache_gib):
    settings = {"weights": weights, "batch_size": 8, "bn_batches": 2, "maps_cache_gib": maps_cache_gib}
    # Four steps do not move the BN averages at 0.9997, so they must not move the weights far either.
    settings |= {"finetune_learning_rate": 1e-6, "visual_learning_rate": 1e-6}
    settings |= {f"{STAGES[stage].group}_epochs": 1 for stage in PAPER_STAGES}
    config = replace_flat(get_config("nus_wide"), settings)
    run = Run(tmp_path / "run", dataset, config)
    for stage in PAPER_STAGES:
        stages.train(run, stage)
        assert stage.startswith("quantity") or not run.stage_record(stage)["fallbacks"]
        assert np.isfinite(run.stage_record(stage)["held-out"]["loss"])
    assert model_parts.load_part(run, "multi_scale").count_params() == 15_214_848
    chosen, _ = table_predictions.measure_row(run, TABLE_ROWS[COMPLETE])
    assert chosen.shape == (8, 81) and (chosen.sum(axis=1) >= 1).all()
