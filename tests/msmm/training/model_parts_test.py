"""Which backbones count as trained before the run."""

import pytest

from msmm.configs.base import Config
from msmm.training import model_parts


@pytest.mark.parametrize(
    ("backbone", "weights", "expected"),
    [
        ("resnet101", "imagenet", True),
        ("resnet101", "none", False),
        ("resnet101", "mine.weights.h5", True),
        ("resnet-1-1-1-1-w4", "none", False),
        ("photos", "imagenet", True),
        ("photos", "none", True),  # it has weights of its own, whatever the setting
        ("mine.keras", "none", True),
        ("keras_hub:vit_base_patch16_224_imagenet", "none", False),
    ],
)
def test_a_backbone_is_pretrained_where_its_weights_were_trained(backbone, weights, expected):
    assert model_parts.is_pretrained(Config(backbone=backbone, weights=weights)) is expected
