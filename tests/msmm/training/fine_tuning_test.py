"""Fine-tuning the trunk by a recipe beyond the paper."""

import keras
import numpy as np
import pytest

from msmm.core.errors import UserError
from msmm.models.backbone import freeze_maps
from msmm.training import (
    batch_norm_statistics,
    model_parts,
    stage_tasks,
    stages,
    task_building,
)
from msmm.training.stage_table import BEYOND_FINETUNE
from tests.msmm.training.common import KillBefore, Killed, read_weights


def test_settings_of_the_trunk_s_training_are_refused_with_a_frozen_trunk(make_run):
    run = make_run(finetune_trunk=False, finetune_optimizer="adamw", finetune_head_epochs=1)
    with pytest.raises(UserError, match="--finetune_optimizer, --finetune_head_epochs with a frozen trunk"):
        stages.train(run, "finetune")


def test_changes_of_images_are_for_a_head_with_a_trunk_of_its_own_if_the_trunk_is_frozen(make_run):
    frozen = {"finetune_trunk": False, "finetune_crop": 0.5, "finetune_epochs": 1}
    with pytest.raises(UserError, match="--finetune_crop with a frozen trunk"):
        stages.train(make_run("refused", **frozen), "finetune")
    run = make_run("head", csra_trunk="trained", **frozen)
    stages.train(run, "finetune")
    assert "finetune_crop" not in run.stage_record("finetune")["settings"]  # the stage does not read it


RECIPE = {
    "finetune_optimizer": "adamw",
    "finetune_ema": 0.9,
    "finetune_crop": 0.5,
    "finetune_randaugment": 5,
    "finetune_cutout": 0.5,
    "finetune_sizes": ("32",),
    "finetune_head_epochs": 2,
    "finetune_frozen_maps": 2,
    "image_size": 64,
    "finetune_epochs": 3,
}


@pytest.mark.slow
def test_fine_tuning_beyond_the_paper_resumes_to_the_same_bits(make_run, capsys):
    uninterrupted, stopped = make_run("uninterrupted", **RECIPE), make_run("stopped", **RECIPE)
    stages.train(uninterrupted, "finetune")
    record = uninterrupted.stage_record("finetune")
    assert record["settings"]["finetune_sizes"] == ["32"] and record["settings"]["finetune_crop"] == 0.5

    with pytest.raises(Killed):
        stages.train(stopped, "finetune", callbacks=[KillBefore(2)])
    stages.train(stopped, "finetune")
    assert "finetune: goes on after epoch 2" in capsys.readouterr().out
    assert stopped.stage_record("finetune")["weights"] == record["weights"]

    # The statistics of batch normalisation are those of the averaged weights, on whole images of image_size.
    assert record["settings"]["bn_batches"] == 3
    backbone, epoch = model_parts.load_part(uninterrupted, "backbone"), record["best_epoch"] - 1
    backbone.trainable = True
    freeze_maps(backbone, RECIPE["finetune_frozen_maps"])
    saved = read_weights(backbone)
    whole = uninterrupted.images("train").epoch(
        uninterrupted.train_rows, 16, task_building.stage_seed(uninterrupted, "finetune"), epoch, True
    )
    batch_norm_statistics.reestimate(backbone, (images for images, _ in whole), 3)
    for now, then in zip(read_weights(backbone), saved, strict=True):
        np.testing.assert_allclose(now, then, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("setting", BEYOND_FINETUNE)
def test_every_setting_beyond_the_paper_changes_the_fine_tuned_trunk(make_run, setting):
    plain = make_run("plain", image_size=64, finetune_epochs=2)
    changed = make_run("changed", image_size=64, finetune_epochs=2, **{setting: RECIPE[setting]})
    hashes = []
    for run in (plain, changed):
        stages.train(run, "finetune")
        hashes.append(run.stage_record("finetune")["weights"]["backbone"])
    assert setting not in plain.stage_record("finetune")["settings"]
    assert hashes[0] != hashes[1]


def test_a_head_that_trains_first_starts_the_trunk_from_a_lower_loss(make_run):
    """The trunk of the first step is the fresh one, and the head is no longer new."""
    losses = []
    for epochs in (0, 3):
        run = make_run(f"head{epochs}", finetune_head_epochs=epochs, flip=False)
        task = stage_tasks.make_finetune_task(run)
        model, parts = task.build()
        fresh = task_building.build_fresh_parts(run, "finetune", "backbone")[0]
        for now, new in zip(parts["backbone"].get_weights(), fresh.get_weights(), strict=True):
            np.testing.assert_array_equal(now, new)
        images, labels = next(iter(task.data.batches(0)))
        logits = keras.ops.convert_to_numpy(model.predict_on_batch(images))
        losses.append(float(np.mean(task.optimisation.loss(labels.astype(np.float32), logits))))
    assert losses[1] < 0.9 * losses[0]


def test_layers_of_frozen_maps_stay_bit_identical_and_the_others_train(make_run):
    recipe = {"finetune_optimizer": "adamw", "finetune_ema": 0.9, "finetune_epochs": 1}
    run = make_run("frozen", finetune_frozen_maps=3, **recipe)
    stages.train(run, "finetune")
    fresh = task_building.build_fresh_parts(run, "finetune", "backbone")[0].get_layer("maps")
    trained = model_parts.load_part(run, "backbone").get_layer("maps")
    frozen = {layer.name for layer in keras.Model(fresh.input, fresh.output[2]).layers}
    unchanged = {True: [], False: []}
    for layer, own in zip(fresh.layers, trained.layers, strict=True):
        weights = zip(layer.get_weights(), own.get_weights(), strict=True)
        unchanged[layer.name in frozen] += [np.array_equal(*pair) for pair in weights]
    assert len(unchanged[True]) > 20 and all(unchanged[True])  # the statistics of their normalisation, too
    assert len(unchanged[False]) > 20 and not any(unchanged[False])


def test_a_size_that_32_does_not_divide_is_refused(make_run):
    with pytest.raises(UserError, match=r"multiples of 32, .* Received: 100"):
        stages.train(make_run(finetune_sizes=("100",)), "finetune")
