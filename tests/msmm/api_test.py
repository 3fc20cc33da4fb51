"""The public API of the package."""

import pathlib
import subprocess
import sys

import numpy as np
import pytest

import msmm
from tests.msmm.conftest import LABELS, SIZE, picture
from tests.msmm.core.command_line_test import process

# The paper's network on plain arrays; the documentation shows it, too.
EXAMPLE = """
import msmm
import numpy as np

rng = np.random.default_rng(0)
images = rng.integers(0, 256, (64, 64, 64, 3)).astype("float32")  # RGB, 0 to 255
tags = (rng.random((64, 100)) < 0.05).astype("float32")
labels = (rng.random((64, 12)) < 0.2).astype("float32")

model = msmm.build_annotator(12, 100, backbone="resnet-1-1-1-1-w8", image_size=64)
model.compile(
    optimizer="adam",
    loss={"logits": msmm.losses.sigmoid_cross_entropy, "quantity": msmm.losses.squared_error},
    metrics={"probabilities": msmm.metrics.TopKHF1(12)},
)
targets = {"logits": labels, "probabilities": labels, "quantity": labels.sum(1)}
history = model.fit({"image": images, "tags": tags}, targets, batch_size=16, epochs=3)
"""


@pytest.fixture(scope="module")
def photo_model(model_directory):
    return msmm.load(model_directory, "keras")


def test_import_is_fast_and_loads_no_heavy_library(tmp_path):
    code = """
import sys, time
start = time.perf_counter()
import msmm
spent = time.perf_counter() - start
assert spent < 0.1, spent
assert not {"numpy", "tensorflow", "keras", "PIL", "absl"} & set(sys.modules)
assert set(msmm.__all__) <= set(dir(msmm)) and msmm.__version__"""
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, timeout=60, **process(tmp_path))
    assert result.returncode == 0, result.stderr


