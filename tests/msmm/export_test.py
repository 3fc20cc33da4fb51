"""Every export format, written by the command; a SavedModel runs without this package."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest

from msmm.inference import model_dir
from msmm.inference.exporting import check, counting, formats
from msmm.training import table_predictions
from tests.msmm.conftest import figures
from tests.msmm.core.command_line_test import process, refused, run, run_with_tensorflow
from tests.msmm.inference.exporting.formats_test import require_format

NUM_IMAGES = 100


@pytest.fixture(scope="module")
def saved(trained_run):
    return table_predictions.save_model(trained_run)


@pytest.mark.slow
@pytest.mark.parametrize("name", formats.FORMATS)
def test_an_export_predicts_the_labels_of_the_model_on_100_images(name, saved, tmp_path):
    require_format(name)
    result = run("msmm.export", f"--model={saved}", f"--format={name}", "--output=new", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    differences = re.findall(
        r"labels on 100 of 100 images; largest difference of a probability (\S+),", result.stdout
    )
    assert len(differences) == (2 if name == "saved_model" else 1) and all(
        float(x) <= check.MAX_DIFFERENCE for x in differences
    )
    assert [p.name for p in tmp_path.iterdir()] == ["new"]
    for words in ("labels", "tags"):
        assert (tmp_path / f"new/{words}.txt").read_bytes() == (saved / f"{words}.txt").read_bytes()
    assert "exists already" in refused(
        run("msmm.export", f"--model={saved}", f"--format={name}", "--output=new", cwd=tmp_path)
    )


def test_a_tag_that_contains_the_separator_is_named_and_does_not_stop_the_export(tying_model, tmp_path):
    """A SavedModel splits the names of tags at it, so it never finds this tag; a 0/1 vector may have it."""
    tags = ("a;b", *tying_model.tags[1:])
    info = {"dataset": "made by hand", "msmm": "0", "seed": 0, "images": {"test": 1}, "test": figures(),
            "settings": {"backbone": "none", "weights": "none"}}  # fmt: skip
    model_dir.save(tmp_path / "model", tying_model.network, tying_model.labels, tags, info)
    result = run_with_tensorflow(
        "msmm.export", "--model=model", "--output=new", "--check_images=20", cwd=tmp_path
    )
    assert result.returncode == 0, result.stderr
    assert "1 of the 6 tags contain ;, and serving_default finds none of them: a;b\n" in result.stdout
    drawn = check.draw_tags(model_dir.load(tmp_path / "model"), 50)
    assert {word for words in drawn for word in words} == {*tags[1:], check.UNKNOWN_TAG}


SERVE = """
import json, pathlib, sys
import tensorflow as tf
serve = tf.saved_model.load("new/1").signatures["serving_default"]
images = [path.read_bytes() for path in sorted(pathlib.Path("images").iterdir())]
outputs = serve(image_bytes=tf.constant(images), tags=tf.constant(json.loads(sys.argv[1])))
labels = [[label.decode() for label in row if label] for row in outputs["labels"].numpy()]
print(json.dumps([labels, outputs["probabilities"].numpy().tolist(), "msmm" in sys.modules]))
"""


@pytest.mark.slow
def test_a_saved_model_runs_without_this_package(saved, tmp_path):
    """Loaded in a process with TensorFlow alone, on 100 drawn scenes in JPEG and PNG files."""
    result = run("msmm.export", f"--model={saved}", "--output=new", "--check_images=10", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    model = model_dir.load(saved)
    tags, decoded = check.draw_tags(model, NUM_IMAGES), []
    (tmp_path / "images").mkdir()
    for i in range(NUM_IMAGES):
        data, pixels = check.encode(i, check.draw_image(i, 48 + i % 3))
        (tmp_path / f"images/{i:03d}").write_bytes(data)
        decoded.append(pixels)
    command = [sys.executable, "-c", SERVE, json.dumps([";".join(words) for words in tags])]
    served = subprocess.run(command, capture_output=True, timeout=300, **process(tmp_path))
    labels, probabilities, with_msmm = json.loads(served.stdout.splitlines()[-1])
    expected = model.annotate(decoded, tags, counting.default(model))
    assert not with_msmm
    assert [tuple(row) for row in labels] == [e.labels for e in expected]
    np.testing.assert_allclose(probabilities, [e.probabilities for e in expected], atol=check.MAX_DIFFERENCE)


@pytest.mark.slow
def test_a_killed_export_leaves_no_output(saved, tmp_path):
    command = [sys.executable, "-m", "msmm.export", f"--model={saved}", "--output=new"]
    exporting = subprocess.Popen(command, stdout=subprocess.DEVNULL, **process(tmp_path))
    while not list(tmp_path.glob("new.partial-*")):
        assert exporting.poll() is None
    exporting.kill()
    exporting.wait()
    assert not (tmp_path / "new").exists()
