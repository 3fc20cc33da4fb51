import keras
import pytest

from msmm.models import backbone


@pytest.fixture(scope="session")
def resnet101():
    return backbone.build("resnet101", image_size=224)


@pytest.fixture(scope="session")
def small():
    keras.utils.set_random_seed(1)  # or the features of some networks are too large for float32 sigmoids
    return backbone.build("resnet-1-1-1-1-w8", image_size=64)
