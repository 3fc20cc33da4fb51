"""Small presets of KerasHub with random weights, made on the spot: published ones need a download."""

import keras
import numpy as np
import pytest

SCALE, OFFSET = (0.01, 0.02, 0.03), (-1.0, 0.0, 1.0)
TRANSFORMERS = ("vit", "dinov2", "clip", "siglip")
WIDTH = 16


def write_preset(folder, kind: str, side: int, patch: int):
    """Writes a preset of one of TRANSFORMERS for images of `side` pixels, and returns its network."""
    hub = pytest.importorskip("keras_hub", reason="KerasHub is missing: pip install 'msmm[hub]'")
    keras.utils.set_random_seed(1)
    shape = {"image_shape": (side, side, 3), "patch_size": patch, "num_layers": 2, "num_heads": 2}
    inner = {"hidden_dim": WIDTH, "intermediate_dim": 32}
    words = {"vocabulary_size": 20, "embedding_dim": WIDTH, "num_layers": 1, "num_heads": 2, **inner}
    models, layers = hub.models, hub.layers
    if kind == "vit":
        network = models.ViTBackbone(**shape, hidden_dim=WIDTH, mlp_dim=32)
        converter = layers.ViTImageConverter
    elif kind == "dinov2":
        more = {"num_register_tokens": 3, "position_embedding_shape": (side, side)}
        network, converter = models.DINOV2Backbone(**shape, **inner, **more), layers.DINOV2ImageConverter
    elif kind == "clip":
        texts = models.CLIPTextEncoder(**words, max_sequence_length=8)
        images = models.CLIPVisionEncoder(**shape, **inner)
        network, converter = models.CLIPBackbone(images, texts, projection_dim=8), layers.CLIPImageConverter
        places = images.embedding.position_ids  # a published preset has them in its weights
        places.assign(np.arange(places.shape[1])[None])
    else:
        texts = models.SigLIPTextEncoder(**words, max_sequence_length=8)
        images = models.SigLIPVisionEncoder(**shape, **inner)
        network, converter = models.SigLIPBackbone(images, texts), layers.SigLIPImageConverter
    network.save_to_preset(folder)
    converter(image_size=(side, side), scale=list(SCALE), offset=list(OFFSET)).save_to_preset(folder)
    return network
