"""Memory over long runs: the resident set of a command, sampled while it works."""

import os
import pathlib
import random
import shutil
import time

import numpy as np
import pytest
from PIL import Image

from tests.conftest import TINY

MAX_GROWTH = 30  # MiB; allocators keep some memory
PAGE = os.sysconf("SC_PAGE_SIZE")


def resident_mib(pid: int) -> float:
    """Returns the resident set of a process, MiB, or 0 if it has ended."""
    return int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE / 2**20


def sample_memory(commands, directory, *command, progress) -> tuple[np.ndarray, object]:
    """Runs a command; returns its samples [n, 2] of (progress, MiB), fifty per second, and its result.

    progress: returns the progress, given the output so far.
    """
    started = commands.start(directory, *command)
    output, samples = pathlib.Path(f"{started[1]}.out"), []
    while (now := resident_mib(started[0])) > 0:
        samples.append((progress(output.read_text() if output.exists() else ""), now))
        time.sleep(0.02)
    result = commands.wait(started)
    assert result.status == 0, result
    return np.array(samples), result


def slope(samples: np.ndarray, total: int) -> float:
    """Returns the memory growth after the first fifth of the work, MiB, by least squares."""
    late = samples[(samples[:, 0] >= total / 5) & (samples[:, 0] < total)]
    assert len(late) >= 5, "too quick to be sampled"
    return float(np.polyfit(late[:, 0], late[:, 1], 1)[0] * total * 0.8)


def print_growth(title: str, samples: np.ndarray, total: int) -> float:
    grown = slope(samples, total)
    at = [
        samples[np.searchsorted(samples[:, 0], total * share)][1] for share in (0.05, 0.25, 0.5, 0.75, 0.99)
    ]
    figures = ", ".join(f"{mib:.0f}" for mib in at)
    print(f"{title}: {figures} MiB at 5, 25, 50, 75 and 99 %; {grown:+.1f} MiB from 20 % to the end")
    return grown


@pytest.mark.parametrize(
    ("epochs", "stage"), [(120, "textual"), pytest.param(200, "classifier", marks=pytest.mark.slow)]
)
def test_memory_is_flat_over_training_epochs(commands, tmp_path, data_dir, epochs, stage):
    (tmp_path / "data").symlink_to(data_dir)
    settings = TINY | {f"{stage}_epochs": epochs, "patience": epochs}
    command = ("msmm.train", f"--stage={stage}", *(f"--{n}={v}" for n, v in settings.items()))
    samples, result = sample_memory(
        commands, tmp_path, *command, progress=lambda text: text.count(f"{stage}: epoch ")
    )
    assert f"epoch {epochs}/{epochs}" in result.stdout
    assert print_growth(f"{epochs} epochs of {stage}", samples, epochs) < MAX_GROWTH


@pytest.mark.parametrize(
    ("photos", "output_format"),
    [
        (1500, "json"),
        *(
            pytest.param(20_000, output_format, marks=pytest.mark.slow)
            for output_format in ("json", "xmp", "html")
        ),
    ],
)
def test_memory_is_flat_over_annotated_photographs(
    commands, tmp_path, model_directory, photos, output_format
):
    (tmp_path / "photos").mkdir()
    for i in range(photos):
        path = tmp_path / f"photos/{i:05d}.jpg"
        if i < 100:
            colour = tuple(random.Random(i).choices(range(256), k=3))
            Image.effect_noise((64, 48), 60).convert("RGB").save(path) if i % 2 else Image.new(
                "RGB", (60, 40), colour
            ).save(path)
        else:
            os.link(tmp_path / f"photos/{i % 100:05d}.jpg", path)
    shutil.copytree(model_directory, tmp_path / "model")
    command = ["msmm.annotate", "photos", "--model=model", f"--format={output_format}", "--workers=1"]
    output = {"json": tmp_path / "out.jsonl", "html": tmp_path / "gallery", "xmp": tmp_path / "photos"}[
        output_format
    ]
    command += [f"--output={output}"] if output_format != "xmp" else []

    def progress(_):
        if output_format == "json":
            path = output if output.exists() else pathlib.Path(f"{output}.partial")
            return path.stat().st_size / 180 if path.exists() else 0
        if output_format == "html":
            return len(list(output.glob("page-*"))) * 100
        return len(os.listdir(output)) - photos

    samples, result = sample_memory(commands, tmp_path, *command, progress=progress)
    assert f"{photos:,} photographs annotated" in result.stderr
    samples[:, 0] *= photos / samples[-1, 0]
    assert print_growth(f"{photos:,} photographs to {output_format}", samples, photos) < MAX_GROWTH
