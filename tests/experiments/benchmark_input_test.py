"""Runs benchmark_input at a small size; the measured rates are not tested."""

import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT


@pytest.mark.slow
def test_input_benchmark_measures_every_pipeline_on_the_given_files(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (3, 40, 60, 3), np.uint8)
    (tmp_path / "photos").mkdir()
    for i, image in enumerate(pixels):
        Image.fromarray(image).save(tmp_path / f"photos/{i}.jpg")
    arguments = ["--images=photos", "--image_size=32", "--seconds=0.01", "--repeats=1"]
    arguments += ["--training=resnet-1-1-1-1-w8"]
    result = subprocess.run(
        [sys.executable, "-m", "experiments.benchmark_input", *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={"PATH": "", "PYTHONPATH": str(ROOT)},
    )
    assert result.returncode == 0, result.stderr
    assert "photos, 3 files of " in result.stdout
    rates = dict(re.findall(r"^\| ([a-z.,_ ]+) \| [\d,]+ \| ([\d.]+) \|$", result.stdout, re.MULTILINE))
    assert rates["decoding alone"] == "1.00"
    assert {"ours", "ours, kept in memory", "tf.data with tf.image"} <= rates.keys()
    assert {"training on one batch in memory", "training, fed by ours"} <= rates.keys()
    assert re.search(
        r"the pipeline (feeds [\d,]+ images/s, [\d.]+ times what the training takes|costs less than can)",
        result.stdout,
    )
