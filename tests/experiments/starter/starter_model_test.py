"""The whole command `starter_model` on a tiny drawn layout of MSCOCO."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from experiments.starter import labels
from tests.conftest import TINY
from tests.msmm.core.command_line_test import process, refused, run

# What a drawn photograph shows -> its colour, objects (by category) and caption.
KINDS = (
    ((220, 40, 40), (1, 9), "A man rows a quiet boat on the sea"),
    ((40, 220, 40), (18,), "Two playful dogs run over a grassy lawn"),
    ((40, 40, 220), (), "quiet night skies"),
    ((128, 128, 128), (), "nothing playful"),
)
COUNTS = {"train": 100, "val": 40}
SETTINGS = {
    **TINY,
    "textual_epochs": 4,
    "finetune_epochs": 4,
    "visual_epochs": 4,
    "classifier_epochs": 4,
    "quantity_epochs": 2,
}


def draw_layout(directory) -> None:
    """Draws photographs of one colour, with the official files of 2014 that describe them."""
    rng = np.random.default_rng(0)
    (directory / "annotations").mkdir(parents=True)
    categories = [{"id": i, "name": name} for i, name in enumerate(labels.OBJECTS, 1)]
    ids = {category["name"]: category["id"] for category in categories}
    names = {1: "person", 9: "boat", 18: "dog"}
    for part, count in COUNTS.items():
        (directory / f"{part}2014").mkdir()
        images, objects, captions = [], [], []
        for i in range(count):
            colour, shown, caption = KINDS[i % len(KINDS)]
            name = f"COCO_{part}2014_{i:012}.jpg"
            pixels = np.clip(rng.normal(colour, 25, (40, 48, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(directory / f"{part}2014" / name)
            images.append({"id": i, "file_name": name})
            objects += [{"image_id": i, "category_id": ids[names[k]], "iscrowd": 0} for k in shown]
            captions.append({"image_id": i, "caption": caption})
        instances = {"images": images, "annotations": objects, "categories": categories}
        write(directory / f"annotations/instances_{part}2014.json", instances)
        write(
            directory / f"annotations/captions_{part}2014.json", {"images": images, "annotations": captions}
        )


def write(path, content) -> None:
    path.write_text(json.dumps(content))


def starter_model(*arguments, cwd, **settings) -> subprocess.CompletedProcess:
    flags = [f"--{name}={value}" for name, value in {**SETTINGS, **settings}.items()]
    command = [sys.executable, "-m", "experiments.starter_model", *map(str, arguments), *flags]
    return subprocess.run(command, capture_output=True, timeout=900, **process(cwd))


@pytest.mark.slow
def test_one_command_builds_the_starter_model(tmp_path):
    draw_layout(tmp_path / "coco")
    arguments = ["--raw_dir=coco", "--output=starter", "--least_photographs=10"]
    result = starter_model(*arguments, cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr

    # Nouns that name no photograph, or few, are left out; those that the colour shows are kept.
    chosen = json.loads((tmp_path / "runs/starter/nouns.json").read_text())
    assert chosen["rule"] == {"least AP": 24.0, "least photographs": 10}
    kept = {c["label"] for c in chosen["candidates"] if c["kept"]}
    assert kept == {"ocean", "grass", "night", "sky"}
    assert {c["label"] for c in chosen["candidates"]} == set(labels.NOUNS)
    assert all(c["photographs"] == 25 for c in chosen["candidates"] if c["kept"])

    # The directory is complete, small and without TensorFlow's files; no label's word is a tag.
    directory = tmp_path / "starter"
    assert {path.name for path in directory.iterdir()} == {
        *("model.xml", "model.bin", "sizes.json", "labels.txt", "tags.txt", "model.json", "README.md"),
        *("quantities.json", "quantities_without_tags.json", "SHA256SUMS"),
    }
    shown = (directory / "labels.txt").read_text().splitlines()
    assert len(shown) == 84 and shown[0] == "people" and set(shown[80:]) == kept
    tags = set((directory / "tags.txt").read_text().split())
    assert tags == {"rows", "quiet", "two", "playful", "run"}

    # The figures are of all test photographs, and the default counting has one threshold a kind of label.
    info = json.loads((directory / "model.json").read_text())
    assert info["images"] == {"train": 100, "test": 40} and info["dataset"] == "starter"
    for measured in info["starter"]["figures"].values():
        assert len(measured["labels"]) == 84
    for name in ("quantities.json", "quantities_without_tags.json"):
        rules = json.loads((directory / name).read_text())
        cuts = rules["estimators"][rules["best"]]["thresholds"]
        assert len(set(cuts[:80])) == len(set(cuts[80:])) == 1
    card = (directory / "README.md").read_text()
    assert "CC BY 4.0" in card and "Apache-2.0" in card and "| grass | 25 | 10 |" in card
    assert "beach (—; 0)" in card  # a noun that was left out, with its figures

    # The package's starter annotates by the rule for precision, without the run.
    code = f"""
import pathlib, sys
import msmm
from msmm.inference import starter
starter.DIRECTORY = pathlib.Path({str(directory)!r})
model = msmm.load()
annotation, = model.annotate(["coco/val2014/COCO_val2014_000000000001.jpg"])
assert annotation.rule == "a threshold per class" and annotation.labels, annotation
assert not {{"tensorflow", "keras"}} & set(sys.modules)"""
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, **process(tmp_path))
    assert loaded.returncode == 0, loaded.stderr

    # Repeated, the command trains nothing again, and chooses by other bounds at once.
    before = (tmp_path / "runs/starter/model/seed0/classifier/stage.json").stat().st_mtime_ns
    again = starter_model(*arguments, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "runs/starter/model/seed0/classifier/stage.json").stat().st_mtime_ns == before


def test_wrong_folders_are_refused(tmp_path):
    missing = run("experiments.starter_model", "--raw_dir=none", cwd=tmp_path)
    assert "expected a folder with MSCOCO in --raw_dir" in refused(missing)
    (tmp_path / "photos").mkdir()
    arguments = ["--raw_dir=photos", "--output=photos"]
    other = run("experiments.starter_model", *arguments, cwd=tmp_path)
    assert "photos exists and is no model directory: name another --output" in refused(other)
    assert list((tmp_path / "photos").iterdir()) == []
