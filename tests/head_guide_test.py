"""Follows docs/extending/head.md on a copy of the code: a head of one's own, trained and measured."""

import re
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.msmm.core.command_line_test import process

GUIDE = ROOT / "docs/extending/head.md"


def blocks(language: str) -> list[str]:
    """Returns the code blocks of a language in the guide."""
    return re.findall(rf"```{language}\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)


def test_the_code_of_the_guide_has_at_most_60_lines():
    lines = [
        line for language in ("python", "sh") for block in blocks(language) for line in block.splitlines()
    ]
    assert 20 < len(lines) <= 60


@pytest.mark.slow
def test_the_guide_makes_a_head_that_trains_and_is_measured(tmp_path):
    for package in ("msmm", "tfrecords_tools", "experiments"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    head, settings, line = blocks("python")
    (tmp_path / "msmm/baselines/my_head.py").write_text(head, encoding="utf-8")
    path = tmp_path / "msmm/configs/modern.py"
    text = path.read_text(encoding="utf-8").replace("def modern_head(", f"{settings}\n\ndef modern_head(")
    last = next(row for row in text.splitlines() if row.startswith("    query2label: "))
    path.write_text(text.replace(last, f"{last}\n{line.rstrip()}"), encoding="utf-8")
    rng = np.random.default_rng(0)
    labels = rng.random((1200, 4)) < [0.2, 0.3, 0.4, 0.5]
    labels[:, 0] |= ~labels.any(axis=1)
    maps = 3 * (labels @ rng.normal(size=(4, 32)))[:, None, None] + rng.normal(size=(1200, 2, 2, 32))
    np.savez(tmp_path / "mine.npz", labels=labels, maps=maps, tags=labels)
    commands = [row for block in blocks("sh") for row in block.splitlines()]
    assert len(commands) == 4
    options = process(tmp_path)
    options["env"]["PYTHONPATH"] = str(tmp_path)
    for command in commands:
        arguments = [sys.executable, *shlex.split(command)[1:]]
        done = subprocess.run(arguments, capture_output=True, timeout=600, **options)
        assert done.returncode == 0, command + done.stdout + done.stderr
    assert "my_head+tags, quantity best on mine/test" in done.stdout
    figures = dict(re.findall(r"^ *(\S.*?)  (\d+\.\d+)$", done.stdout, re.MULTILINE))
    assert float(figures["H-F1"]) > 60 and float(figures["mAP"]) > 60
    record = tmp_path / "runs/mine/seed0/my_head+tags/stage.json"
    assert '"my_head_averages": 4' in record.read_text(encoding="utf-8")
