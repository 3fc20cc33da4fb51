"""Stages on an image transformer of KerasHub: the trunk fine-tuned, its maps cached, its model saved."""

import keras
import numpy as np
import pytest

from msmm import describe
from msmm.configs import replace_flat
from msmm.configs.scenes import Config
from msmm.core.errors import UserError
from msmm.inference import engines, model_dir
from msmm.models.precision import set_precision
from msmm.training import baseline_tasks, frozen_features, model_parts, stages, table_predictions
from msmm.training.fast_layers import accelerated, plain_copy
from msmm.training.stage_table import PAPER_STAGES
from msmm.training.table_rows import COMPLETE, TABLE_ROWS
from tests.presets import WIDTH, write_preset


@pytest.fixture(scope="module")
def presets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("presets")
    for kind in ("vit", "dinov2"):
        write_preset(folder / kind, kind, side=32, patch=16)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["vit", "dinov2"])
def test_every_stage_trains_on_a_transformer_and_the_saved_model_predicts_the_same(make_run, presets, kind):
    run = make_run(backbone=f"keras_hub:{presets / kind}", finetune_trunk=True, csra_epochs=1)
    for stage in PAPER_STAGES:
        stages.train(run, stage)
    fresh, trained = model_parts.build_backbone(run.config), model_parts.load_part(run, "backbone")
    kernels = [
        (a, b) for a, b in zip(fresh.weights, trained.weights, strict=True) if b.path.endswith("kernel")
    ]
    assert len(kernels) > 4 and all(np.abs(a - b).max() > 0 for a, b in kernels)
    shapes = [maps[:1].shape for maps in frozen_features.cached_maps(run, "test")]
    assert shapes == [(1, 2, 2, WIDTH), (1, 1, 1, WIDTH)]
    stages.train(run, "csra+tags")
    assert np.isfinite(baseline_tasks.predict_baseline(run, "csra+tags").scores).all()
    directory = table_predictions.save_model(run)
    network = model_dir.load(directory).network
    images, tags = (
        next(iter(run.images("test").ordered(4))).astype(np.float32),
        run.split("test").tags[:4].astype(np.float32),
    )
    wanted = network.predict_on_batch({"image": images, "tags": tags})["probabilities"]
    without_rounding = make_run(
        backbone=f"keras_hub:{presets / kind}", finetune_trunk=True, csra_epochs=1, maps_cache_gib=0.0
    )  # maps are cached in float16, which this network amplifies
    row = table_predictions.predict_probabilities(without_rounding, TABLE_ROWS[COMPLETE], "test")[:4]
    np.testing.assert_allclose(wanted, row, rtol=1e-3, atol=1e-3)
    for engine in ("openvino", "onnxruntime"):
        probabilities = engines.load(directory, engine).run(images, tags)["probabilities"]
        np.testing.assert_allclose(probabilities, wanted, rtol=1e-3, atol=1e-4)


def test_describe_shows_the_five_maps_of_a_transformer(presets):
    settings = {"backbone": f"keras_hub:{presets / 'vit'}", "image_size": 64}
    described = describe.describe_model("mine", replace_flat(Config(), settings), 3, 4)
    assert [m[0] for m in described["maps"].values()] == [32, 16, 8, 4, 2]
    assert [m[2] for m in described["maps"].values()] == [2, 4, 8, WIDTH, WIDTH]
    assert "M4 … M5" in describe.as_text(described)


def test_copies_of_a_transformer_for_training_keep_its_results(presets, make_run):
    run = make_run(backbone=f"keras_hub:{presets / 'vit'}", image_size=64, weights="imagenet")
    backbone = model_parts.build_backbone(run.config)
    image = np.random.default_rng(0).uniform(0, 255, (1, 64, 64, 3)).astype(np.float32)
    expected = backbone.predict_on_batch(image)
    fast = accelerated(backbone)
    copy = keras.models.clone_model(fast, clone_function=plain_copy)
    copy.set_weights(backbone.get_weights())
    for model in (fast, copy):
        for maps, wanted in zip(model.predict_on_batch(image), expected, strict=True):
            np.testing.assert_allclose(maps, wanted, rtol=1e-5, atol=1e-6)


def test_maps_of_a_transformer_cannot_be_frozen_one_by_one(presets, make_run):
    run = make_run(backbone=f"keras_hub:{presets / 'vit'}", finetune_frozen_maps=2)
    with pytest.raises(UserError, match="leave --finetune_frozen_maps out"):
        stages.train(run, "finetune")


def test_blocks_of_a_transformer_compute_in_the_precision_of_the_run(presets, make_run):
    backbone = model_parts.build_backbone(make_run(backbone=f"keras_hub:{presets / 'vit'}").config)
    set_precision(backbone, "bfloat16")
    inner = [layer for layer in backbone._flatten_layers() if isinstance(layer, keras.layers.Dense)]
    assert len(inner) > 2 and {layer.compute_dtype for layer in inner} == {"bfloat16"}
    assert {layer.variable_dtype for layer in inner} == {"float32"}
