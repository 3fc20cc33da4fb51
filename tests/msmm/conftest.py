"""A model with predictable outputs, and photographs for it."""

import io

import numpy as np
import pytest
from PIL import Image

LABELS = ("red", "green", "blue", "bright above", "seaside")
TAGS = ("beach", "holidays", "goldengate", "café")
SIZE = 32


def figures() -> dict:
    named = dict.fromkeys(("C-P", "C-R", "C-F1", "I-P", "I-R", "I-F1", "H-F1", "mean true"), 50.0)
    return named | {"classes never predicted": 0}


@pytest.fixture(scope="session")
def model_directory(tmp_path_factory):
    """The directory of a model that predicts a colour where its mean is over one half, "bright above" where
    the upper half is brighter, "seaside" with the tag beach; the quantity is the number of these labels."""
    import keras

    from msmm.inference import model_dir

    image = keras.Input((SIZE, SIZE, 3), name="image")
    tags = keras.Input((len(TAGS),), name="tags")
    halves = keras.layers.Flatten()(keras.layers.AveragePooling2D((SIZE // 2, SIZE))(image))
    features = keras.layers.Concatenate()([halves / 255.0, tags])
    logits = keras.layers.Dense(len(LABELS), name="logits")
    probabilities = keras.layers.Activation("sigmoid", name="probabilities")(logits(features))
    quantity = keras.layers.Dense(1, name="quantity", kernel_initializer="ones")(probabilities)
    network = keras.Model(
        {"image": image, "tags": tags}, {"probabilities": probabilities, "quantity": quantity}
    )
    kernel, bias = np.zeros((6 + len(TAGS), len(LABELS))), np.full(len(LABELS), -10.0)
    for colour in range(3):  # a mean of one half over both halves gives a logit of 0
        kernel[[colour, 3 + colour], colour] = 10
    kernel[:3, 3], kernel[3:6, 3] = 20, -20
    kernel[6 + TAGS.index("beach"), 4] = 30  # a higher probability than any colour has
    logits.set_weights([kernel, bias])
    info = {"dataset": "made by hand", "msmm": "0", "seed": 0, "images": {"test": 1}, "test": figures(),
            "settings": {"backbone": "none", "weights": "none"}}  # fmt: skip
    directory = tmp_path_factory.mktemp("models") / "model"
    model_dir.save(directory, network, LABELS, TAGS, info)
    return directory


@pytest.fixture(scope="session")
def model(model_directory):
    from msmm.inference import model_dir

    return model_dir.load(model_directory)


@pytest.fixture(scope="session")
def tying_model():
    from tests.msmm import tying

    return tying.build()


def picture(colour="red", size=(60, 40)) -> Image.Image:
    return Image.new("RGB", size, colour)


def bright_above(size=(60, 40)) -> Image.Image:
    """Returns yellow above black: red and green are just under one half, "bright above" is certain."""
    image = Image.new("RGB", size, "black")
    image.paste("yellow", (0, 0, size[0], size[1] // 2))
    return image


@pytest.fixture
def photo(tmp_path):
    """Returns a function that saves a picture under a name below tmp_path."""

    def save(name, image=None, **options):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        (image or picture()).save(path, **options)
        return path

    return save


@pytest.fixture
def annotate(model):
    """Returns a function that annotates paths in this process: (annotations or output, summary)."""
    from msmm.photos import batches, finding, outputs, reading
    from msmm.quantities import counting_rules

    class CollectedText(outputs.Text):
        def __init__(self):
            super().__init__()
            self.collected = {}

        def write(self, photo):
            self.collected[photo.path] = photo

    def run(*paths, output=None, words=(), overwrite=False, quantity="predicted", listed=b"", workers=1):
        count = {"predicted": None, "threshold": counting_rules.AtLeast(0.5), "top_k": counting_rules.TopK(2)}
        output = CollectedText() if output is None else output
        sidecars = isinstance(output, outputs.Sidecars)
        thumbnails = not isinstance(output, outputs.Text | outputs.Sidecars | outputs.File)
        summary = batches.annotate_photographs(
            model,
            list(finding.Finder(map(str, paths), io.BytesIO(listed))),
            output,
            preparation=reading.Preparation(model.image_size, thumbnails, sidecars, overwrite),
            counting=batches.Counting(tuple(words), count[quantity]),
            num_workers=workers,
        )
        return getattr(output, "collected", output), summary

    return run


@pytest.fixture
def small_networks(monkeypatch):
    """Recurrent networks of 64 units, which train in seconds."""
    from msmm.baselines import cnn_rnn, ria, sr_cnn_rnn

    for module in (cnn_rnn, ria, sr_cnn_rnn):
        monkeypatch.setattr(module, "UNITS", 64)
