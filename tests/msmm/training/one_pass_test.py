"""With a frozen trunk, every command reads the same features, and the trunk sees every image once."""

import math

import keras
import numpy as np
import pytest

from msmm.training import frozen_features, model_parts, stages, task_building

FROZEN = {"finetune_trunk": False, "finetune_epochs": 1, "visual_epochs": 1, "flip": False}


def _fresh_trunk(run):
    return task_building.build_fresh_parts(run, "finetune", "backbone")[0]


@pytest.mark.parametrize("maps_cache_gib", [0.0, 8.0])
def test_features_of_a_frozen_trunk_do_not_depend_on_who_computes_them(make_run, maps_cache_gib):
    run = make_run(**FROZEN, maps_cache_gib=maps_cache_gib)
    stages.train(run, "finetune")
    other = make_run(**FROZEN, maps_cache_gib=maps_cache_gib)
    run.features_directory = run.workdir / "by_cnn"
    other.features_directory = run.workdir / "by_pretrained"
    readers = {
        run: lambda split: frozen_features.cnn_features(run, split),
        other: lambda split: frozen_features.pretrained_features(other, _fresh_trunk(other), split),
    }
    for split in ("train", "test"):
        np.testing.assert_array_equal(*(read(split) for read in readers.values()))
    names = [sorted(path.name for path in r.features_directory.iterdir()) for r in readers]
    assert names[0] == names[1] and len(names[0]) == (4 if maps_cache_gib else 2)


def test_a_frozen_trunk_sees_each_training_image_once(make_run, monkeypatch):
    run, seen, predict = make_run(**FROZEN), [], keras.Model.predict_on_batch

    def counted(model, x):
        if isinstance(x, np.ndarray) and x.shape[1:] == model.input_shape[1:] == (32, 32, 3):
            seen.append(len(x))
        return predict(model, x)

    monkeypatch.setattr(keras.Model, "predict_on_batch", counted)
    stages.train(run, "visual")
    assert sum(seen) == run.dataset.num_examples("train")


def test_features_through_cached_maps_and_from_images_have_different_files(make_run):
    stages.train(make_run(**FROZEN), "visual")
    for gib in (0.0, 8.0, 0.0):
        run = make_run(**FROZEN, maps_cache_gib=gib)
        frozen_features.cnn_features(run, "test")
        frozen_features.visual_features(run, "test")
    for kind in ("cnn", "visual"):
        assert len(list(run.features_directory.glob(f"{kind}-test-*"))) == 2


def test_features_of_a_trunk_that_will_train_come_from_the_images(make_run):
    run = make_run()
    trunk = _fresh_trunk(run)
    features = frozen_features.pretrained_features(run, trunk, "test")
    pooled = model_parts.build_pooled_model(trunk)
    images = run.images("test").ordered(frozen_features.BATCH)
    expected = np.concatenate([keras.ops.convert_to_numpy(pooled.predict_on_batch(x)) for x in images])
    np.testing.assert_array_equal(features, expected)
    assert not list(run.features_directory.glob("maps-*"))


def test_the_maps_of_every_split_count_against_the_disk_budget(make_run):
    per_image = 2 * sum(math.prod(shape) for shape in model_parts.map_shapes(make_run().config))
    images = {split: make_run().dataset.num_examples(split) for split in ("train", "test")}
    for counted, cached in ((images["train"], False), (sum(images.values()), True)):
        run = make_run(**FROZEN, maps_cache_gib=counted * per_image / 2**30)
        trunk = _fresh_trunk(run)
        for split in images:
            assert (frozen_features.cached_maps(run, split, backbone=trunk) is not None) == cached
    used = sum(path.stat().st_size for path in run.features_directory.glob("maps-*/*.npy"))
    assert 0 < used - counted * per_image < 10_000  # headers of the files
