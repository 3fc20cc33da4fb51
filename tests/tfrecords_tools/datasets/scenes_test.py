import io

import numpy as np
import pytest
from PIL import Image

from msmm.core import images
from msmm.core.errors import UserError
from msmm.data import records
from msmm.scenes import recipe
from tfrecords_tools.datasets import scenes


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    data_dir = tmp_path_factory.mktemp("data")
    scenes.pack_scenes(data_dir, num_train=60, num_test=5, image_size=32, scenes_seed=3)
    return records.open_dataset(data_dir, "scenes")


def content(dataset, split):
    return {
        r["image_id"].decode(): (r["image"], r["labels"].tolist())
        for r in dataset.read(split).as_numpy_iterator()
    }


def test_packed_scenes_equal_the_scenes_drawn_from_the_seed(small):
    assert small.labels == recipe.CONCEPTS
    assert small.tags == recipe.TAGS
    for split, first, count in (("train", 0, 60), ("test", 1_000_000, 5)):
        image_ids, tags, labels = small.annotations(split)
        stored = content(small, split)
        assert set(image_ids) == {f"scene-{first + i:07d}" for i in range(count)}
        for image_id, tag_row, label_row in zip(image_ids, tags, labels, strict=True):
            scene = recipe.draw(3, int(image_id[-7:]), 32)
            assert {small.labels[i] for i in np.flatnonzero(label_row)} == set(scene.labels)
            assert {small.tags[i] for i in np.flatnonzero(tag_row)} == set(scene.tags)
            assert stored[image_id][0] == images.encode(scene.image, 90)
            assert Image.open(io.BytesIO(stored[image_id][0])).size == (32, 32)


def test_size_of_one_split_does_not_change_the_scenes_of_the_other(small, tmp_path):
    scenes.pack_scenes(tmp_path, num_train=8, num_test=7, image_size=32, scenes_seed=3)
    other = records.open_dataset(tmp_path, "scenes")
    assert content(other, "train").items() <= content(small, "train").items()
    assert content(small, "test").items() <= content(other, "test").items()


@pytest.mark.parametrize(
    "wrong", [{"num_train": 0}, {"num_test": 2_000_000}, {"image_size": 4}, {"scenes_seed": -1}]
)
def test_invalid_scene_settings_are_refused(tmp_path, wrong):
    with pytest.raises(UserError, match="expected "):
        scenes.pack_scenes(tmp_path, **wrong)
    assert not list(tmp_path.iterdir())
