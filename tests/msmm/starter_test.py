"""The starter model: annotating without naming a model, from a converted directory, without TensorFlow."""

import csv
import json
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

from msmm.core import checksums
from msmm.core.errors import UserError
from msmm.core.files import write_json
from msmm.inference import engines, model_dir, starter
from msmm.inference.model import sizes_of
from msmm.quantities.counting_rules import ClassThresholds
from msmm.quantities.fitting import FittedCountingRules
from tests.msmm.conftest import LABELS, picture
from tests.msmm.core.command_line_test import process, refused

pytest.importorskip("openvino", reason="openvino is missing: pip install 'msmm[openvino]'")


@pytest.fixture(scope="module")
def converted(model_directory, tmp_path_factory):
    """The directory of the hand-made model, converted as the starter model is."""
    from msmm.inference.exporting.formats import write_openvino
    from msmm.inference.exporting.graph import Graph

    directory, model = tmp_path_factory.mktemp("package") / "starter", model_dir.load(model_directory)
    directory.mkdir()
    write_openvino(Graph(model), directory, half=True)
    write_json(directory / model_dir.SIZES, sizes_of(model.network))
    for name in ("labels.txt", "tags.txt", "model.json"):
        shutil.copy(model_directory / name, directory / name)
    checksums.write(directory, [path.name for path in directory.iterdir()])
    return directory


def run_without_model(module, arguments, directory, cwd, code="") -> subprocess.CompletedProcess:
    """Runs a command whose package has its starter model in `directory`, or other code in its place."""
    script = f"""
import atexit, pathlib, runpy, sys
from msmm.inference import starter
starter.DIRECTORY = pathlib.Path({str(directory)!r})
def check():
    assert not {{"tensorflow", "keras"}} & set(sys.modules), "TensorFlow was imported"
    print("imported no TensorFlow")
atexit.register(check)
sys.argv = {[module, *map(str, arguments)]!r}
{code or f"runpy.run_module({module!r}, run_name='__main__')"}
"""
    return subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=300, **process(cwd))


def test_annotate_without_a_model_uses_the_starter_and_no_tensorflow(converted, photo, tmp_path):
    photo("photos/red.png"), photo("photos/blue.png", picture("blue"))
    before = sorted(converted.iterdir())
    result = run_without_model("msmm.annotate", ["photos"], converted, tmp_path)
    assert result.returncode == 0, result.stderr
    first, second, last = result.stdout.splitlines()
    assert first.startswith("photos/blue.png: blue (") and second.startswith("photos/red.png: red (")
    assert last == "imported no TensorFlow"
    assert sorted(converted.iterdir()) == before  # nothing is converted or cached in the package


def test_load_without_an_argument_loads_the_starter_without_tensorflow(converted, photo, tmp_path):
    path = photo("red.png")
    code = (
        f"import msmm; model = msmm.load(); print(model.annotate([{str(path)!r}])[0].labels, len(model.tags))"
    )
    result = run_without_model("", [], converted, tmp_path, code)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == ["('red',) 4", "imported no TensorFlow"]


@pytest.fixture(scope="module")
def careful(converted, tmp_path_factory):
    """The same model with a counting rule that keeps no label below a probability of one half."""
    directory = tmp_path_factory.mktemp("careful") / "starter"
    shutil.copytree(converted, directory)
    rule = ClassThresholds((0.0,) * len(LABELS), at_least=0)
    rules = FittedCountingRules({"class_thresholds": rule}, "class_thresholds", {}, 300)
    assert FittedCountingRules.from_json(rules.to_json(), len(LABELS)) == rules
    for name in model_dir.QUANTITIES:
        write_json(directory / name, rules.to_json())
    names = [path.name for path in directory.iterdir() if path.name != checksums.SUMS]
    checksums.write(directory, names)
    return directory


