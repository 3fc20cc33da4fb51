import keras
import numpy as np
import pytest
import tensorflow as tf

from msmm.models import backbone, multi_scale
from msmm.training.recompute import Segments, recomputed


def build_on_all_maps(name: str):
    """Yields a model on all maps of a backbone, then one that recomputes them, with their backbones."""
    for recompute in (False, True):
        keras.utils.set_random_seed(0)
        trunk = backbone.build(name, image_size=64, bn_momentum=0.5)
        maps = recomputed(trunk) if recompute else trunk
        means = [keras.layers.GlobalAveragePooling2D()(m) for m in maps.output]
        yield keras.Model(maps.input, keras.layers.Concatenate()(means)), trunk


def build_on_fusion():
    """Yields a model that fuses maps of convolutions, then one that recomputes the fusion."""
    for recompute in (False, True):
        keras.utils.set_random_seed(0)
        x, maps = keras.Input((64, 64, 3)), []
        for width in (4, 4, 8, 8, 8):
            maps.append(keras.layers.Conv2D(width, 3, 2, "same")(maps[-1] if maps else x))
        fusion = multi_scale.build_multi_scale([m.shape[1:] for m in maps], bn_momentum=0.5)
        yield keras.Model(x, (Segments(fusion) if recompute else fusion)(maps)), fusion


def gradients(model) -> tf.types.experimental.PolymorphicFunction:
    @tf.function
    def compute(pixels, wanted):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(pixels, training=True) - wanted) ** 2)
        return tape.gradient(loss, model.trainable_variables)

    return compute


@pytest.mark.parametrize("name", ["resnet-2-1-1-1-w4", "dropping", "fusion"])
def test_recomputed_maps_have_the_same_gradients_and_statistics(name, tmp_path):
    if name == "dropping":  # random numbers must be the same when maps are computed again
        x = image = keras.Input((64, 64, 3))
        for width in (4, 4, 8, 8, 8):
            x = keras.layers.BatchNormalization()(keras.layers.Conv2D(width, 3, 2, "same")(x))
            x = keras.layers.Dropout(0.5, seed=3)(keras.layers.ReLU()(x))
        name = str(tmp_path / "dropping.keras")
        keras.Model(image, x).save(name)
    models = build_on_fusion() if name == "fusion" else build_on_all_maps(name)
    (plain, part), (model, same_part) = models
    segments = next(layer for layer in model._flatten_layers() if isinstance(layer, Segments)).segments
    assert len(segments) > 1
    own = [v for v in model.trainable_variables if any(v is w for w in same_part.trainable_variables)]
    assert len(own) == len(same_part.trainable_variables)
    if name != "fusion":  # its maps come from separate convolutions
        assert len(own) == len(model.trainable_variables)
    for v, w in zip(own, same_part.trainable_variables, strict=True):
        assert v is w
    pixels = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3)).astype(np.float32)
    wanted = np.random.default_rng(1).normal(size=(4, plain.output_shape[1])).astype(np.float32)
    for a, b in zip(gradients(plain)(pixels, wanted), gradients(model)(pixels, wanted), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-3 * np.abs(a).max() + 1e-6)
    for a, b in zip(part.variables, same_part.variables, strict=True):
        a, b = (keras.ops.convert_to_numpy(v).astype(np.float64) for v in (a, b))
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "build", [lambda: build_on_all_maps("resnet-1-1-1-1-w4"), build_on_fusion], ids=["trunk", "fusion"]
)
def test_recomputed_maps_are_computed_again_in_the_backward_pass(build):
    def convolutions(model):
        numbers = tf.zeros((1, 64, 64, 3)), tf.zeros((1, model.output_shape[1]))
        graph = gradients(model).get_concrete_function(*numbers).graph
        return sum(operation.type == "Conv2D" for operation in graph.get_operations())

    (plain, part), (model, _) = build()
    again = sum(isinstance(layer, keras.layers.Conv2D) for layer in part._flatten_layers())
    assert convolutions(model) == convolutions(plain) + again > convolutions(plain)
