import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from msmm.core import checksums
from msmm.core.errors import UserError
from msmm.core.processor import has_bfloat16
from msmm.inference import engines, model_dir
from msmm.inference.agreement import compare_annotations, count_borderline
from msmm.inference.engines import cache, second_look
from msmm.quantities import counting_rules
from tests.architecture_test import COMMANDS
from tests.conftest import ROOT
from tests.msmm.conftest import picture
from tests.msmm.core.command_line_test import process
from tests.msmm.inference.engines.conftest import LABELS, TAGS


def load(directory, engine, precision="float32"):
    if absent := engines.missing(engine):
        pytest.skip(f"not installed: {', '.join(absent)}")
    return engines.load(directory, engine, precision)


@pytest.fixture
def directory(saved, tmp_path):
    """A model directory with a cached OpenVINO conversion."""
    load(saved, "openvino")
    return shutil.copytree(saved, tmp_path / "model")


def agrees_with_keras(directory, annotations, inputs) -> bool:
    model = model_dir.load(directory)
    return compare_annotations(model, annotations, model.annotate(*inputs), inputs[1]).is_good


@pytest.mark.parametrize("engine", engines.ENGINES)
def test_an_engine_predicts_the_labels_of_keras(engine, saved, inputs):
    images, tags = inputs
    expected, model = model_dir.load(saved).annotate(images, tags), load(saved, engine)
    assert (model.network is None) == (engine != "keras") and model.image_size == images.shape[1]
    annotations = [a for i in range(0, 50, 7) for a in model.annotate(images[i : i + 7], tags[i : i + 7])]
    agreement = compare_annotations(model, annotations, expected, tags)
    assert agreement.is_good and agreement.borderline <= 2, agreement
    assert len({len(a.labels) for a in expected}) > 2 and len({a.labels for a in expected}) > 4


def test_bfloat16_probabilities_are_close_to_float32(saved, inputs):
    if not has_bfloat16():
        pytest.skip("this processor does not compute in bfloat16")
    annotations, expected = (
        load(saved, "openvino", "bfloat16").annotate(*inputs),
        model_dir.load(saved).annotate(*inputs),
    )
    differences = [
        np.abs(a.probabilities - b.probabilities).max() for a, b in zip(annotations, expected, strict=True)
    ]
    assert 1e-6 < max(differences) < 0.2  # not equal, so bfloat16 was used


@pytest.mark.parametrize("quantity", [None, counting_rules.TopK(2), counting_rules.AtLeast(0.5)])
def test_mixed_precision_predicts_the_labels_of_float32(quantity, directory, inputs):
    if not has_bfloat16():
        pytest.skip("this processor does not compute in bfloat16")
    rng = np.random.default_rng(2)
    held_out = rng.integers(0, 128, (second_look.IMAGES, *inputs[0].shape[1:]), np.uint8)
    engines.prepare(directory, held_out, rng.random((len(held_out), len(TAGS))) < 0.2)
    images, tags = (np.tile(inputs[0], (4, 1, 1, 1)) // 2, 4 * inputs[1])  # many close to a decision boundary
    exact, fast, mixed = (load(directory, "openvino", p) for p in ("float32", "bfloat16", "mixed"))
    model, (exact, fast, mixed) = exact, (m.annotate(images, tags, quantity) for m in (exact, fast, mixed))
    labels = ({(i, label) for i, a in enumerate(some) for label in a.labels} for some in (exact, mixed))
    assert len(set.symmetric_difference(*labels)) <= count_borderline(model, exact, tags, quantity)
    again = sum((a.probabilities != b.probabilities).any() for a, b in zip(mixed, fast, strict=True))
    assert 0 < again < len(images) / 2


def test_mixed_precision_without_stored_errors_measures_the_first_images(directory, inputs):
    if not has_bfloat16():
        pytest.skip("this processor does not compute in bfloat16")
    images, exact, mixed = np.tile(inputs[0], (4, 1, 1, 1)) // 2, load(directory, "openvino"), None
    assert not (directory / second_look.FILE).exists()
    mixed = load(directory, "openvino", "mixed")
    expected, annotations = exact.annotate(images), mixed.annotate(images)
    assert [set(a.labels) for a in annotations] == [set(a.labels) for a in expected]
    first = zip(annotations[: second_look.IMAGES], expected, strict=False)
    assert all(np.abs(a.probabilities - b.probabilities).max() < 1e-6 for a, b in first)
    assert second_look.IMAGES <= mixed.second_look.again < len(images)


def test_bfloat16_errors_are_stored_with_the_model(directory, inputs):
    if not has_bfloat16():
        pytest.skip("this processor does not compute in bfloat16")
    engines.prepare(directory, inputs[0], np.zeros((len(inputs[0]), len(TAGS))))
    errors = second_look.Errors.read(directory, len(LABELS))
    assert [len(part) for part in errors.logits] == [len(inputs[0]), 0]
    assert 0 < np.abs(errors.logits[0]).max() < 1
    content = (directory / second_look.FILE).read_bytes()
    (directory / second_look.FILE).write_bytes(content[:-20])
    with pytest.raises(UserError, match="is damaged, it differs from its checksum in SHA256SUMS"):
        load(directory, "openvino", "mixed")


@pytest.mark.parametrize("error", [ImportError("libtbb.so.12: cannot open"), OSError(28, "No space left")])
def test_a_broken_engine_falls_back_to_keras_unless_named(monkeypatch, error, directory, inputs, capfd):
    def fail():
        raise error

    monkeypatch.setattr("msmm.inference.engines.openvino.import_openvino", fail)
    monkeypatch.setattr(engines, "missing", lambda engine: [])
    model = engines.load(directory)
    assert model.network is not None and len(model.annotate(inputs[0][:2])) == 2
    assert "openvino does not work here" in capfd.readouterr().err
    with pytest.raises(type(error)):
        engines.load(directory, "openvino")


@pytest.mark.parametrize("package", ["openvino", "onnxruntime"])
def test_a_runtime_is_imported_only_in_formats(package):
    importing = re.compile(rf"^\s*import {package}\b", re.MULTILINE)
    files = [path for folder in COMMANDS for path in (ROOT / folder).rglob("*.py")]
    assert [path.name for path in files if importing.search(path.read_text())] == ["formats.py"]


def test_onnx_runtime_writes_no_telemetry_files(directory, tmp_path):
    """The telemetry is in its C++ library, which an audit hook cannot observe."""
    load(directory, "onnxruntime")  # converts, if it is installed
    (tmp_path / "home").mkdir()
    environment = process(tmp_path)
    environment["env"]["HOME"] = str(tmp_path / "home")
    code = "import sys; from msmm.inference import engines; engines.load(sys.argv[1], 'onnxruntime')"
    command = [sys.executable, "-c", code, str(directory)]
    result = subprocess.run(command, capture_output=True, timeout=120, **environment)
    assert result.returncode == 0, result.stderr
    assert list((tmp_path / "home").iterdir()) == []


def test_openvino_runs_without_telemetry_and_home_directory(directory, tmp_path):
    code = """
import sys
from msmm.inference import engines
model = engines.load(sys.argv[1], "openvino")
assert sys.modules["openvino_telemetry"] is None
assert not [name for name in sys.modules if name.startswith("openvino_telemetry.")]"""
    environment = process(tmp_path)
    del environment["env"]["HOME"]
    command = [sys.executable, "-c", code, str(directory)]
    result = subprocess.run(command, capture_output=True, timeout=120, **environment)
    assert result.returncode == 0, result.stderr


def test_a_cached_conversion_is_reused_and_repaired_when_damaged(directory, inputs, capfd):
    capfd.readouterr()
    annotations = load(directory, "openvino").annotate(*inputs)
    assert "converting" not in capfd.readouterr().err
    (weights,) = directory.glob("engines/openvino-*/model.bin")
    content = weights.read_bytes()
    weights.write_bytes(content[:-9] + bytes([content[-9] ^ 64]) + content[-8:])
    again = load(directory, "openvino").annotate(*inputs)
    assert [a.labels for a in again] == [a.labels for a in annotations]
    assert "converting" in capfd.readouterr().err and weights.read_bytes() == content


@pytest.mark.parametrize("name", ["model.bin", "model.xml", "sizes.json", "SHA256SUMS"])
def test_an_incomplete_or_damaged_conversion_is_not_sound(name, directory):
    (cached,) = directory.glob("engines/openvino-*")
    assert cache.is_sound(cached)
    content = (cached / name).read_bytes()
    for damaged in (content[:-2], b"", bytes([content[0] ^ 1]) + content[1:]):
        (cached / name).write_bytes(damaged)
        assert not cache.is_sound(cached)
    (cached / name).unlink()
    assert not cache.is_sound(cached)


def test_a_changed_network_is_converted_again(directory, network, inputs):
    import keras

    (before,) = directory.glob("engines/openvino-*")
    other = keras.models.clone_model(network)
    other.set_weights([1.1 * w for w in network.get_weights()])
    other.save(directory / "model.keras")
    (directory / checksums.SUMS).unlink()
    assert agrees_with_keras(directory, load(directory, "openvino").annotate(*inputs), inputs)
    (after,) = directory.glob("engines/openvino-*")
    assert after != before


def test_an_unwritable_cache_is_reported_and_the_network_converted(directory, inputs, capfd):
    shutil.rmtree(directory / "engines")
    (directory / "engines").write_text("in the way")
    capfd.readouterr()
    annotations = load(directory, "openvino").annotate(*inputs)
    (line,) = [line for line in capfd.readouterr().err.splitlines() if "converting" in line]
    assert (
        f"it cannot be kept in {directory}/engines: File exists, so that the next run converts again" in line
    )
    assert agrees_with_keras(directory, annotations, inputs)
    assert (directory / "engines").read_text() == "in the way"


def test_a_cached_conversion_annotates_without_tensorflow(directory, tmp_path):
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
    ("installed", "bfloat16", "requested", "expected"),
    [
        ({"openvino", "onnxruntime"}, True, ("auto", "float32"), ("openvino", "float32")),
        ({"openvino", "onnxruntime"}, True, ("auto", "bfloat16"), ("openvino", "bfloat16")),
        ({"openvino", "onnxruntime"}, True, ("auto", "mixed"), ("openvino", "mixed")),
        ({"onnxruntime"}, True, ("auto", "float32"), ("onnxruntime", "float32")),
        (set(), True, ("auto", "float32"), ("keras", "float32")),
        ({"openvino"}, True, ("keras", "float32"), ("keras", "float32")),
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
def test_engine_is_chosen_by_name_and_precision(monkeypatch, installed, bfloat16, requested, expected):
    monkeypatch.setattr(engines, "missing", lambda e: [] if e in {*installed, "keras"} else [e])
    monkeypatch.setattr(engines, "has_bfloat16", lambda: bfloat16)
    if isinstance(expected, tuple):
        assert engines.choose_engine(*requested) == expected
    else:
        with pytest.raises(UserError, match=expected):
            engines.choose_engine(*requested)


def test_a_limit_of_onednn_forbids_bfloat16(monkeypatch, saved):
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    here = has_bfloat16()
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX512_CORE")
    assert has_bfloat16() == here
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "avx2")
    assert not has_bfloat16()
    with pytest.raises(UserError, match="or ONEDNN_MAX_CPU_ISA forbids it"):
        engines.load(saved, "openvino", "mixed")


def test_every_precision_has_an_engine():
    assert {p for engine in engines.ENGINES.values() for p in engine.precisions} == set(engines.PRECISIONS)