@pytest.mark.parametrize("form", ["text", "json", "csv", "xmp", "html"])
def test_a_photograph_without_a_sure_label_gets_none_in_every_format(form, careful, photo, tmp_path):
    photo("photos/black.png", picture("black")), photo("photos/red.png")
    arguments = ["photos", f"--format={form}"]
    output = {"json": "out.jsonl", "csv": "out.csv", "html": "out"}.get(form)
    arguments += [f"--output={output}"] if output else []
    result = run_without_model("msmm.annotate", arguments, careful, tmp_path)
    assert result.returncode == 0, result.stderr
    if form == "text":
        assert result.stdout.splitlines()[0] == "photos/black.png: (none)"
        assert result.stdout.splitlines()[1].startswith("photos/red.png: red (")
    elif form == "json":
        lines = [json.loads(line) for line in (tmp_path / output).read_text().splitlines()]
        assert [line["labels"] for line in lines] == [[], ["red"]]
    elif form == "csv":
        rows = list(csv.DictReader((tmp_path / output).read_text().splitlines()))
        assert [row["labels"] for row in rows] == ["", "red"]
    elif form == "xmp":
        assert "<rdf:li>red</rdf:li>" in (tmp_path / "photos/red.png.xmp").read_text()
        assert "dc:subject" not in (tmp_path / "photos/black.png.xmp").read_text()
    if form in ("json", "csv", "xmp", "html"):  # it is done, and not annotated again
        again = run_without_model("msmm.annotate", arguments, careful, tmp_path)
        assert again.returncode == 0 and "2 done before" in again.stderr, again.stderr


@pytest.mark.slow  # importing gradio takes seconds
def test_page_without_a_model_serves_the_starter_without_examples(converted, tmp_path):
    pytest.importorskip("gradio", reason="gradio is missing: pip install 'msmm[app]'")
    code = """
from msmm.photos import page
def launch(built, *address):
    print([type(block).__name__ for block in built.blocks.values()].count("Dataset"), "examples")
    raise SystemExit
page.launch = launch
runpy.run_module("msmm.app", run_name="__main__")
"""
    result = run_without_model("msmm.app", [], converted, tmp_path, code)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == ["0 examples", "imported no TensorFlow"]


@pytest.mark.parametrize("module", ["msmm.annotate", "msmm.app"])
def test_a_package_without_a_starter_says_what_to_do(module, photo, tmp_path):
    photo("photos/red.png")
    arguments = ["photos"] if module == "msmm.annotate" else []
    result = run_without_model(module, arguments, tmp_path / "missing", tmp_path)
    result.stdout = result.stdout.replace("imported no TensorFlow\n", "")
    message = refused(result)
    assert "has no starter model" in message and "name a model" in message


def test_load_without_a_starter_names_the_folder(monkeypatch, tmp_path):
    import msmm

    monkeypatch.setattr(starter, "DIRECTORY", tmp_path / "starter")
    with pytest.raises(UserError, match=r"no starter model .expected it in .*starter.: name a model"):
        msmm.load()


def test_the_starter_model_of_the_package_names_what_a_photograph_shows():
    """A portrait of Grace Hopper in uniform, in the public domain, which comes with matplotlib."""
    import matplotlib

    import msmm

    directory = starter.find_starter_model()
    assert sum(path.stat().st_size for path in directory.iterdir()) < 30 * 2**20
    portrait = pathlib.Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    labels = msmm.load().annotate([portrait])[0].labels
    assert {"people", "tie"} <= set(labels) and len(labels) <= 4


def test_converted_model_gives_the_probabilities_of_its_source(converted, model):
    images = [np.asarray(picture(colour)) for colour in ("red", "green", "blue", "gray")]
    tags = [["beach"], [], ["holidays"], ["beach"]]
    expected, actual = (m.annotate(images, tags) for m in (model, engines.load(converted)))
    for one, other in zip(expected, actual, strict=True):
        np.testing.assert_allclose(one.probabilities, other.probabilities, atol=5e-3)
        assert len(one.labels) == len(other.labels)
        # Only labels of nearly equal probability may change places.
        by_label = dict(zip(model.labels, one.probabilities, strict=True))
        values = [by_label[label] for label in set(one.labels) ^ set(other.labels)]
        assert not values or max(values) - min(values) < 1e-2


def test_converted_model_refuses_other_engines_and_training_code(converted):
    with pytest.raises(UserError, match=r"for --engine=openvino alone. Received: --engine=keras"):
        engines.load(converted, "keras")
    with pytest.raises(UserError, match=r"expected a network for Keras .model.keras. in .*converted model"):
        model_dir.load(converted)


@pytest.mark.parametrize("name", ["model.bin", "sizes.json", "labels.txt"])
def test_damage_and_missing_files_of_a_converted_model_are_named(name, converted, tmp_path):
    copy = shutil.copytree(converted, tmp_path / "copy")
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(content[:-1] + b"?")
    with pytest.raises(UserError, match=f"{name} is damaged"):
        engines.load(copy)
    (copy / name).unlink()
    with pytest.raises(UserError, match=f"expected a model directory with {name}"):
        engines.load(copy)
