"""The doors as a user meets them: in a process of their own."""

import json
import os
import pathlib
import re
import subprocess
import sys
import time

import pytest

from tests.architecture_test import IS_COMMAND
from tests.conftest import ROOT, TINY
from tests.processors import OF_PROCESSORS

DOORS = sorted(IS_COMMAND)


def process(cwd) -> dict:
    """How a door is started: as from a shell in `cwd`."""
    env = {"PATH": "", "PYTHONPATH": str(ROOT), "HOME": str(pathlib.Path(cwd).parent)}
    env |= {name: os.environ[name] for name in OF_PROCESSORS if name in os.environ}
    return {"cwd": cwd, "text": True, "env": env}


def run(*arguments, cwd):
    command = [sys.executable, "-m", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, timeout=300, **process(cwd))


def refused(result) -> str:
    """The one line that a user's mistake gets."""
    assert result.returncode == 2, result.stderr
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and "Traceback" not in result.stderr
    return lines[0]


@pytest.mark.parametrize("door", DOORS)
def test_help_answers_at_once(door, tmp_path):
    started = time.monotonic()
    result = run(door, "--help", cwd=tmp_path)
    seconds = time.monotonic() - started
    assert result.returncode == 0 and f"python -m {door}" in result.stdout
    assert seconds < 2  # it imports no TensorFlow, which takes longer than this by itself
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["msmm.train", "--stage=all", "--dataset=nowhere"], "no folder data of packed data sets"),
        (
            ["msmm.train", "--stage=all", "--dataset=nus_wide", "--data_dir=missing"],
            "no folder missing of packed data sets",
        ),
        (["msmm.train", "--stage=vizual"], "vizual"),
        (["msmm.annotate", "x", "--model=m", "--k=5"], "--k is for --quantity=top_k"),
        (["msmm.train", "--stage=all", "visual"], "unexpected argument 'visual'"),
        (["msmm.train", "--stage=all", "--visual_epoch=3"], "visual_epoch"),
        (["msmm.train", "--stage=all", "--visual_epochs=many"], "many"),
        (["msmm.train", "--stage=all", "--visual_epochs=0"], "expected visual_epochs >= 1"),
        (["msmm.train", "--stage=all", "--config=nuswide"], "unknown config 'nuswide'"),
        (["msmm.train"], "expected --stage, one of all, finetune"),
        (["msmm.train", "--stage=all", "--method=warp"], "expected --stage, one of all, finetune"),
        (["msmm.train", "--method=wrap"], "wrap"),
        (["msmm.train", "--method=ria", "--ria_order=random"], "expected ria_order of frequent_first"),
        (["msmm.describe", "--dataset=nowhere"], "no data set 'nowhere'"),
        (["msmm.describe", "--backbone=vgg"], "unknown backbone 'vgg'"),
        (["experiments.reproduce_table1", "--seeds=0"], "seeds"),
        (["msmm.evaluate", "--model=VGG"], "VGG"),
        (["msmm.export", "--model=missing", "--output=new"], "model directory with model.keras in missing"),
        (["msmm.export", "--model=missing", "--output=.", "--format=onnx"], ". exists already"),
        (["msmm.export", "--model=missing", "--output=new", "--format=tflite"], "tflite"),
    ],
)
def test_a_mistake_gets_one_line_and_leaves_nothing(arguments, says, tmp_path):
    assert says in refused(run(*arguments, cwd=tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def home(tmp_path_factory, data_dir):
    """A directory with `data/` in it, and with stage textual trained."""
    home = tmp_path_factory.mktemp("home")
    (home / "data").symlink_to(data_dir)
    settings = [f"--{name}={value}" for name, value in TINY.items()]
    result = run("msmm.train", "--stage=textual", *settings, cwd=home)
    assert result.returncode == 0, result.stderr
    return home


def test_train_leaves_what_it_says(home):
    assert (home / "runs/scenes/seed0/textual/stage.json").is_file()
    assert not (home / "runs/scenes/seed0/finetune").exists()


@pytest.mark.slow
def test_a_killed_stage_goes_on_to_the_same_weights(home, data_dir, tmp_path):
    """kill -9 after the first epoch whose state is on disk."""
    (tmp_path / "data").symlink_to(data_dir)
    settings = {**TINY, "textual_epochs": 12}
    command = ["msmm.train", "--stage=textual", *(f"--{name}={value}" for name, value in settings.items())]
    training = subprocess.Popen(
        [sys.executable, "-m", *command], stdout=subprocess.DEVNULL, **process(tmp_path)
    )
    state = tmp_path / "runs/scenes/seed0/textual/state.npz"
    while not state.exists():
        assert training.poll() is None
        time.sleep(0.005)
    training.kill()
    training.wait()
    assert not (state.parent / "stage.json").exists()
    result = run(*command, cwd=tmp_path)
    assert re.search(r"textual: goes on after epoch \d+", result.stdout), result.stdout + result.stderr
    whole = run(*command, "--workdir=whole", cwd=tmp_path)
    assert whole.returncode == 0, whole.stderr
    records = [
        json.loads((tmp_path / d / "seed0/textual/stage.json").read_text()) for d in ("runs/scenes", "whole")
    ]
    assert records[0]["weights"] == records[1]["weights"]
    assert [e["held-out"] for e in records[0]["history"]] == [e["held-out"] for e in records[1]["history"]]


def test_all_doors_are_listed(tmp_path):
    said = run("msmm", cwd=tmp_path).stdout
    assert {line.split()[2] for line in said.splitlines() if line.startswith("python -m")} == set(DOORS)


def test_evaluate_says_what_is_missing(home):
    line = refused(run("msmm.evaluate", cwd=home))
    assert "no finished stage classifier: python -m msmm.train --stage=classifier" in line


@pytest.mark.parametrize(
    "row",
    [
        "--model=CNN",
        *(pytest.param(r, marks=pytest.mark.slow) for r in ("--model=Upper bound", "--method=warp")),
    ],
)
def test_evaluate_counts_only_where_there_is_a_regressor(home, row):
    line = refused(run("msmm.evaluate", "--quantity=best", row, cwd=home))
    assert "--quantity needs a model with a regressor" in line and row.split("=")[1] in line


def test_evaluate_says_that_the_regressor_of_a_row_is_missing(home):
    line = refused(run("msmm.evaluate", "--quantity=best", "--model=MS-CNN", cwd=home))
    assert "no finished stage visual" in line


def test_a_work_directory_of_another_data_set_is_refused(home, tmp_path):
    from tfrecords_tools.datasets import scenes

    scenes.pack_scenes(tmp_path / "data", num_train=20, num_test=10, image_size=32)
    line = refused(run("msmm.train", "--stage=textual", f"--workdir={home}/runs/scenes", cwd=tmp_path))
    assert "belongs to data set 'scenes'" in line and "--workdir" in line


def test_describe_prints_the_papers_model(tmp_path):
    result = run("msmm.describe", "--dataset=nus_wide", "--json", cwd=tmp_path)
    said = json.loads(result.stdout)
    assert said["maps"] == {"M1": [112, 112, 64], "M2": [56, 56, 256], "M3": [28, 28, 512],
                            "M4": [14, 14, 1024], "M5": [7, 7, 2048]}  # fmt: skip
    parameters = {part: p["parameters"] for part, p in said["parts"].items()}
    assert parameters["backbone"] == 42_658_176
    assert parameters["multi_scale"] == 15_214_848
    assert parameters["textual"] == 6_246_400
    assert parameters["classifier"] == 331_857
    assert parameters["quantity"] == 2_229_249
    assert said["parts"]["multi_scale"]["trainable"] == 15_203_456
    assert said["parts"]["backbone"]["BN momentum"] == said["parts"]["multi_scale"]["BN momentum"] == [0.9997]
    rates = {stage: s["learning rate"] for stage, s in said["stages"].items()}
    assert rates == {"finetune": 1e-3, "visual": 1e-3, "textual": 0.1, "classifier": 1e-3, "quantity": 0.1,
                     "quantity_visual": 0.1}  # fmt: skip


def test_export_offers_every_exportable_counting_rule():
    from msmm.quantities.registry import BEST, COUNTING_RULES, EXPORTABLE

    assert [name for name in COUNTING_RULES if name in EXPORTABLE] == list(EXPORTABLE)
    assert f"<{'|'.join([*EXPORTABLE, BEST])}>" in "".join(
        run("msmm.export", "--help", cwd=ROOT).stdout.split()
    )


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(28, "No space left on device", "w/x.npz"), "No space left on device for w/x.npz ("),
        (OSError(30, "Read-only file system", "/r/y"), "Read-only file system for /r/y: choose a place"),
        (OSError(27, "File too large"), "File too large: a file may not be that large here (ulimit -f)"),
        (
            OSError(
                "Unable to create file (name = '/r/w.h5', errno = 13, error message = 'Permission denied')"
            ),
            "Permission denied for /r/w.h5: see to its permissions",
        ),
        (RuntimeError("/d/1.tfevents; No space left on device"), "No space left on device for /d/1.tfevents"),
        (ValueError("no such label"), None),
        (PermissionError(1, "Operation not permitted"), "Operation not permitted: see to its permissions"),
        (RuntimeError("Operation not permitted here"), None),
    ],
)
def test_what_a_disk_refuses_is_told_in_whatever_exception_it_comes(error, says):
    from msmm.core.command_line import disk_error_message

    for _ in range(2):
        said = disk_error_message(error)
        assert said == says or said.startswith(says), said
        try:
            raise RuntimeError("while writing the split train") from error
        except RuntimeError as wrapped:
            error = wrapped
