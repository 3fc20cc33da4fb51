"""Runs experiments.figure5 as a user does."""

import subprocess
import sys

import pytest
from PIL import Image

from tests.conftest import ROOT


def figure5(*arguments, cwd):
    command = [sys.executable, "-m", "experiments.figure5", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)})


def test_figure5_draws_the_requested_number_of_images(data_dir, tmp_path):
    result = figure5(f"--data_dir={data_dir}", "--num_images=6", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout == "wrote runs/scenes/figure5.png: 6 images of scenes (train)\n"
    sheet = Image.open(tmp_path / "runs/scenes/figure5.png")
    assert sheet.width == 10 + 5 * 210 and sheet.height > 2 * 200


@pytest.mark.slow
def test_figure5_draws_the_requested_image_ids(data_dir, dataset, tmp_path):
    from msmm.data.records import IMAGE_ID, LABELS, TAGS

    records = list(dataset.read("test").as_numpy_iterator())
    eligible_ids = [r[IMAGE_ID].decode() for r in records if len(r[LABELS]) >= 2 and len(r[TAGS]) >= 2]
    assert 7 < len(eligible_ids) < len(records)
    data_dir_flag = f"--data_dir={data_dir}"
    result = figure5(data_dir_flag, "--split=test", "--skip=1", "--num_images=6", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    ids_flag = f"--image_ids={','.join(eligible_ids[1:7])}"
    result = figure5(data_dir_flag, "--split=test", ids_flag, "--output=b.png", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    sheets = [Image.open(tmp_path / path) for path in ("runs/scenes/figure5.png", "b.png")]
    assert sheets[0].tobytes() == sheets[1].tobytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset=nowhere"], "no data set 'nowhere'"),
        (["--output=figure.pdf"], "expected a .png file"),
        pytest.param(["--image_ids=nobody"], "no image 'nobody' in train of scenes", marks=pytest.mark.slow),
        pytest.param(["--least=30"], "no image of scenes (train) with 30 labels", marks=pytest.mark.slow),
        pytest.param(["--split=dev"], "no split 'dev'", marks=pytest.mark.slow),
    ],
)
def test_figure5_refuses_invalid_arguments(data_dir, tmp_path, arguments, message):
    result = figure5(f"--data_dir={data_dir}", *arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert message in result.stderr and "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []
