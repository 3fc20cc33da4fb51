"""The command `doctor`: its report on the installation, a model and a folder."""

import sys

import pytest

from msmm.core import photo_files
from msmm.core.errors import UserError
from msmm.photos import diagnosis
from tests.camera_raw_files import encode_jpeg, make_dng
from tests.commands import run_command
from tests.msmm.conftest import picture
from tests.msmm.core.command_line_test import process, refused
from tests.msmm.core.packages import without_packages  # noqa: F401 - a fixture


def run_doctor(*arguments, cwd, **environment):
    return run_command("msmm.doctor", *arguments, cwd=cwd, env=process(cwd)["env"] | environment)


def lines_of(output: str) -> dict[str, str]:
    return {line[:12].strip(): line[12:] for line in output.splitlines() if line[:12].strip()}


def test_doctor_describes_the_installation_a_model_and_a_folder(tmp_path, model_directory):
    folder = tmp_path / "photos"
    (folder / "below").mkdir(parents=True)
    for name in ("a.jpg", "b.jpg", "below/c.jpg"):
        (folder / name).write_bytes(encode_jpeg(picture()))
    (folder / "d.jpg").write_bytes(b"\xff\xd8\xff damaged")
    (folder / "e.svg").write_bytes(b"<svg>")
    (folder / "f.mov").write_bytes(b"\0\0\0\x14ftypqt  ")
    result = run_doctor(f"--model={model_directory}", "--photos=photos", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    lines = lines_of(result.stdout)
    assert lines["Python"].startswith(f"{sys.version_info.major}.{sys.version_info.minor}.")
    assert lines["engines"].startswith("openvino (") and "keras (2" in lines["engines"]
    assert lines["formats"].startswith("JPEG, PNG")
    assert f"{model_directory}: 5 labels, 4 tags, 32 pixels" in lines["model"]
    assert lines["drawn image"]
    assert lines["folder"] == "photos: 4 photographs (4 JPEG)"
    assert lines["decoded"] == "3 of 4 that were tried"
    skipped = {lines["skipped 1"], lines["skipped 2"]}
    assert skipped == {
        "1, such as photos/d.jpg: does not decode",
        "1, such as photos/e.svg: .svg is not read: export it as JPEG",
    }
    assert lines["left out"] == "videos: 1"
    assert result.stdout.endswith("\nAnnotating works.\n")


def test_doctor_without_a_model_annotates_with_the_starter_model(tmp_path):
    pytest.importorskip("openvino", reason="openvino is missing: pip install 'msmm[openvino]'")
    result = run_doctor(cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "the starter model: 121 labels, 1,000 tags, 224 pixels" in lines_of(result.stdout)["model"]
    assert lines_of(result.stdout)["drawn image"]
    assert list(tmp_path.iterdir()) == []


def test_doctor_names_every_cause_and_ends_with_status_2(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "model").mkdir()
    result = run_doctor("--model=model", "--photos=empty", cwd=tmp_path)
    message = refused(result)
    assert "expected a model directory" in message and "no photograph in empty can be read" in message
    lines = lines_of(result.stdout)
    assert lines["model"].startswith("does not work: expected") and lines["TensorFlow"]


def test_a_folder_that_does_not_exist_is_named():
    with pytest.raises(UserError, match="no such file or folder: 'nowhere'"):
        diagnosis.check_folder("nowhere")


def test_a_folder_whose_photographs_are_all_damaged_does_not_work(tmp_path):
    for number in range(8):
        (tmp_path / f"{number}.jpg").write_bytes(b"\xff\xd8\xff" + bytes(number))
    with pytest.raises(UserError, match=r"can be read \(8, such as .*/0.jpg: does not decode\)"):
        diagnosis.check_folder(str(tmp_path))


def test_only_some_photographs_of_a_large_folder_are_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(diagnosis, "DECODED", 4)
    for number in range(9):
        (tmp_path / f"{number}.jpg").write_bytes(encode_jpeg(picture()))
    assert diagnosis.check_folder(str(tmp_path)) == {
        "folder": f"{tmp_path}: 9 photographs (9 JPEG)",
        "decoded": "4 of 4 that were tried",
    }


def test_formats_whose_packages_are_missing_are_named(without_packages, tmp_path):  # noqa: F811
    lines = diagnosis.describe_formats()
    assert lines["formats"] == "JPEG, PNG, WEBP, GIF, TIFF, BMP, PPM"
    assert lines["not read"] == (
        "HEIC needs the package pillow-heif, AVIF needs Pillow 11.3 or later, camera raw needs the package "
        f"rawpy: {photo_files.INSTALL}"
    )
    (tmp_path / "a.dng").write_bytes(make_dng(encode_jpeg(picture())))
    with pytest.raises(
        UserError, match=r"1, such as .*a\.dng: camera raw is not read without the package rawpy"
    ):
        diagnosis.check_folder(str(tmp_path))


def test_an_engine_whose_packages_are_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    lines = diagnosis.describe_tensorflow(lambda: None)
    assert "onnxruntime (not installed: tf2onnx)" in lines["engines"]


def test_a_tensorflow_that_cannot_be_imported_is_described():
    def fail():
        raise ImportError("libcudart.so:\n cannot open")

    lines = diagnosis.describe_tensorflow(fail)
    assert lines["TensorFlow"].endswith("which cannot be imported: libcudart.so: cannot open")


@pytest.mark.parametrize(
    ("script", "text"),
    [("echo 13.10", "13.10"), ("exit 3", "does not work"), (None, "not installed; only needed to carry")],
)
def test_exiftool_is_described(script, text, tmp_path, monkeypatch):
    if script:
        (tmp_path / "exiftool").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "exiftool").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert text in diagnosis.describe_formats()["exiftool"]
