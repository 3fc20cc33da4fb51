"""The commands as a user runs them, each in its own process."""

import json
import os
import pathlib
import re
import subprocess
import sys
import time

import pytest

from tests.architecture_test import IS_COMMAND
from tests.commands import run_command
from tests.conftest import ROOT, TINY
from tests.processors import OF_PROCESSORS

COMMANDS = sorted(IS_COMMAND)


def process(cwd) -> dict:
    """Returns the options of subprocess that start a command as from a shell in `cwd`."""
    env = {"PATH": "", "PYTHONPATH": str(ROOT), "HOME": str(pathlib.Path(cwd).parent)}
    env |= {name: os.environ[name] for name in OF_PROCESSORS if name in os.environ}
    return {"cwd": cwd, "text": True, "env": env}


def run(*arguments, cwd):
    command = [sys.executable, "-m", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, timeout=300, **process(cwd))


def run_with_tensorflow(*arguments, cwd):
    """Runs a command that imports TensorFlow, which a process of the tests has imported already."""
    return run_command(*arguments, cwd=cwd, env=process(cwd)["env"])


def refused(result) -> str:
    """Returns the single error line of a command that ended with a user error."""
    assert result.returncode == 2, result.stderr
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and "Traceback" not in result.stderr
    return lines[0]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_is_fast_and_writes_nothing(command, tmp_path):
    started = time.monotonic()
    result = run(command, "--help", cwd=tmp_path)
    seconds = time.monotonic() - started
    assert result.returncode == 0 and f"python -m {command}" in result.stdout
    assert seconds < 2  # it imports no TensorFlow, which takes longer than this by itself
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["msmm.train", "--stage=all", "--dataset=nowhere"], "no folder data of packed data sets"),
        (
            ["msmm.train", "--stage=all", "--dataset=nus_wide", "--data_dir=missing"],
            "no folder missing of packed data sets: choose another --data_dir, or pack 'nus_wide' with "
            "python -m tfrecords_tools.pack --dataset=nus_wide --raw_dir=DIR",
        ),
        (["msmm.train", "--stage=vizual"], "vizual"),
        (["msmm.annotate", "x", "--model=m", "--k=5"], "--k is for --quantity=top_k"),
        (["msmm.train", "--stage=all", "visual"], "unexpected argument 'visual'"),
        (["msmm.train", "--stage=all", "--visual_epoch=3"], "visual_epoch"),
        (["msmm.train", "--stage=all", "--visual_epochs=many"], "many"),
        (["msmm.train", "--stage=all", "--visual_epochs=0"], "expected visual_epochs >= 1"),
        (["msmm.train", "--stage=all", "--config=nuswide"], "unknown config 'nuswide'"),
        (["msmm.train", "--stage=all", "--method=warp"], "expected --stage, one of all, finetune"),
        (["msmm.train", "--method=wrap"], "wrap"),
        (["msmm.train", "--method=ria", "--ria_order=random"], "expected ria_order of frequent_first"),
        (["msmm.describe", "--dataset=nowhere"], "no data set 'nowhere'"),
        (["experiments.reproduce_table1", "--seeds=0"], "seeds"),
        (["msmm.evaluate", "--model=VGG"], "VGG"),
        (["msmm.export", "--model=missing", "--output=new"], "model directory with model.keras in missing"),
        (["msmm.export", "--model=missing", "--output=.", "--format=onnx"], ". exists already"),
        (["msmm.export", "--model=missing", "--output=new", "--format=tflite"], "tflite"),
    ],
)
def test_a_user_error_is_one_line_and_writes_nothing(arguments, message, tmp_path):
    assert message in refused(run(*arguments, cwd=tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_backbone_is_refused(tmp_path):
    line = refused(run_with_tensorflow("msmm.describe", "--backbone=vgg", cwd=tmp_path))
    assert "unknown backbone 'vgg'" in line and list(tmp_path.iterdir()) == []


def test_the_home_directory_is_meant_by_a_tilde(tmp_path):
    """Shells replace it in arguments, but not in --photos=~/Pictures."""
    result = run("tfrecords_tools.pack", "--dataset=library", "--photos=~/Pictures", cwd=tmp_path)
    assert f"there is no {tmp_path.parent}/Pictures" in refused(result)


@pytest.fixture(scope="module")
def directory(tmp_path_factory, data_dir):
    """A current directory with `data/` in it, and with stage textual trained."""
    directory = tmp_path_factory.mktemp("directory")
    (directory / "data").symlink_to(data_dir)
    settings = [f"--{name}={value}" for name, value in TINY.items()]
    result = run_with_tensorflow("msmm.train", "--stage=textual", *settings, cwd=directory)
    assert result.returncode == 0, result.stderr
    return directory


def test_train_writes_only_the_stage_that_was_asked_for(directory):
    assert (directory / "runs/scenes/seed0/textual/stage.json").is_file()
    assert not (directory / "runs/scenes/seed0/finetune").exists()


@pytest.mark.slow
def test_a_killed_stage_resumes_to_the_same_weights(directory, data_dir, tmp_path):
    """Killed after the first epoch whose state is on disk."""
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
    uninterrupted = run(*command, "--workdir=uninterrupted", cwd=tmp_path)
    assert uninterrupted.returncode == 0, uninterrupted.stderr
    records = [
        json.loads((tmp_path / d / "seed0/textual/stage.json").read_text())
        for d in ("runs/scenes", "uninterrupted")
    ]
    assert records[0]["weights"] == records[1]["weights"]
    assert [e["held-out"] for e in records[0]["history"]] == [e["held-out"] for e in records[1]["history"]]


@pytest.mark.parametrize("given, expected", [(None, True), ("0", False)])
def test_commands_compute_with_onednn_unless_the_user_has_switched_it_off(given, expected, tmp_path):
    code = (
        "from msmm.core import command_line\n"
        "def main():\n"
        "    command_line.import_tensorflow()\n"
        "    import tensorflow as tf\n"
        "    tf.function(tf.cast)(tf.zeros(3, 'float16'), 'float32')\n"  # oneDNN lacks it without AVX-512
        "    from tensorflow.python.util import _pywrap_util_port as port\n"
        "    print(port.IsMklEnabled())\n"
        "command_line.run(main)\n"
    )
    options = process(tmp_path)
    options["env"].pop("TF_ENABLE_ONEDNN_OPTS", None)
    options["env"] |= {"TF_ENABLE_ONEDNN_OPTS": given} if given else {}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=300, **options)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.split() == [str(expected)]


def test_python_m_msmm_lists_all_commands(tmp_path):
    output = run("msmm", cwd=tmp_path).stdout
    assert {line.split()[2] for line in output.splitlines() if line.startswith("python -m")} == set(COMMANDS)


def test_evaluate_names_the_missing_stage(directory):
    line = refused(run_with_tensorflow("msmm.evaluate", cwd=directory))
    assert "no finished stage classifier: python -m msmm.train --stage=classifier" in line


@pytest.mark.parametrize(
    "row",
    [
        "--model=CNN",
        *(pytest.param(r, marks=pytest.mark.slow) for r in ("--model=Upper bound", "--method=warp")),
    ],
)
def test_evaluate_refuses_quantity_for_rows_without_a_regressor(directory, row):
    line = refused(run_with_tensorflow("msmm.evaluate", "--quantity=best", row, cwd=directory))
    assert "--quantity needs a model with a regressor" in line and row.split("=")[1] in line


def test_evaluate_names_the_missing_regressor_of_a_row(directory):
    line = refused(run_with_tensorflow("msmm.evaluate", "--quantity=best", "--model=MS-CNN", cwd=directory))
    assert "no finished stage visual" in line


def test_a_work_directory_of_another_data_set_is_refused(directory, tmp_path):
    from tfrecords_tools.datasets import scenes

    scenes.pack_scenes(tmp_path / "data", num_train=20, num_test=10, image_size=32)
    arguments = "--stage=textual", f"--workdir={directory}/runs/scenes"
    line = refused(run_with_tensorflow("msmm.train", *arguments, cwd=tmp_path))
    assert "belongs to data set 'scenes'" in line and "--workdir" in line


def test_describe_prints_the_papers_model(tmp_path):
    result = run_with_tensorflow("msmm.describe", "--dataset=nus_wide", "--json", cwd=tmp_path)
    description = json.loads(result.stdout)
    assert description["maps"] == {"M1": [112, 112, 64], "M2": [56, 56, 256], "M3": [28, 28, 512],
                            "M4": [14, 14, 1024], "M5": [7, 7, 2048]}  # fmt: skip
    parameters = {part: p["parameters"] for part, p in description["parts"].items()}
    assert parameters["backbone"] == 42_658_176
    assert parameters["multi_scale"] == 15_214_848
    assert parameters["textual"] == 6_246_400
    assert parameters["classifier"] == 331_857
    assert parameters["quantity"] == 2_229_249
    assert description["parts"]["multi_scale"]["trainable"] == 15_203_456
    assert (
        description["parts"]["backbone"]["BN momentum"]
        == description["parts"]["multi_scale"]["BN momentum"]
        == [0.9997]
    )
    rates = {stage: s["learning rate"] for stage, s in description["stages"].items()}
    assert rates == {"finetune": 1e-3, "visual": 1e-3, "textual": 0.1, "classifier": 1e-3, "quantity": 0.1,
                     "quantity_visual": 0.1}  # fmt: skip


def test_export_offers_every_exportable_counting_rule():
    from msmm.quantities.registry import BEST, COUNTING_RULES, EXPORTABLE

    assert [name for name in COUNTING_RULES if name in EXPORTABLE] == list(EXPORTABLE)
    assert f"<{'|'.join([*EXPORTABLE, BEST])}>" in "".join(
        run("msmm.export", "--help", cwd=ROOT).stdout.split()
    )


@pytest.mark.parametrize(
    ("error", "expected"),
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
def test_disk_errors_are_recognised_in_any_exception(error, expected):
    from msmm.core.command_line import disk_error_message

    for _ in range(2):
        message = disk_error_message(error)
        assert message == expected or message.startswith(expected), message
        try:
            raise RuntimeError("while writing the split train") from error
        except RuntimeError as wrapped:
            error = wrapped
