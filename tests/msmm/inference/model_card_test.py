import copy
import json

import numpy as np
import pytest

from msmm.core.errors import UserError
from msmm.inference import model_card, model_dir
from msmm.scoring.ranking_metrics import average_precision
from msmm.training import table_predictions
from msmm.training.table_rows import COMPLETE, TABLE_ROWS, WITHOUT_TAGS

NAMES = ("C-P", "C-R", "C-F1", "I-P", "I-R", "I-F1", "H-F1")
INFO = {
    "msmm": "0.1.0", "dataset": "my_photos", "description": "Manifest photos.csv", "licence": None, "seed": 3,
    "images": {"train": 1200, "test": 300},
    "settings": {"backbone": "resnet101", "weights": "imagenet"},
    "preprocessing": {"resize": "bilinear", "pixels": "RGB", "normalisation": "inside", "tags": "0 or 1",
                      "image_size": 224},
    "test": {name: 10.0 * i + 0.123 for i, name in enumerate(NAMES, 1)} | {
        "classes never predicted": 1, "mean true": 2.5, "Accuracy": 41.25, "MSE": 1.5,
        "variance of true": 2.25},
    "test without tags": {name: 5.0 for name in NAMES},
    "classes": [{"train": 800, "test": 200, "F1": 80.0}, {"train": 4, "test": 1, "F1": 0.0},
                {"train": 5, "test": 0, "F1": 0.0}],
}  # fmt: skip
LABELS = ("beach", "<b>|evil`", "unseen")


def card(**changes) -> str:
    return model_card.model_card(copy.deepcopy(INFO) | changes, LABELS, ("nikon",))


def front_matter(text) -> dict:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    return yaml.safe_load(text.split("---\n")[1])


def test_front_matter_follows_hugging_face():
    front = front_matter(card())
    assert front["library_name"] == "keras" and front["pipeline_tag"] == "image-classification"
    assert front["license"] == "unknown"
    (model,) = front["model-index"]
    (result,) = model["results"]
    assert result["dataset"] == {"type": "my_photos", "name": "Manifest photos.csv", "split": "test"}
    metrics = {m["name"]: (m["type"], m["value"]) for m in result["metrics"]}
    assert metrics["H-F1"] == ("f1", 70.12) and metrics["C-P"] == ("precision", 10.12)
    assert metrics["label quantity MSE"] == ("mse", 1.5) and len(metrics) == 9


@pytest.mark.parametrize(
    ("licence", "backbone", "weights", "licence_id"),
    [
        ("Apache-2.0, as the program", "resnet-1-1-1-1-w16", "none", "apache-2.0"),
        ("Apache-2.0, as the program", "resnet101", "imagenet", "unknown"),
        ("Apache-2.0, as the program", "mine.keras", "none", "unknown"),
        ("public domain", "resnet-1-1-1-1-w16", "none", "unknown"),
        (None, "resnet-1-1-1-1-w16", "none", "unknown"),
        ("Apache-2.0, as the program", "photos", "none", "unknown"),
        ("Apache-2.0, as the program", "keras_hub:vit_base", "none", "apache-2.0"),
    ],
)
def test_licence_is_stated_only_where_known(licence, backbone, weights, licence_id):
    text = card(licence=licence, settings={"backbone": backbone, "weights": weights})
    assert f"\nlicense: {licence_id}\n" in text
    assert (licence or "not stated where the data were packed") in text


@pytest.mark.parametrize(
    ("backbone", "weights", "start"),
    [
        ("photos", "imagenet", "the weights of the package, fine-tuned on photographs of MSCOCO;"),
        ("photos", "none", "the weights of the package, fine-tuned on photographs of MSCOCO;"),
        ("photos", "mine.h5", "the weights mine.h5;"),
        ("keras_hub:vit_base", "imagenet", "the weights of that preset;"),
        ("keras_hub:vit_base", "none", "random weights;"),
        ("keras_hub:vit_base", "mine.h5", "the weights mine.h5;"),
        ("mine.keras", "imagenet", "the weights in it;"),
        ("mine.keras", "mine.h5", "the weights mine.h5;"),
        ("resnet101", "imagenet", "ImageNet weights;"),
        ("resnet101", "none", "random weights;"),
    ],
)
def test_card_names_the_weights_that_training_started_from(backbone, weights, start):
    text = card(settings={"backbone": backbone, "weights": weights})
    assert f"Backbone {backbone}, starting from {start}" in text


def test_card_reports_the_measured_metrics():
    text = card()
    assert "| with their tags | 10.12 | 20.12 | 30.12 | 40.12 | 50.12 | 60.12 | 70.12 |" in text
    assert "| without any tags | 5.00 |" in text
    assert "1,200 train and 300 test images, 2.50 labels per test image" in text
    assert "right for 41.2 % of the test images" in text and "error is 1.500" in text
    assert "by its pixels alone: H-F1 5.00, with tags 70.12" in text
    assert "| beach | 800 | 200 | 80.0 |" in text
    assert "unseen (0.0)" not in text  # no test image has this label, so its F1 is meaningless
    assert "ImageNet weights" in text


