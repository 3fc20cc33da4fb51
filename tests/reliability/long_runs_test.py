"""Memory over long runs: the resident set of a command, looked at again and again while it works."""

import os
import pathlib
import random
import shutil
import time

import numpy as np
import pytest
from PIL import Image

from tests.conftest import TINY

MOST = 30  # MiB; what allocators keep of their own accord
PAGE = os.sysconf("SC_PAGE_SIZE")


def resident(pid: int) -> float:
    """MiB of a process; 0 where it has ended."""
    return int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE / 2**20


def watch(commands, home, *command, done) -> tuple[np.ndarray, object]:
    """Runs a command; rows of (how much is done, MiB), looked at fifty times a second, and how it ended.

    done: returns how much is done, from the output so far.
    """
    started = commands.start(home, *command)
    output, seen = pathlib.Path(f"{started[1]}.out"), []
    while (now := resident(started[0])) > 0:
        seen.append((done(output.read_text() if output.exists() else ""), now))
        time.sleep(0.02)
    ended = commands.wait(started)
    assert ended.status == 0, ended
    return np.array(seen), ended


def slope(seen: np.ndarray, total: int) -> float:
    """MiB that the memory grows by from a fifth of the work on, by least squares."""
    late = seen[(seen[:, 0] >= total / 5) & (seen[:, 0] < total)]
    assert len(late) >= 5, "too quick to be watched"
    return float(np.polyfit(late[:, 0], late[:, 1], 1)[0] * total * 0.8)


def told(what: str, seen: np.ndarray, total: int) -> float:
    grown = slope(seen, total)
    at = [seen[np.searchsorted(seen[:, 0], total * share)][1] for share in (0.05, 0.25, 0.5, 0.75, 0.99)]
    figures = ", ".join(f"{mib:.0f}" for mib in at)
    print(f"{what}: {figures} MiB at 5, 25, 50, 75 and 99 %; {grown:+.1f} MiB from 20 % to the end")
    return grown


@pytest.mark.parametrize(
    ("epochs", "stage"), [(120, "textual"), pytest.param(200, "classifier", marks=pytest.mark.slow)]
)
def test_memory_is_flat_over_the_epochs_of_a_head(commands, tmp_path, data_dir, epochs, stage):
    (tmp_path / "data").symlink_to(data_dir)
    settings = TINY | {f"{stage}_epochs": epochs, "patience": epochs}
    command = ("msmm.train", f"--stage={stage}", *(f"--{n}={v}" for n, v in settings.items()))
    seen, ended = watch(commands, tmp_path, *command, done=lambda text: text.count(f"{stage}: epoch "))
    assert f"epoch {epochs}/{epochs}" in ended.stdout
    assert told(f"{epochs} epochs of {stage}", seen, epochs) < MOST


@pytest.mark.parametrize(
    ("photos", "form"),
    [
        (1500, "json"),
        *(pytest.param(20_000, form, marks=pytest.mark.slow) for form in ("json", "xmp", "html")),
    ],
)
def test_memory_is_flat_over_annotated_photographs(commands, tmp_path, model_directory, photos, form):
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
    command = ["msmm.annotate", "photos", "--model=model", f"--format={form}", "--workers=1"]
    output = {"json": tmp_path / "out.jsonl", "html": tmp_path / "gallery", "xmp": tmp_path / "photos"}[form]
    command += [f"--output={output}"] if form != "xmp" else []

    def done(_):
        if form == "json":
            there = output if output.exists() else pathlib.Path(f"{output}.partial")
            return there.stat().st_size / 180 if there.exists() else 0
        if form == "html":
            return len(list(output.glob("page-*"))) * 100
        return len(os.listdir(output)) - photos

    seen, ended = watch(commands, tmp_path, *command, done=done)
    assert f"{photos:,} photographs annotated" in ended.stderr
    seen[:, 0] *= photos / seen[-1, 0]
    assert told(f"{photos:,} photographs to {form}", seen, photos) < MOST
