"""A backbone or weights file is known by its content: another one of the same name is another trunk."""

import pathlib

import keras
import numpy as np
import pytest
from keras import layers

from msmm.configs import replace_flat
from msmm.core import checksums
from msmm.core.errors import UserError
from msmm.core.files import read_json, write_json
from msmm.models import backbone
from msmm.training import baseline_tasks, frozen_features, model_parts, stages, task_building

FROZEN = {
    "finetune_trunk": False,
    "finetune_epochs": 1,
    "flip": False,
    "logistic_l2_largest": 0.1,
    "logistic_l2_smallest": 0.1,
    "logistic_iterations": 5,
}


@pytest.fixture
def write_network(tmp_path):
    """Returns a function of a seed that saves a small ResNet under the same name each time."""

    def write(seed):
        keras.utils.set_random_seed(seed)
        backbone.resnet((1, 1, 1, 1), 4).save(tmp_path / "my.keras")
        return str(tmp_path / "my.keras")

    return write


def test_a_replaced_backbone_file_is_refused_by_what_was_trained_on_the_former_one(make_run, write_network):
    settings = FROZEN | {"backbone": write_network(1)}
    for stage in ("logistic", "finetune"):
        stages.train(make_run(**settings), stage)
    former = pathlib.Path(settings["backbone"]).read_bytes()
    write_network(2)
    run = make_run(**settings)
    for stage in ("logistic", "finetune"):
        with pytest.raises(UserError, match=rf"{stage} was trained with backbone_sha256=\w+, and now"):
            stages.train(run, stage)
    with pytest.raises(UserError, match="logistic was trained with backbone_sha256"):
        baseline_tasks.measure_baseline(run, "logistic")
    with pytest.raises(UserError, match=r"finetune was trained with backbone_sha256.*same --backbone$"):
        model_parts.load_part(run, "backbone")
    pathlib.Path(settings["backbone"]).write_bytes(former)
    stages.train(run, "finetune")


def test_features_of_a_backbone_file_with_another_scaling_of_pixels_are_computed_again(make_run, tmp_path):
    def read_features(scale):
        keras.utils.set_random_seed(1)
        x = image = keras.Input((None, None, 3))
        x = layers.Rescaling(scale)(x)  # no weights
        for _ in range(5):
            x = layers.Conv2D(4, 3, strides=2, padding="same", activation="relu")(x)
        keras.Model(image, x).save(tmp_path / "own.keras")
        run = make_run(**FROZEN, backbone=str(tmp_path / "own.keras"))
        trunk = task_building.build_fresh_parts(run, "finetune", "backbone")[0]
        return np.array(frozen_features.pretrained_features(run, trunk, "test"))

    a, b = read_features(1.0), read_features(1 / 255)
    np.testing.assert_allclose(a, b * 255, rtol=2e-2, atol=1e-2)
    assert a.max() > 100 * b.max()


def test_a_replaced_weights_file_is_refused_and_a_deleted_one_is_no_longer_needed(make_run, tmp_path):
    path = tmp_path / "trunk.weights.h5"
    for seed in (1, 2):
        keras.utils.set_random_seed(seed)
        backbone.resnet((1, 1, 1, 1), 4).save_weights(path)
        run = make_run(**FROZEN, weights=str(path))
        if seed == 1:
            stages.train(run, "finetune")
    with pytest.raises(UserError, match="finetune was trained with weights_sha256="):
        stages.train(run, "finetune")
    path.unlink()
    stages.train(run, "finetune")
    model_parts.load_part(run, "backbone")


def test_a_stage_of_an_earlier_version_without_the_checksum_stays_finished(make_run, write_network, capsys):
    run = make_run(**FROZEN, backbone=write_network(1))
    stages.train(run, "finetune")
    directory = run.stage_directory("finetune")
    record = read_json(directory / "stage.json")
    del record["settings"]["backbone_sha256"]
    (directory / checksums.SUMS).unlink()
    write_json(directory / "stage.json", record)
    stages.train(run, "finetune")
    assert "finished earlier" in capsys.readouterr().out
    model_parts.load_part(run, "backbone")
    assert "finetune" in stages.adopt_stages(make_run("other", **FROZEN, backbone=run.config.backbone), run)


def test_a_folder_of_a_preset_is_known_by_all_its_files(make_run, tmp_path):
    folder = tmp_path / "preset/assets"
    folder.mkdir(parents=True)
    (tmp_path / "preset/config.json").write_text("{}")
    config = replace_flat(make_run().config, {"backbone": f"keras_hub:{tmp_path / 'preset'}"})
    seen = [model_parts.file_hashes(config)]
    for name, text in (("config.json", "[]"), ("assets/more.txt", ""), ("assets/more.txt", "a")):
        (tmp_path / "preset" / name).write_text(text)
        seen.append(model_parts.file_hashes(config))
    assert len({hashes["backbone_sha256"] for hashes in seen}) == 4
    assert model_parts.file_hashes(replace_flat(config, {"backbone": "keras_hub:vit_base"})) == {}


def test_a_file_is_read_once_for_its_checksum(make_run, write_network, monkeypatch):
    config = make_run(backbone=write_network(1)).config
    read, sha256 = [], checksums.sha256
    monkeypatch.setattr(checksums, "sha256", lambda path: read.append(path) or sha256(path))
    assert model_parts.file_hashes(config) == model_parts.file_hashes(config)
    assert len(read) == 1
    assert not {"backbone_sha256", "weights_sha256"} & stages.recorded_settings(make_run(), "finetune").keys()