def test_card_reports_the_ranking_where_it_was_measured():
    assert "mAP" not in card() and "AP (%)" not in card()
    ranking = {"mAP": 61.234, "C-F1 at p 0.5": 33.3, "I-F1 at p 0.5": 44.4}
    classes = [c | {"AP": ap} for c, ap in zip(INFO["classes"], (81.26, 0.0, None), strict=True)]
    text = card(test=INFO["test"] | ranking, classes=classes)
    assert "| test images | mAP | C-F1 at p 0.5 | I-F1 at p 0.5 |" in text
    assert "| with their tags | 61.23 | 33.30 | 44.40 |" in text
    assert text.count("| without any tags |") == 1  # it has no mAP
    assert "| beach | 800 | 200 | 80.0 | 81.3 |" in text and "| unseen | 5 | 0 | 0.0 | — |" in text
    (model,) = front_matter(text)["model-index"]
    assert {"type": "mean_average_precision", "name": "mAP", "value": 61.23} in model["results"][0]["metrics"]


def test_names_in_the_card_are_escaped():
    text = card(dataset='a": b\n<script>', description="**bold** <img>")
    assert (
        "<b>|evil" not in text
        and "<script>" not in text.split("---\n", 2)[2]
        and "<img>" not in text.split("---\n", 2)[2]
    )
    front_matter(text)


def test_a_trained_model_has_a_model_card(trained_run):
    directory = table_predictions.save_model(trained_run)
    info = json.loads((directory / "model.json").read_text())
    text = (directory / "README.md").read_text()
    _, figures = table_predictions.measure_row(trained_run, TABLE_ROWS[COMPLETE])
    assert " | ".join(f"{figures[name]:.2f}" for name in NAMES) in text
    assert info["preprocessing"]["image_size"] == 32 and info["licence"].startswith("Apache-2.0")
    truth = trained_run.split("test").labels
    assert [c["test"] for c in info["classes"]] == truth.sum(0).tolist()
    assert "100 train and 40 test images" in text and "license: apache-2.0" in text
    scores = table_predictions.predict_row(trained_run, TABLE_ROWS[COMPLETE]).scores
    ap = average_precision(truth, scores)
    assert [c["AP"] for c in info["classes"]] == [None if np.isnan(v) else pytest.approx(v) for v in ap]
    assert info["test"]["mAP"] == pytest.approx(np.nanmean(ap)) and f"| {np.nanmean(ap):.2f} |" in text


def test_card_reports_the_default_counting_rule_beside_the_papers():
    text = card(**{"test with the chosen quantity": {name: 77.77 for name in NAMES}})
    assert "as `annotate` counts them | 77.77 |" in text and "77.77" not in card()
    assert text.index("with their tags | ") < text.index("as `annotate`") < text.index("without any tags | ")


def test_card_metrics_without_tags_equal_those_of_the_saved_model(trained_run):
    """Compares the saved model on images without tags with the parts on cached features."""
    from msmm.scoring.metrics import annotation_metrics

    model = model_dir.load(table_predictions.save_model(trained_run))
    truth = trained_run.split("test").labels
    images = trained_run.images("test").take(np.arange(len(truth)))
    annotations = model.annotate(images, quantity="regression")
    chosen = np.array([[label in a.labels for label in model.labels] for a in annotations])
    expected = annotation_metrics(truth, chosen)
    measured = table_predictions.measure_row(trained_run, TABLE_ROWS[WITHOUT_TAGS])[1]
    for name in NAMES:  # cached features are float16, so one image in forty may differ
        assert measured[name] == pytest.approx(expected[name], abs=3)
    assert measured["mean predicted"] == pytest.approx(expected["mean predicted"], abs=0.1)


def test_code_in_a_model_file_is_not_executed(model_directory, tmp_path):
    import shutil

    import keras

    shutil.copytree(model_directory, tmp_path / "model")
    (tmp_path / "model/SHA256SUMS").unlink()
    image, tags = keras.Input((32, 32, 3), name="image"), keras.Input((4,), name="tags")
    means = keras.layers.Lambda(lambda x: keras.ops.mean(x, axis=(1, 2)))(image)
    joint = keras.layers.Concatenate()([means, tags])
    probabilities = keras.layers.Dense(5, activation="sigmoid", name="probabilities")(joint)
    quantity = keras.layers.Dense(1, name="quantity")(joint)
    network = keras.Model(
        {"image": image, "tags": tags}, {"probabilities": probabilities, "quantity": quantity}
    )
    network.save(tmp_path / "model/model.keras")
    with pytest.raises(UserError, match=r"cannot read .*[Ll]ambda"):
        model_dir.load(tmp_path / "model")


def test_card_of_many_classes_lists_the_best_and_the_worst():
    classes = [{"train": 9, "test": 2 if i else 0, "F1": i / 10, "AP": 50.0} for i in range(900)]
    text = model_card.model_card(
        {**copy.deepcopy(INFO), "classes": classes}, [f"c{i}" for i in range(900)], ()
    )
    rows = [
        line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| c") and "50.0" in line
    ]
    assert rows == [f"c{i}" for i in (*range(899, 874, -1), *range(25, 0, -1))]
    assert "`model.json` has all" in text and "`model.json` has all" not in card()
