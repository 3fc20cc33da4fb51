import keras
import numpy as np
import pytest

from msmm.core.errors import UserError
from msmm.inference.exporting import check, formats
from msmm.inference.exporting.graph import Graph
from msmm.inference.model import Model
from msmm.scoring.predictions import Predictions, choose_labels, round_counts
from tests.msmm.tying import NUM_LABELS, NUM_TAGS, SIZE


def require_format(name: str) -> formats.Format:
    try:
        return formats.require(name)
    except UserError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module", params=formats.FORMATS)
def exported(request, tying_model, tmp_path_factory):
    """The name of a format and the directory of an export."""
    directory = tmp_path_factory.mktemp(request.param)
    require_format(request.param).write(Graph(tying_model), directory)
    return request.param, directory


@pytest.mark.parametrize("batch_size", [1, 64])
def test_an_exported_runtime_equals_the_annotations_of_the_model(exported, tying_model, batch_size):
    name, directory = exported
    run = formats.require(name).open(directory)
    tags = np.array([[i >> bit & 1 for bit in range(NUM_TAGS)] for i in range(2**NUM_TAGS)], np.float32)
    images = np.zeros((len(tags), SIZE, SIZE, 3), np.float32)
    parts = [
        {
            name: np.array(value)
            for name, value in run(images[i : i + batch_size], tags[i : i + batch_size]).items()
        }
        for i in range(0, len(tags), batch_size)
    ]
    outputs = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    keras_outputs = tying_model.network.predict_on_batch({"image": images, "tags": tags})
    np.testing.assert_allclose(outputs["probabilities"], keras_outputs["probabilities"], atol=1e-6)
    np.testing.assert_array_equal(outputs["quantity"], 1.5 * tags.sum(axis=1))  # some end in one half
    np.testing.assert_array_equal(outputs["count"], round_counts(outputs["quantity"], NUM_LABELS))
    np.testing.assert_array_equal(
        outputs["chosen"], choose_labels(Predictions(outputs["probabilities"], outputs["count"]))
    )
    assert any(len(set(row)) < NUM_LABELS for row in outputs["probabilities"].tolist())  # some tie
    assert outputs["chosen"].dtype == bool


def test_check_accepts_an_export_of_its_model(exported, tying_model):
    name, directory = exported
    for agreement in check.check_export(tying_model, name, directory, 12):
        assert agreement.images == agreement.same_labels == 12
        assert agreement.probability < 1e-6 and agreement.quantity < 1e-6


@pytest.mark.parametrize("shift", [2e-4, np.nan])
def test_check_refuses_an_export_of_another_model(exported, tying_model, shift):
    """The other model predicts the same labels."""
    name, directory = exported
    network = keras.models.clone_model(tying_model.network)
    weights = tying_model.network.get_weights()
    network.set_weights([w if w.shape != (NUM_LABELS,) else w + 4 * shift for w in weights])
    other = Model(network, tying_model.labels, tying_model.tags, {})
    if np.isnan(shift):
        with pytest.raises(ValueError, match="NaN"):
            check.check_export(other, name, directory, 12)
    else:
        with pytest.raises(UserError, match=r"does not annotate as the model does.* a difference of 0.0002"):
            check.check_export(other, name, directory, 12)


@pytest.mark.parametrize("column", [0, NUM_LABELS])  # of a probability, of the quantity
def test_check_refuses_an_export_with_one_weight_changed_by_1_percent(exported, tying_model, column):
    name, directory = exported
    weights = tying_model.network.get_weights()
    kernel = next(w for w in weights if w.shape == ((3 + NUM_TAGS), 1 if column else NUM_LABELS))
    row = 3 + np.flatnonzero(kernel[3:, 0])[0]
    kernel[row, 0] *= 1.01
    other = Model(keras.models.clone_model(tying_model.network), tying_model.labels, tying_model.tags, {})
    other.network.set_weights(weights)
    with pytest.raises(UserError, match=r"does not annotate as the model does"):
        check.check_export(other, name, directory, 12)


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    missing = formats.Format(None, None, ("no_such_package",))
    monkeypatch.setitem(formats.FORMATS, "onnx", missing)
    with pytest.raises(UserError, match=r"needs no_such_package: pip install 'msmm\[onnx\]'"):
        formats.require("onnx")
