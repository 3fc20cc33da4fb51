import shutil
import subprocess
import sys

import numpy as np
import pytest

from msmm.core import checksums
from msmm.core.errors import UserError
from msmm.inference import engines, model_dir
from msmm.inference.engines import cache
from msmm.quantities import counting_rules
from tests.msmm.conftest import picture
from tests.msmm.core.command_line_test import process


def load(directory, engine, precision="float32"):
    if absent := engines.missing(engine):
        pytest.skip(f"not installed: {', '.join(absent)}")
    return engines.load(directory, engine, precision)


@pytest.fixture
def directory(saved, tmp_path):
    """A model directory that OpenVINO's conversion is in."""
    load(saved, "openvino")
    return shutil.copytree(saved, tmp_path / "model")


@pytest.mark.parametrize("engine", engines.ENGINES)
def test_an_engine_says_what_keras_says(engine, saved, inputs):
    images, tags = inputs
    expected, model = model_dir.load(saved).annotate(images, tags), load(saved, engine)
    assert model.network is None and model.image_size == images.shape[1]
    said = [a for i in range(0, 50, 7) for a in model.annotate(images[i : i + 7], tags[i : i + 7])]
    for a, b in zip(said, expected, strict=True):
        assert a.labels == b.labels
        np.testing.assert_allclose(a.probabilities, b.probabilities, atol=1e-4)
        np.testing.assert_allclose(a.quantity, b.quantity, atol=1e-3)
    assert len({len(a.labels) for a in expected}) > 2 and len({a.labels for a in expected}) > 4


def test_bfloat16_says_nearly_the_same(saved, inputs):
    if not engines.has_bfloat16():
        pytest.skip("this processor does not compute in bfloat16")
    said, expected = (
        load(saved, "openvino", "bfloat16").annotate(*inputs),
        model_dir.load(saved).annotate(*inputs),
    )
    differences = [
        np.abs(a.probabilities - b.probabilities).max() for a, b in zip(said, expected, strict=True)
    ]
    assert 1e-6 < max(differences) < 0.2  # other numbers, so it is bfloat16 indeed


@pytest.mark.parametrize("quantity", [None, counting_rules.TopK(2), counting_rules.AtLeast(0.5)])
def test_mixed_says_the_labels_of_float32(quantity, directory, inputs, capfd):
    if not engines.has_bfloat16():
        pytest.skip("this processor does not compute in bfloat16")
    images, tags = (np.tile(inputs[0], (4, 1, 1, 1)) // 2, 4 * inputs[1])  # many between the labels
    capfd.readouterr()
    exact, fast, mixed = (load(directory, "openvino", p) for p in ("float32", "bfloat16", "mixed"))
    assert "measuring what bfloat16 changes" in capfd.readouterr().err
    exact, fast, mixed = (m.annotate(images, tags, quantity) for m in (exact, fast, mixed))
    assert [set(a.labels) for a in mixed] == [set(a.labels) for a in exact]
    again = sum((a.probabilities != b.probabilities).any() for a, b in zip(mixed, fast, strict=True))
    assert 0 < again < len(images) / 2
    load(directory, "openvino", "mixed")
    assert "measuring" not in capfd.readouterr().err  # kept


def test_what_was_converted_is_kept_and_damage_mended(directory, inputs, capfd):
    capfd.readouterr()
    said = load(directory, "openvino").annotate(*inputs)
    assert "converting" not in capfd.readouterr().err
    (weights,) = directory.glob("engines/openvino-*/model.bin")
    content = weights.read_bytes()
    weights.write_bytes(content[:-9] + bytes([content[-9] ^ 64]) + content[-8:])
    again = load(directory, "openvino").annotate(*inputs)
    assert [a.labels for a in again] == [a.labels for a in said]
    assert "converting" in capfd.readouterr().err and weights.read_bytes() == content


@pytest.mark.parametrize("name", ["model.bin", "model.xml", "sizes.json", "SHA256SUMS"])
def test_a_conversion_that_is_not_whole_is_not_sound(name, directory):
    (kept,) = directory.glob("engines/openvino-*")
    assert cache.is_sound(kept)
    content = (kept / name).read_bytes()
    for damaged in (content[:-2], b"", bytes([content[0] ^ 1]) + content[1:]):
        (kept / name).write_bytes(damaged)
        assert not cache.is_sound(kept)
    (kept / name).unlink()
    assert not cache.is_sound(kept)


def test_of_another_network_it_is_made_anew(directory, network, inputs):
    import keras

    (before,) = directory.glob("engines/openvino-*")
    other = keras.models.clone_model(network)
    other.set_weights([1.1 * w for w in network.get_weights()])
    other.save(directory / "model.keras")
    (directory / checksums.SUMS).unlink()
    said, expected = (
        load(directory, "openvino").annotate(*inputs),
        model_dir.load(directory).annotate(*inputs),
    )
    assert [a.labels for a in said] == [a.labels for a in expected]
    (after,) = directory.glob("engines/openvino-*")
    assert after != before


def test_where_nothing_can_be_kept_it_is_made_for_this_process_and_said(directory, inputs, capfd):
    shutil.rmtree(directory / "engines")
    (directory / "engines").write_text("in the way")
    capfd.readouterr()
    said = load(directory, "openvino").annotate(*inputs)
    (line,) = [line for line in capfd.readouterr().err.splitlines() if "converting" in line]
    assert (
        f"it cannot be kept in {directory}/engines: File exists, so that the next run converts again" in line
    )
    assert [a.labels for a in said] == [a.labels for a in model_dir.load(directory).annotate(*inputs)]
    assert (directory / "engines").read_text() == "in the way"


def test_a_kept_conversion_annotates_without_tensorflow(directory, tmp_path):
    picture().save(tmp_path / "photo.png")
    arguments = ["photo.png", "--model=model", "--engine=openvino", "--format=json"]
    blocked = "import runpy, sys; sys.modules.update(tensorflow=None, keras=None); "
    code = blocked + "runpy.run_module('msmm.annotate', run_name='__main__', alter_sys=True)"
    without = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, timeout=120, **process(tmp_path)
    )
    assert without.returncode == 0, without.stderr
    assert '"labels"' in without.stdout


