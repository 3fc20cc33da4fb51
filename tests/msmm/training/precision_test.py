"""Layers that compute in 16 bits: parts that stay float32, recorded settings, differences of results."""

import keras
import numpy as np
import pytest

from msmm.models.precision import IN_PRECISION, set_precision
from msmm.training import frozen_features, model_parts, stage_tasks, stages, table_predictions
from msmm.training.run import Run
from msmm.training.stage_table import PAPER_PARTS, PAPER_STAGES


def dtypes(model) -> dict[str, str]:
    dtype_by_layer = {}
    for layer in model.layers:
        dtype_by_layer |= (
            dtypes(layer) if isinstance(layer, keras.Model) else {layer.name: layer.compute_dtype}
        )
    return dtype_by_layer


def test_layers_compute_in_bfloat16_and_outputs_are_float32(make_run, requires_bfloat16):
    run = make_run(precision="bfloat16")
    labels, tags = len(run.dataset.labels), len(run.dataset.tags)
    for name in PAPER_PARTS:
        part = model_parts.build_part(name, run.config, labels, tags)
        assert {v.dtype for v in part.variables} <= {"float32", "int64", "uint32"}
        assert all(t.dtype == "float32" for t in part.outputs if len(t.shape) == 2)
        inputs = [np.ones((2, *i.shape[1:]), np.float32) for i in part.inputs]
        outputs = part(inputs if len(inputs) > 1 else inputs[0])
        outputs = outputs if isinstance(outputs, list) else [outputs]
        assert all(
            keras.backend.standardize_dtype(s.dtype) == "float32" for s in outputs if len(s.shape) == 2
        )
    dtype_by_layer = dtypes(model_parts.build_part("backbone", run.config, labels, tags))
    assert (
        dtype_by_layer["preprocess_caffe"] == "float32"
        and dtype_by_layer["conv2_block1_1_conv"] == "bfloat16"
    )
    for name in set(PAPER_PARTS) - set(IN_PRECISION):
        assert set(dtypes(model_parts.build_part(name, run.config, labels, tags)).values()) == {"float32"}


def test_batch_statistics_are_computed_in_float32():
    def statistics(precision):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((8, 8, 3))
        x = keras.layers.BatchNormalization(momentum=0.0)(inputs)
        model = set_precision(keras.Model(inputs, keras.layers.ReLU()(x)), precision)
        model(
            np.random.default_rng(0).normal(300, 1, (32, 8, 8, 3)).round().astype(np.float32), training=True
        )
        return [keras.ops.convert_to_numpy(v) for v in model.non_trainable_variables]

    # At 300, bfloat16 has steps of 2: a variance that was summed in it would be far off.
    mean, variance = statistics("bfloat16")
    assert mean == pytest.approx(300, abs=0.2) and (variance < 3).all()


def predict_in_precision(run, precision):
    """Returns logits of the fine-tuned CNN and of MS-CNN for test images, computed in a precision."""
    images, outputs = np.concatenate(list(run.images("test").ordered(16))), []
    trunk = set_precision(model_parts.load_part(run, "backbone"), precision)
    maps = trunk.predict_on_batch(images)
    fusion = set_precision(model_parts.load_part(run, "multi_scale"), precision)
    for part, inputs in (("cnn_head", None), ("visual_head", fusion.predict_on_batch(maps))):
        if inputs is None:
            inputs = np.asarray(maps[-1], np.float32).mean(axis=(1, 2))
        outputs.append(model_parts.load_part(run, part).predict_on_batch(inputs))
    return outputs


def test_a_trained_network_predicts_nearly_the_same_in_bfloat16(trained_run, requires_bfloat16):
    exact, near = (predict_in_precision(trained_run, p) for p in ("float32", "bfloat16"))
    for a, b in zip(exact, near, strict=True):
        assert b.dtype == np.float32
        error = np.abs(a - b).mean() / a.std()
        assert 1e-4 < error < 0.05  # bfloat16 rounds to 2^-9; an error of 0 would mean float32


@pytest.mark.slow
def test_bfloat16_training_follows_float32_training(trained_run, make_run, requires_bfloat16):
    """Both runs start from the same weights with small steps, as large steps would amplify rounding."""
    slow = {"finetune_learning_rate": 1e-4, "visual_learning_rate": 1e-4}
    exact, near = (make_run(p, precision=p, **slow) for p in ("float32", "bfloat16"))
    stages.train(exact, "visual")
    stages.train(near, "classifier")
    for stage in ("finetune", "visual"):
        histories = [run.stage_record(stage)["history"] for run in (exact, near)]
        a, b = (np.array([epoch["train"]["loss"] for epoch in history]) for history in histories)
        np.testing.assert_allclose(b, a, rtol=0.05)
        assert (a != b).all()
    assert near.stage_record("textual")["weights"] == trained_run.stage_record("textual")["weights"]
    assert frozen_features.visual_features(near, "test").dtype == np.float32
    assert table_predictions.predict_head(near, "classifier", "test").dtype == np.float32


def test_cached_features_are_float32_in_any_precision(trained_run, make_run, requires_bfloat16):
    run = make_run(precision="bfloat16")
    same = Run(trained_run.workdir, trained_run.dataset, run.config)
    assert all(set(dtypes(model_parts.load_part(same, part)).values()) == {"float32"} for part in PAPER_PARTS)
    # The same files are read, so nothing is computed again.
    for kind in (frozen_features.cnn_features, frozen_features.visual_features):
        assert kind(same, "test").filename == kind(trained_run, "test").filename
    frozen, exact = (make_run(p, precision=p, finetune_trunk=False) for p in ("bfloat16", "float32"))
    for each in (frozen, exact):
        stages.train(each, "finetune")
    assert frozen.stage_record("finetune")["weights"] == exact.stage_record("finetune")["weights"]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_frozen_trunk_computes_in_the_training_precision(trained_run, make_run, precision):
    config = make_run(precision=precision, maps_cache_gib=0.0).config
    network, _ = stage_tasks.make_visual_task(Run(trained_run.workdir, trained_run.dataset, config)).build()
    dtype_by_layer = dtypes(network)
    assert (
        dtype_by_layer["conv2_block1_1_conv"] == precision and dtype_by_layer["preprocess_caffe"] == "float32"
    )


@pytest.mark.slow
def test_float16_trains_every_stage(trained_run, make_run):
    run = make_run("float16", precision="float16")
    for stage in PAPER_STAGES:
        stages.train(run, stage)
    losses = {
        stage: [
            [epoch["train"]["loss"] for epoch in each.stage_record(stage)["history"]]
            for each in (trained_run, run)
        ]
        for stage in ("finetune", "visual")
    }
    exact, near = losses["finetune"]  # stage visual starts from the trunks of these two trainings
    assert near == pytest.approx(exact, rel=0.5)
    first, last = losses["visual"][1]
    assert last < 0.9 * first
    saved = keras.saving.load_model(table_predictions.save_model(run) / "model.keras", compile=False)
    assert set(dtypes(saved).values()) == {"float32"}  # for any machine


def test_only_precisions_other_than_float32_are_recorded(make_run, trained_run):
    assert "precision" not in trained_run.stage_record("visual")["settings"]
    assert stages.recorded_settings(make_run(precision="bfloat16"), "visual")["precision"] == "bfloat16"
