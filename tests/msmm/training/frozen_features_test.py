import dataclasses
import itertools
import tracemalloc

import keras
import numpy as np
import pytest
import tensorflow as tf

from experiments.benchmarks import synthetic
from msmm.core.errors import UserError
from msmm.training import (
    compiling,
    frozen_features,
    model_parts,
    stage_tasks,
    stages,
    table_predictions,
    task_building,
)
from msmm.training.run import Run


def test_cached_features_equal_the_outputs_of_the_parts(trained_run):
    run = trained_run
    images = np.concatenate(list(run.images("test").ordered(64)))
    maps = model_parts.load_part(run, "backbone").predict_on_batch(images)
    np.testing.assert_allclose(
        frozen_features.cnn_features(run, "test"), maps[-1].mean(axis=(1, 2)), rtol=2e-3, atol=1e-3
    )
    f_v = model_parts.load_part(run, "multi_scale").predict_on_batch(maps)
    np.testing.assert_allclose(
        frozen_features.visual_features(run, "test"), f_v, rtol=5e-3, atol=np.abs(f_v).max() * 2e-3
    )
    f_t = model_parts.load_part(run, "textual").predict_on_batch(run.split("test").tags.astype(np.float32))
    np.testing.assert_allclose(frozen_features.textual_features(run, "test"), f_t, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(
        frozen_features.concatenated_features(run, "test")[:],
        np.concatenate(
            [frozen_features.visual_features(run, "test"), frozen_features.textual_features(run, "test")],
            axis=1,
        ),
    )


def test_concatenated_features_are_read_row_by_row(make_run):
    """Neither a stage nor a prediction holds all rows: all [f_v, f_t] would take 41 MB."""
    rows, width = 20_000, 256
    run = make_run(backbone="resnet-1-1-1-1-w8", textual_units=width)
    run.dataset = synthetic.SyntheticDataset((("train", rows), ("test", 16)), 5, 20)
    synthetic.fake_stages_without_parts(run)
    synthetic.fake_stages(run, "classifier")
    for kind in ("visual", "textual"):
        synthetic.fill_features(run, "train", kind, width)
    assert len(run.train_rows) == 18_000  # annotations are in memory from here on
    tracemalloc.start()
    task = stages.make_task(run, "classifier")
    model, _ = compiling.build_compiled(task, run.config, 1e-3)
    for x, y in itertools.islice(task.data.batches(0), 5):
        model.train_on_batch(x, y)
    task.evaluate(model)
    logits = table_predictions.predict_head(run, "classifier", "train", run.held_out_rows)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert logits.shape == (2_000, 5) and peak < 25e6


def test_training_a_head_on_features_equals_training_on_images(trained_run, tmp_path):
    config = dataclasses.replace(trained_run.config, maps_cache_gib=0.0)  # cached maps are float16
    run = Run(trained_run.workdir, trained_run.dataset, config, features_directory=tmp_path)
    on_features = stage_tasks.make_classifier_task(run)
    head, _ = compiling.build_compiled(on_features, config, 1e-3)
    branches = [model_parts.load_part(run, part) for part in ("backbone", "multi_scale", "textual")]
    inputs = keras.Input((config.image_size, config.image_size, 3)), keras.Input((len(run.dataset.tags),))
    f_v, f_t = branches[1](branches[0](inputs[0])), branches[2](inputs[1])

    def build():
        other = on_features.build()[0]
        return keras.Model(inputs, other(keras.layers.Concatenate()([f_v, f_t]))), {"classifier": other}

    end_to_end, built = compiling.build_compiled(dataclasses.replace(on_features, build=build), config, 1e-3)
    assert len(end_to_end.trainable_variables) == 2  # of the head alone
    split, batches = (
        run.split("train"),
        task_building.epoch_batches(run, task_building.stage_seed(run, "classifier"), 0),
    )
    for (x, y), rows in zip(on_features.data.batches(0), batches, strict=True):
        pixels = run.images("train").take(rows).astype(np.float32)
        a = head.train_on_batch(x, y)
        b = end_to_end.train_on_batch([pixels, split.tags[rows].astype(np.float32)], y)
        assert a == pytest.approx(b, rel=1e-4)
    for a, b in zip(head.variables, built["classifier"].variables, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def test_no_gradient_runs_through_the_trunk_of_stage_visual(trained_run, tmp_path):
    """Streamed, trunk and fusion are one model: its step differentiates the eight convolutions of the fusion
    alone, so that no activation of the trunk is stored for it."""
    config = dataclasses.replace(trained_run.config, maps_cache_gib=0.0)
    run = Run(trained_run.workdir, trained_run.dataset, config, features_directory=tmp_path)
    task = stage_tasks.make_visual_task(run)
    model = task.build()[0]
    x, y = next(iter(task.data.batches(0)))

    @tf.function
    def step(x, y):  # as Keras computes it
        with tf.GradientTape() as tape:
            loss = keras.ops.mean(task.optimisation.loss(y, model(x, training=True)))
        return tape.gradient(loss, [v.value for v in model.trainable_variables])

    needed, pending = (
        set(),
        [t.op for t in step.get_concrete_function(tf.constant(x), tf.constant(y)).outputs],
    )
    while pending:
        operation = pending.pop()
        if operation not in needed:
            needed.add(operation)
            pending += [t.op for t in operation.inputs] + operation.control_inputs
    kinds = [operation.type for operation in needed]
    assert kinds.count("Conv2DBackpropFilter") == 8 and kinds.count("Conv2DBackpropInput") == 7
    assert kinds.count("Conv2D") > 16


def test_mirrored_maps_equal_maps_of_mirrored_images(trained_run):
    run = trained_run
    flipped = np.concatenate(list(run.images("test").ordered(64)))[:, :, ::-1]
    expected = model_parts.load_part(run, "backbone").predict_on_batch(flipped)
    for cached, map_of_image in zip(
        frozen_features.cached_maps(run, "test", flip=True), expected, strict=True
    ):
        np.testing.assert_allclose(cached[:], map_of_image, rtol=2e-3, atol=1e-2)


@pytest.mark.slow
def test_maps_over_the_budget_are_not_cached_and_training_is_the_same(make_run):
    """Stage visual on images and on cached maps (float16) agrees to the precision of float16."""
    cached, streamed = make_run("cached"), make_run("streamed", maps_cache_gib=0.0)
    for run in (cached, streamed):
        stages.train(run, "visual")
    assert frozen_features.cached_maps(streamed, "train") is None
    assert not list(streamed.features_directory.glob("maps-*"))
    assert len(list(cached.features_directory.glob("maps-train*"))) == 2  # plain and mirrored
    a, b = (run.stage_record("visual")["history"] for run in (cached, streamed))
    for x, y in zip(a, b, strict=True):
        assert x["train"]["loss"] == pytest.approx(y["train"]["loss"], rel=2e-3)
        assert x["held-out"]["loss"] == pytest.approx(y["held-out"]["loss"], rel=2e-2)
    f_v = [frozen_features.visual_features(run, "test") for run in (cached, streamed)]
    # Without AVX-512 some units part by rounding in the course of the training.
    close = np.isclose(*f_v, rtol=0.05, atol=np.abs(f_v[0]).max() * 0.02)
    assert close.mean() > 0.98
    frozen_features.discard_maps(cached)
    assert not list(cached.features_directory.glob("maps-*"))


@pytest.mark.parametrize("setting", [{"preprocessing": "tf"}, {"backbone_taps": ("a", "b", "c", "d", "e")}])
def test_the_cache_key_of_features_includes_preprocessing_and_taps(make_run, setting):
    by_default, other = make_run(), make_run(**setting)
    name = next(iter(setting))
    assert name not in frozen_features.cache_key(by_default, "test")  # so existing caches stay valid
    assert frozen_features.cache_key(other, "test") == {
        **frozen_features.cache_key(by_default, "test"),
        **setting,
    }


def test_a_part_trained_on_another_image_size_is_refused(trained_run):
    config = dataclasses.replace(trained_run.config, image_size=64)
    other = Run(trained_run.workdir, trained_run.dataset, config)
    with pytest.raises(UserError, match="image_size=32, and now image_size=64: give the same --image_size"):
        table_predictions.predict_head(other, "classifier", "test")
    same = dataclasses.replace(config, image_size=32, k=5)
    model_parts.load_part(Run(trained_run.workdir, trained_run.dataset, same), "backbone")
