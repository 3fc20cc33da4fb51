import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from msmm.inference.exporting.graph import Graph
from tests.msmm.tying import SIZE


@pytest.fixture(scope="module")
def serve(tying_model):
    graph = Graph(tying_model)
    return lambda images, tags: {
        name: value.numpy() for name, value in graph.encoded(tf.constant(images), tf.constant(tags)).items()
    }


def encode(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_tags_are_split_trimmed_and_put_into_lower_case(serve, tying_model):
    png = encode(Image.new("RGB", (SIZE, SIZE)), "PNG")
    texts = ["ÉTÉ; New York ", "unknown;dog", "", ";;", "dog;dog"]
    outputs = serve([png] * 5, texts)
    pixels = np.zeros((SIZE, SIZE, 3), np.uint8)
    words = [["été", "new york"], ["dog"], [], [], ["dog"]]
    expected = tying_model.annotate([pixels] * 5, words, "regression")
    np.testing.assert_allclose(outputs["probabilities"], [e.probabilities for e in expected], atol=1e-6)
    names = [tuple(label.decode() for label in row if label) for row in outputs["labels"]]
    assert names == [e.labels for e in expected]
    assert outputs["labels"].shape == (5, 3) and outputs["count"].tolist() == [3, 2, 1, 1, 2]


def test_labels_of_one_image_have_no_padding(serve):
    outputs = serve([encode(Image.new("RGB", (SIZE, SIZE)), "PNG")], ["dog;x;y;z"])
    assert outputs["labels"].shape == (1, 6) and (outputs["labels"] != b"").all()


def photograph(size) -> Image.Image:
    return Image.fromarray(np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8))


def decode_to_square(data: bytes, model) -> np.ndarray:
    return Graph(model)._square(tf.constant(data)).numpy()


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "JPEG"])
@pytest.mark.parametrize("size", [(SIZE, SIZE), (23, 40)])
def test_graph_decodes_every_format_as_pillow(kind, size, tying_model):
    from msmm.data import preprocessing

    image = photograph(size).quantize(64).convert("RGB")
    data = encode(image, kind)
    expected = preprocessing.resize(np.asarray(Image.open(io.BytesIO(data)).convert("RGB")), SIZE)
    decoded = decode_to_square(data, tying_model).astype(int)
    assert np.abs(decoded - np.asarray(expected).astype(int)).max() <= (
        2 if kind == "JPEG" else 0
    )  # two versions of one JPEG library


def test_graph_composites_transparency_on_white(tying_model):
    image = photograph((SIZE, SIZE))
    image.putalpha(Image.fromarray(np.linspace(0, 255, SIZE * SIZE).astype(np.uint8).reshape(SIZE, SIZE)))
    white = Image.new("RGBA", image.size, "white")
    expected = np.asarray(Image.alpha_composite(white, image).convert("RGB")).astype(int)
    decoded = decode_to_square(encode(image, "PNG"), tying_model)
    assert np.abs(decoded - expected).max() <= 1 and (decoded[0, 0] == 255).all()


def test_grey_and_palette_images_become_rgb(tying_model):
    colours = photograph((SIZE, SIZE))
    for image in (colours.convert("L"), colours.quantize(16), colours.quantize(256), colours.convert("1")):
        np.testing.assert_array_equal(
            decode_to_square(encode(image, "PNG"), tying_model), np.asarray(image.convert("RGB"))
        )


def test_a_model_without_tags_can_be_served(tying_model):
    import keras

    from msmm.inference.model import Model

    image = keras.Input((SIZE, SIZE, 3), name="image")
    tags = keras.Input((0,), name="tags")
    mean = keras.layers.GlobalAveragePooling2D()(image)
    probabilities = keras.layers.Activation("sigmoid", name="probabilities")(keras.layers.Dense(4)(mean))
    network = keras.Model(
        {"image": image, "tags": tags},
        {"probabilities": probabilities, "quantity": keras.layers.Dense(1)(mean)},
    )
    model = Model(network, ("a", "b", "c", "d"), (), {})
    pixels = np.asarray(photograph((SIZE, SIZE)))
    outputs = Graph(model).encoded(
        tf.constant([encode(Image.fromarray(pixels), "PNG")]), tf.constant(["dog"])
    )
    expected = model.annotate([pixels], quantity="regression")[0]
    np.testing.assert_allclose(outputs["probabilities"][0], expected.probabilities, atol=1e-6)
    assert tuple(label.decode() for label in outputs["labels"].numpy()[0]) == expected.labels