def test_every_public_name_exists_and_unknown_names_are_refused():
    for name in msmm.__all__:
        assert getattr(msmm, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'lod': it has Annotation, PhotoModel"):
        msmm.lod  # noqa: B018


def test_a_file_and_its_pixels_get_the_same_annotation(photo_model, photo):
    path, red = photo("red.png", picture("red")), np.full((40, 60, 3), (255, 0, 0), np.uint8)
    from_path, from_text, from_array = photo_model.annotate([path, str(path), red])
    assert from_path.labels == from_text.labels == from_array.labels == ("red",)
    np.testing.assert_allclose(from_path.probabilities, from_array.probabilities, rtol=1e-5)
    assert from_path.probabilities.shape == (len(LABELS),) and from_path.rule == "regression (the paper's)"
    assert isinstance(from_path.quantity, float)


def test_library_and_command_give_the_same_annotations(photo_model, photo, annotate):
    for number in range(5):
        photo(f"a/{number}.jpg", picture((50 * number, 255 - 60 * number, 90), (200, 90 + number)))
    photo("a/5.jpg").with_suffix(".txt").write_text("Beach, nowhere")
    paths = sorted(photo("a/6.png").parent.glob("*.*g"))
    by_command, _ = annotate(paths[0].parent)
    for path, annotation in zip(paths, photo_model.annotate(paths, batch_size=2), strict=True):
        expected = by_command[str(path)]
        assert annotation.labels == expected.labels and annotation.quantity == expected.quantity
    assert "seaside" in photo_model.annotate([paths[5]])[0].labels


def test_given_tags_replace_the_keywords_of_a_file(photo_model, photo):
    path = photo("a.jpg")
    path.with_suffix(".txt").write_text("beach")
    annotations = photo_model.annotate([path, path, path], [["Beaches"], [], ["x", "BEACH"]])
    assert [a.labels for a in annotations] == [("seaside", "red"), ("red",), ("seaside", "red")]


def test_an_iterable_of_images_is_read_one_batch_at_a_time(photo_model):
    """Memory does not grow with the number of images."""
    alive, most_alive = set(), 0

    class Image(np.ndarray):
        def __del__(self):
            alive.discard(id(self))

    def images():
        nonlocal most_alive
        for number in range(50):
            image = np.full((SIZE, SIZE, 3), (0, 0, 5 * number), np.uint8).view(Image)
            alive.add(id(image))
            most_alive = max(most_alive, len(alive))
            yield image
            del image

    annotations = photo_model.annotate(images(), (["beach"] * (n % 2) for n in range(50)), batch_size=8)
    assert [a.labels[0] == "seaside" for a in annotations] == [bool(n % 2) for n in range(50)]
    assert most_alive <= 3 * 8


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_the_batch_size_changes_no_annotation(photo_model, batch_size):
    images = np.random.default_rng(0).integers(0, 256, (20, SIZE, SIZE, 3), np.uint8)
    for a, b in zip(
        photo_model.annotate(images, batch_size=batch_size), photo_model.annotate(images), strict=True
    ):
        assert a.labels == b.labels
        np.testing.assert_allclose(a.probabilities, b.probabilities, atol=1e-6)


IMAGE = np.zeros((8, 8, 3), np.uint8)


@pytest.mark.parametrize(
    ("photos", "tags", "message"),
    [
        (["missing.jpg"], None, "cannot read the photograph missing.jpg: "),
        ([np.zeros((8, 8), np.uint8)], None, r"expected an image as RGB uint8 .* Received: uint8 \[8, 8\]"),
        ([np.zeros((8, 8, 4), np.uint8)], None, r"Received: uint8 \[8, 8, 4\]"),
        ([np.zeros((8, 8, 3), np.float32)], None, r"values from 0 to 255. Received: float32 \[8, 8, 3\]"),
        ([np.zeros((0, 8, 3), np.uint8)], None, r"Received: uint8 \[0, 8, 3\]"),
        ("photo.jpg", None, r"expected several photographs, as \[photo\]. Received: one str"),
        (pathlib.Path("photo.jpg"), None, "Received: one PosixPath"),
        (IMAGE, None, "Received: one ndarray"),
        ([IMAGE], ["beach"], "expected a list of tags per image"),
        ([IMAGE, IMAGE], [["beach"]], "fewer tags than images"),
        ([IMAGE], [["beach"], []], "fewer images than tags"),
    ],
)
def test_wrong_photographs_or_tags_are_refused_with_the_cause(photo_model, photos, tags, message):
    with pytest.raises(msmm.UserError, match=message):
        photo_model.annotate(photos, tags)


def test_an_empty_list_of_photographs_gives_no_annotations(photo_model):
    assert photo_model.annotate([]) == photo_model.annotate(iter(()), iter(())) == []


def test_read_photo_applies_the_exif_orientation(photo, tmp_path):
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6
    path = photo("turned.jpg", picture("red", (60, 40)), exif=exif)
    pixels = msmm.read_photo(path)
    assert pixels.shape == (60, 40, 3) and pixels.dtype == np.uint8 and (pixels[..., 0] > 250).all()
    for content, cause in ((b"", "empty"), (b"no image", "")):
        (tmp_path / "bad.jpg").write_bytes(content)
        with pytest.raises(msmm.UserError, match=f"cannot read the photograph .*bad.jpg: .*{cause}"):
            msmm.read_photo(tmp_path / "bad.jpg")


def test_build_annotator_has_the_parameter_counts_of_the_paper():
    """ResNet-101, 81 classes and 1,000 tags: the parts that `msmm.describe` lists."""
    model = msmm.build_annotator(81, 1000)
    parts = {"backbone": 42_658_176, "multi_scale": 15_214_848, "textual": 6_246_400,
             "classifier": 331_857, "quantity": 2_229_249}  # fmt: skip
    assert {name: model.get_layer(name).count_params() for name in parts} == parts
    assert model.count_params() == sum(parts.values())
    assert {name: tuple(t.shape) for name, t in model.output.items()} == {
        "logits": (None, 81), "probabilities": (None, 81), "quantity": (None, 1)
    }  # fmt: skip


def test_the_readme_example_trains():
    values = {}
    exec(EXAMPLE, values)
    history, model, labels = (values[name] for name in ("history", "model", "labels"))
    assert len(EXAMPLE.strip().splitlines()) <= 18
    assert history.history["loss"][-1] < history.history["loss"][0]
    outputs = model.predict({"image": values["images"], "tags": values["tags"]}, verbose=0)
    from msmm.scoring.metrics import annotation_metrics
    from msmm.scoring.predictions import Predictions, choose_labels

    chosen = choose_labels(Predictions(outputs["probabilities"]), k=3)
    scores = model.evaluate({"image": values["images"], "tags": values["tags"]}, values["targets"],
                            return_dict=True, verbose=0)  # fmt: skip
    expected = annotation_metrics(labels, chosen)["H-F1"]
    assert scores["probabilities_h_f1"] == pytest.approx(expected, abs=1e-3)
    logits = outputs["logits"]
    cross_entropy = (np.logaddexp(0, logits) - labels * logits).sum(1).mean()
    assert scores["logits_loss"] == pytest.approx(cross_entropy, rel=1e-4)


@pytest.mark.slow
def test_the_annotator_trains_on_a_tf_data_pipeline():
    import tensorflow as tf

    model = msmm.build_annotator(3, 4, "resnet-1-1-1-1-w4", 32, textual_units=8)
    model.compile("sgd", loss={"logits": msmm.losses.sigmoid_cross_entropy,
                               "quantity": msmm.losses.squared_error})  # fmt: skip
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype(np.float32)
    inputs = {"image": images, "tags": np.ones((4, 4), np.float32)}
    targets = {"logits": np.ones((4, 3), np.float32), "quantity": np.full(4, 3.0)}
    before = [np.array(w) for w in model.trainable_variables]
    model.fit(tf.data.Dataset.from_tensor_slices((inputs, targets)).batch(2), verbose=0)
    after = model.trainable_variables
    moved = {v.path.split("/")[0] for v, b in zip(after, before, strict=True) if (np.array(v) != b).any()}
    assert {"logits", "quantity", "f_t", "fusion5_2_conv", "conv1_conv"} <= moved
