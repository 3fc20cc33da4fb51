"""Runs the commands of the tutorial, from sixty labelled photographs to keywords for new ones."""

import csv
import importlib.util
import json
import re
import shlex
import subprocess
import sys

import pytest

from msmm.photos import xmp
from tests.conftest import ROOT
from tests.msmm.core.command_line_test import process

TUTORIAL = ROOT / "docs/tutorials/keywords.md"
FOLDERS = ("2019 Rome", "2021 Annecy", "phone")


def commands() -> list[str]:
    """Returns the lines of the tutorial's shell blocks."""
    blocks = re.findall(r"```sh\n(.*?)```", TUTORIAL.read_text(encoding="utf-8"), re.DOTALL)
    return [line for block in blocks for line in block.replace("\\\n", " ").splitlines() if line.strip()]


def draw(folder, index):
    """Writes a drawn scene as a JPEG file and returns the scene."""
    from msmm.scenes import recipe

    scene = recipe.draw(seed=7, index=index, size=160)
    folder.mkdir(parents=True, exist_ok=True)
    scene.image.save(folder / f"IMG_{index:04d}.jpg", quality=90)
    return scene


@pytest.mark.slow
def test_commands_of_the_tutorial_run(tmp_path):
    rows = []
    for i in range(60):
        folder = FOLDERS[i % 3]
        scene = draw(tmp_path / "photos" / folder, i)
        rows.append([f"{folder}/IMG_{i:04d}.jpg", ";".join(scene.labels), ";".join(scene.tags)])
    with open(tmp_path / "photos/labels.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["image", "labels", "tags"], *rows])
    known = {label for row in rows for label in row[1].split(";")}
    for i in range(60, 65):
        draw(tmp_path / "new_photos/summer", i)
    names = [f"new_photos/summer/IMG_{i:04d}.jpg" for i in range(60, 65)]
    outputs = {}
    for command in commands():
        arguments = [sys.executable, *shlex.split(command)[1:]]
        result = subprocess.run(arguments, capture_output=True, timeout=600, **process(tmp_path))
        assert result.returncode == 0, command + result.stdout + result.stderr
        outputs[command] = result.stdout
        converts = "converting the network" in result.stderr
        assert converts == ("msmm.train" in command and importlib.util.find_spec("openvino") is not None)
    (figures,) = [text for command, text in outputs.items() if "msmm.evaluate" in command]
    card = json.loads((tmp_path / "runs/my_photos/seed0/model/model.json").read_text())
    assert f"H-F1  {card['test']['H-F1']:.2f}" in figures  # under the settings of the training
    (text,) = [text for command, text in outputs.items() if command.endswith("/model")]
    for name, line in zip(names, text.splitlines(), strict=True):
        path, _, labels = line.partition(": ")
        assert path == name and {re.sub(r" \(.*", "", label) for label in labels.split(", ")} <= known
    pages = (tmp_path / "gallery/page-0001.html").read_text(encoding="utf-8")
    assert pages.count("<article") == 5
    for name in names:
        (first, *_) = [line for line in text.splitlines() if line.startswith(name)]
        best_label = first.partition(": ")[2].split(" (")[0]
        assert best_label in xmp.parse((tmp_path / f"{name}.xmp").read_bytes()).subjects
