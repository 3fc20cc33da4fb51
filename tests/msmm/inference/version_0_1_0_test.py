"""A model directory of version 0.1.0 gives the annotations that are recorded in annotations.json."""

import json
import pathlib
import shutil

import numpy as np
import pytest

import msmm
from msmm.core.processor import has_bfloat16
from msmm.inference import engines, model_dir
from msmm.inference.engines import second_look

FOLDER = pathlib.Path(__file__).parent / "version_0_1_0"


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return shutil.copytree(FOLDER / "model", tmp_path_factory.mktemp("models") / "model")


@pytest.fixture(scope="module")
def recorded():
    return json.loads((FOLDER / "annotations.json").read_text(encoding="utf-8"))


def load(directory, engine: str, precision: str = "float32"):
    if absent := engines.missing(engine):
        pytest.skip(f"not installed: {', '.join(absent)}")
    if precision != "float32" and not has_bfloat16():
        pytest.skip("this processor does not compute in bfloat16")
    return engines.load(directory, engine, precision)


@pytest.mark.parametrize(
    ("engine", "precision"),
    [("keras", "float32"), ("openvino", "float32"), ("openvino", "mixed"), ("onnxruntime", "float32")],
)
@pytest.mark.parametrize("rule", ["default", "regression", "threshold", "count_posterior"])
def test_a_version_0_1_0_model_annotates_as_recorded(directory, recorded, rule, engine, precision):
    assert not (directory / second_look.FILE).exists()
    model = load(directory, engine, precision)
    images = [np.full((40, 50, 3), colour, np.uint8) for colour in recorded["colours"]]
    annotations = model.annotate(images, recorded["tags"], None if rule == "default" else rule)
    for annotation, expected in zip(annotations, recorded["annotations"][rule], strict=True):
        assert list(annotation.labels) == expected["labels"]
        np.testing.assert_allclose(annotation.probabilities, expected["probabilities"], atol=1e-5)
        assert annotation.quantity == pytest.approx(expected["quantity"], abs=1e-4)


def test_a_version_0_1_0_model_loads_by_the_lines_of_its_card(directory):
    from msmm import model_dir as as_in_the_card

    assert as_in_the_card is model_dir
    model = msmm.load(directory, "keras")
    assert model.info["msmm"] == "0.1.0" and model.labels[0] == "red" and model.tags[-1] == "café"
    assert "model_dir.load" in (directory / "README.md").read_text(encoding="utf-8")
    assert model_dir.load(directory).annotate([np.zeros((9, 9, 3), np.uint8)], tags=[["beach", "nikon"]])[0]
