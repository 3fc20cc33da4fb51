"""The whole rehearsal of a library on a tiny drawn layout of MSCOCO."""

import os
import shutil
import subprocess
import sys

import pytest

from tests.conftest import TINY
from tests.experiments.starter.starter_model_test import draw_layout
from tests.msmm.core.command_line_test import process, refused, run

pytest.importorskip("openvino", reason="openvino is missing: pip install 'msmm[openvino]'")


def rehearse(tmp_path, *arguments):
    settings = ",".join(f"{name}={value}" for name, value in {**TINY, "held_out": 4}.items())
    command = [sys.executable, "-m", "experiments.library_rehearsal", "--raw_dir=coco", "--output=out"]
    options = process(tmp_path)
    options["env"]["PATH"] = os.environ["PATH"]  # of exiftool
    return subprocess.run(
        [*command, f"--settings={settings}", *arguments], capture_output=True, timeout=900, **options
    )


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("exiftool"), reason="exiftool is not installed")
def test_a_small_library_goes_from_tagged_files_to_figures(tmp_path):
    draw_layout(tmp_path / "coco")
    before = {path: path.read_bytes() for path in (tmp_path / "coco").rglob("*") if path.is_file()}
    arguments = ["--photos=20", "--new_photos=10", "--min_photos=2"]
    result = rehearse(tmp_path, *arguments)
    assert result.returncode == 0, result.stdout + result.stderr
    for text in (
        "the labels of 0 differ from the keywords that they were given",
        "no photograph has changed",
        "after --remove, every file of the library is byte for byte what it was",
        "10 new photographs, with folder names and captions",
        "10 new photographs, pixels alone",
    ):
        assert text in result.stdout
    assert {path: path.read_bytes() for path in before} == before
    assert result.stdout.count("starter:     ") == 2  # of the library's model and of the CSV file's

    # A second call repeats nothing.
    again = rehearse(tmp_path, *arguments)
    assert again.returncode == 0 and again.stdout.count("(done)") == again.stdout.count("$ python") > 5


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("exiftool"), reason="exiftool is not installed")
def test_more_photographs_than_there_are_is_an_error(tmp_path):
    draw_layout(tmp_path / "coco")
    result = run(
        "experiments.library_rehearsal", "--raw_dir=coco", "--output=out", "--photos=25", cwd=tmp_path
    )
    assert "expected 1,025 photographs with labels in val, there are 30" in refused(result)