@pytest.mark.parametrize(
    ("installed", "bfloat16", "asked", "meant"),
    [
        ({"openvino", "onnxruntime"}, True, ("auto", "float32"), ("openvino", "float32")),
        ({"openvino", "onnxruntime"}, True, ("auto", "bfloat16"), ("openvino", "bfloat16")),
        ({"openvino", "onnxruntime"}, True, ("auto", "mixed"), ("openvino", "mixed")),
        ({"onnxruntime"}, True, ("auto", "float32"), ("onnxruntime", "float32")),
        (set(), True, ("auto", "float32"), ("tensorflow", "float32")),
        ({"openvino"}, True, ("tensorflow", "float32"), ("tensorflow", "float32")),
        (set(), True, ("openvino", "float32"), "needs openvino: pip install 'msmm\\[openvino\\]'"),
        (set(), True, ("onnxruntime", "float32"), "needs onnxruntime: pip install 'msmm\\[onnx\\]'"),
        (set(), True, ("auto", "bfloat16"), "needs an engine of openvino: pip install 'msmm\\[openvino\\]'"),
        ({"openvino"}, False, ("auto", "bfloat16"), "this processor does not compute in bfloat16"),
        ({"openvino"}, False, ("openvino", "mixed"), "this processor does not compute in bfloat16"),
        ({"openvino"}, True, ("auto", "float16"), "expected a precision of float32, mixed, bfloat16"),
        ({"onnxruntime"}, True, ("onnxruntime", "bfloat16"), "has --precision=float32, not bfloat16"),
        (set(), True, ("tensorrt", "float32"), "expected an engine of auto, openvino"),
    ],
)
def test_which_engine_is_meant(monkeypatch, installed, bfloat16, asked, meant):
    monkeypatch.setattr(engines, "missing", lambda e: [] if e in {*installed, "tensorflow"} else [e])
    monkeypatch.setattr(engines, "has_bfloat16", lambda: bfloat16)
    if isinstance(meant, tuple):
        assert engines.choose(*asked) == meant
    else:
        with pytest.raises(UserError, match=meant):
            engines.choose(*asked)


def test_the_door_has_the_engines_that_there_are():
    from msmm import annotate

    assert set(annotate.ENGINES) == {"auto", *engines.ENGINES}
    assert annotate.PRECISIONS == engines.PRECISIONS == tuple(engines.FASTEST)
