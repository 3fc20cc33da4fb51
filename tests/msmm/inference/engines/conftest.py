"""A small complete model, as the stages save it, with batch normalisation far from the identity."""

import numpy as np
import pytest

from tests.msmm.conftest import figures

LABELS, TAGS, SIZE = tuple(f"label {i}" for i in range(12)), tuple(f"tag {i}" for i in range(7)), 32


def small_network():
    import keras

    from msmm.models import backbone, heads, multi_scale, textual
    from msmm.models.annotator import assemble_annotator

    keras.utils.set_random_seed(0)
    trunk = backbone.build("resnet-1-2-1-1-w4", image_size=SIZE)
    fusion = multi_scale.build_multi_scale([o.shape[1:] for o in trunk.outputs])
    f_v, f_t = fusion.output.shape[1], 16
    network = assemble_annotator(
        trunk,
        fusion,
        textual.build_textual(len(TAGS), f_t),
        heads.build_classifier(f_v + f_t, len(LABELS)),
        heads.build_quantity(f_v + f_t, 2.5),
        heads.build_classifier(f_v, len(LABELS), "visual_head"),
        heads.build_quantity(f_v, 2.5, "quantity_visual"),
    )
    rng = np.random.default_rng(0)
    for layer in network._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            size = layer.gamma.shape
            layer.set_weights([rng.uniform(0.5, 1.5, size), rng.normal(0, 0.5, size),
                               rng.normal(0, 0.5, size), rng.uniform(0.5, 2, size)])  # fmt: skip
    for name, scale in (("classifier", 30), ("visual_head", 30), ("quantity", 20), ("quantity_visual", 20)):
        kernel, bias = network.get_layer(name).layers[-1].get_weights()
        network.get_layer(name).layers[-1].set_weights([kernel / scale, bias])
    return network


@pytest.fixture(scope="package")
def network():
    return small_network()


@pytest.fixture(scope="package")
def saved(network, tmp_path_factory):
    from msmm.inference import model_dir

    info = {"dataset": "made by hand", "msmm": "0", "seed": 0, "images": {"test": 1}, "test": figures(),
            "settings": {"backbone": "none", "weights": "none"}}  # fmt: skip
    directory = tmp_path_factory.mktemp("models") / "model"
    model_dir.save(directory, network, LABELS, TAGS, info)
    return directory


@pytest.fixture(scope="package")
def inputs():
    """Images uint8 [50, S, S, 3] and the tag names of each; some images have none."""
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (50, SIZE, SIZE, 3), np.uint8)
    return images, [[tag for tag in TAGS if rng.random() < 0.2] for _ in images]
