import shutil
import subprocess
import sys

import numpy as np
import pytest

from msmm import checksums, engines, model_dir
from msmm.errors import UserError
from tests.msmm.command_line_test import process
from tests.msmm.conftest import picture

CONVERTED = [name for name, conversion in engines.ENGINES.items() if conversion]


def load(directory, engine, precision="float32"):
    if absent := engines.missing(engine):
        pytest.skip(f"not installed: {', '.join(absent)}")
    return engines.load(directory, engine, precision)


@pytest.fixture
def directory(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "model", ignore=shutil.ignore_patterns("engines"))


@pytest.mark.parametrize("engine", engines.ENGINES)
def test_an_engine_says_what_keras_says(engine, saved, inputs):
    images, tags = inputs
    expected, model = model_dir.load(saved).annotate(images, tags), load(saved, engine)
    assert model.network is None and model.image_size == images.shape[1]
    said = [a for i in range(0, 50, 7) for a in model.annotate(images[i : i + 7], tags[i : i + 7])]
    for a, b in zip(said, expected, strict=True):
        assert a.labels == b.labels
        np.testing.assert_allclose(a.probabilities, b.probabilities, atol=1e-5)
        np.testing.assert_allclose(a.quantity, b.quantity, rtol=1e-4)
    assert len({len(a.labels) for a in expected}) > 2 and len({a.labels for a in expected}) > 10


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
    assert 1e-6 < max(differences) < 0.02  # other numbers, so it is bfloat16 indeed


@pytest.mark.parametrize("engine", CONVERTED)
def test_what_was_converted_is_kept_and_damage_mended(engine, directory, inputs, capfd):
    said = load(directory, engine).annotate(*inputs)
    (kept,) = directory.glob("engines/*-*")
    assert "converting" in capfd.readouterr().err
    load(directory, engine)
    assert "converting" not in capfd.readouterr().err
    weights = max(kept.iterdir(), key=lambda file: file.stat().st_size)
    content = bytearray(weights.read_bytes())
    for damaged in (
        content[: len(content) // 2],
        b"",
        content[:-9] + bytes([content[-9] ^ 64]) + content[-8:],
    ):
        weights.write_bytes(damaged)
        again = load(directory, engine).annotate(*inputs)
        assert [a.labels for a in again] == [a.labels for a in said]
        assert "converting" in capfd.readouterr().err and weights.read_bytes() == content


def test_of_another_network_it_is_made_anew(directory, network, inputs):
    import keras

    load(directory, "openvino")
    (before,) = directory.glob("engines/*-*")
    other = keras.models.clone_model(network)
    other.set_weights([-w for w in network.get_weights()])
    other.save(directory / "model.keras")
    (directory / checksums.SUMS).unlink()
    said, expected = (
        load(directory, "openvino").annotate(*inputs),
        model_dir.load(directory).annotate(*inputs),
    )
    assert [a.labels for a in said] == [a.labels for a in expected]
    (after,) = directory.glob("engines/*-*")
    assert after != before


def test_where_nothing_can_be_kept_it_is_made_for_this_process(directory, inputs):
    (directory / "engines").write_text("in the way")
    said = load(directory, "openvino").annotate(*inputs)
    assert [a.labels for a in said] == [a.labels for a in model_dir.load(directory).annotate(*inputs)]
    assert (directory / "engines").read_text() == "in the way"


def test_a_kept_conversion_annotates_without_tensorflow(directory, tmp_path):
    load(directory, "openvino")
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
        ({"openvino", "onnxruntime"}, True, ("auto", "auto"), ("openvino", "bfloat16")),
        ({"onnxruntime"}, True, ("auto", "auto"), ("onnxruntime", "float32")),
        (set(), True, ("auto", "auto"), ("tensorflow", "float32")),
        ({"openvino"}, False, ("openvino", "auto"), ("openvino", "float32")),
        ({"openvino"}, True, ("openvino", "float32"), ("openvino", "float32")),
        ({"openvino"}, True, ("tensorflow", "auto"), ("tensorflow", "float32")),
        (set(), True, ("openvino", "auto"), "needs openvino: pip install 'msmm\\[openvino\\]'"),
        (set(), True, ("onnxruntime", "auto"), "needs onnxruntime: pip install 'msmm\\[onnx\\]'"),
        (set(), True, ("auto", "bfloat16"), "needs an engine of openvino: pip install 'msmm\\[openvino\\]'"),
        ({"openvino"}, False, ("auto", "bfloat16"), "this processor does not compute in bfloat16"),
        ({"onnxruntime"}, True, ("onnxruntime", "bfloat16"), "has --precision=float32, not bfloat16"),
        (set(), True, ("tensorrt", "auto"), "expected an engine of auto, openvino"),
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
    assert annotate.PRECISIONS == engines.PRECISIONS
