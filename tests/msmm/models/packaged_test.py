"""Trunks that come with the package: the file format, and each trunk that is there."""

import importlib.resources
import json

import keras
import numpy as np
import pytest

from msmm.core.errors import UserError
from msmm.models import backbone, packaged

TAPS = ("conv1_relu", "conv2_block1_out", "conv3_block1_out", "conv4_block1_out", "conv5_block1_out")


@pytest.fixture
def trunk():
    keras.utils.set_random_seed(0)
    built = backbone.build("resnet-1-1-1-1-w8", image_size=64)
    return built.get_layer("maps"), built


@pytest.fixture
def written(trunk, tmp_path, monkeypatch):
    maps, _ = trunk
    path = tmp_path / "tiny.npz"
    packaged.write_trunk(path, keras.Model(maps.input, maps.outputs[-1]), "caffe", TAPS)
    monkeypatch.setitem(packaged.TRUNKS, "tiny", str(path))  # an absolute path replaces the package's folder
    return path


def test_a_trunk_reads_as_it_was_written_in_half_precision(trunk, written):
    images = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)).astype(np.float32)
    read = backbone.build("tiny", image_size=64)
    for mine, theirs in zip(read.predict_on_batch(images), trunk[1].predict_on_batch(images), strict=True):
        scale = np.abs(theirs).max()
        assert 0 < np.abs(mine - theirs).max() < 0.01 * scale
    with np.load(written) as file:
        about = json.loads(str(file["about"]))
        kinds = {str(file[f"weight{i}"].dtype) for i in range(about["weights"])}
    assert kinds == {"float16", "float32"} and about["taps"] == list(TAPS)


def test_a_trunk_reads_images_of_other_sizes(written):
    assert [o.shape[1] for o in backbone.build("tiny", image_size=96).outputs] == [48, 24, 12, 6, 3]


def test_a_weight_beyond_float16_is_refused(trunk, tmp_path):
    maps, _ = trunk
    model = keras.Model(maps.input, maps.outputs[-1])
    kernel = next(v for v in model.variables if v.name == "kernel")
    kernel.assign(kernel * 1e6)
    with pytest.raises(UserError, match="kernel is beyond float16"):
        packaged.write_trunk(tmp_path / "large.npz", model, "caffe", TAPS)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", ["cut", "missing"])
def test_a_damaged_trunk_is_refused(written, damage):
    if damage == "cut":
        written.write_bytes(written.read_bytes()[:-2000])
    else:
        written.unlink()
    with pytest.raises(
        UserError, match=r"cannot read the backbone tiny of the package .*: install msmm again"
    ):
        backbone.build("tiny", image_size=64)


@pytest.mark.parametrize("name", packaged.TRUNKS)
def test_every_trunk_of_the_package_is_small_and_has_five_maps(name):
    path = importlib.resources.files("msmm.models") / "trunks" / packaged.TRUNKS[name]
    assert len(path.read_bytes()) < 8 * 2**20
    assert name in packaged.ORIGINS  # of which model cards tell
    built = backbone.build(name, image_size=96)
    assert [o.shape[1] for o in built.outputs] == [48, 24, 12, 6, 3]
    pixels = np.random.default_rng(0).uniform(0, 255, (1, 96, 96, 3)).astype(np.float32)
    assert all(np.isfinite(m).all() and np.ptp(m) > 0 for m in built.predict_on_batch(pixels))
