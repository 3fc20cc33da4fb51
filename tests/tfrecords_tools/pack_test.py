"""The commands pack and inspect: exit status, one line on standard error, no files after a failure."""

import json
import os
import pathlib
import subprocess
import sys
import time

import pytest
from PIL import Image

from tests import commands
from tfrecords_tools.datasets import manifest
from tfrecords_tools.packing import builder

ROOT = pathlib.Path(__file__).parents[2]


def run_command(name, *arguments):
    """Runs a command from a process that has imported TensorFlow already."""
    return commands.run_command(f"tfrecords_tools.{name}", *arguments, cwd=ROOT, env=dict(os.environ))


def assert_refused(result, message):
    assert result.returncode == 2, result.stderr
    assert result.stdout == ""
    *progress, line = result.stderr.splitlines()  # on a busy machine, the progress of some seconds
    assert all(text.startswith("packing ") for text in progress), result.stderr
    assert line.startswith("error: ")
    assert message in line


@pytest.mark.parametrize("name", ["pack", "inspect"])
def test_help_is_printed_within_two_seconds(name):
    start = time.perf_counter()
    command = [sys.executable, "-m", f"tfrecords_tools.{name}", "--help"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert time.perf_counter() - start < 2
    assert result.returncode == 0
    assert f"python -m tfrecords_tools.{name}" in result.stdout
    assert "--dataset" in result.stdout


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            '{"image": "1.jpg", "labels": ["a"]}\n{"image": "2.jpg", "labels": ["a"]}\n',
            "list.jsonl:2: image: no such",
        ),
        ('{"image": "1.jpg", "labels": []}', "list.jsonl:1: labels: expected at least one label"),
        ('{"image": "1.jpg", "labels": ["a"]}\n' * 2, "list.jsonl:2: id: '1.jpg' is on line 1 already"),
        ('{"image": "1.jpg", "labels": ["a"', "list.jsonl:1: broken JSON"),
    ],
)
def test_pack_refuses_an_invalid_manifest_in_one_line(folder, tmp_path, rows, message):
    Image.new("RGB", (8, 8)).save(folder / "1.jpg")
    (folder / "list.jsonl").write_text(rows)
    data_dir = tmp_path / "data"
    result = run_command(
        "pack", "--dataset=manifest", f"--manifest={folder / 'list.jsonl'}", f"--data_dir={data_dir}"
    )
    assert_refused(result, message)
    assert not data_dir.exists()


def test_pack_refuses_a_manifest_whose_images_are_all_broken(folder, tmp_path):
    rows = []
    for i in range(10):
        (folder / f"{i}.jpg").write_text("<html>")
        rows.append(json.dumps({"image": f"{i}.jpg", "labels": ["a"]}))
    (folder / "list.jsonl").write_text("\n".join(rows))
    result = run_command(
        "pack", "--dataset=manifest", f"--manifest={folder / 'list.jsonl'}", f"--data_dir={tmp_path / 'd'}"
    )
    assert_refused(result, "not an image of a known format: ")
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("pack", ["--dataset=flowers"], "<scenes|manifest|library|arrays|nus_wide|mscoco|openclipart>"),
        ("pack", [], "expected --dataset, one of scenes, manifest"),
        ("pack", ["--dataset=manifest"], "expected --manifest=FILE"),
        (
            "pack",
            ["--dataset=manifest", "--manifest=no/where.csv", "--data_dir=/nonexistent/x"],
            "where.csv: No such",
        ),
        ("pack", ["--dataset=scenes", "--manifest=x.csv"], "--manifest belongs to --dataset=manifest"),
        (
            "pack",
            ["--dataset=scenes", "--name=mine"],
            "--name belongs to --dataset=manifest or library or arrays or nus_wide",
        ),
        (
            "pack",
            ["--dataset=nus_wide"],
            "expected --raw_dir=DIR, where the official files of NUS-WIDE are",
        ),
        (
            "pack",
            ["--dataset=mscoco", "--vocabulary_from=data/mscoco", "--num_tags=10"],
            "leave --num_tags out",
        ),
        ("pack", ["--dataset=scenes", "--beam_options=direct_num_workers=2"], "expected --runner"),
        (
            "inspect",
            ["--dataset=scenes", "--data_dir=/nonexistent"],
            "no folder /nonexistent of packed data sets",
        ),
        ("inspect", [], "expected --dataset=NAME"),
        (
            "inspect",
            ["--dataset=scenes", "--contact_sheet=/nonexistent/x.png"],
            "expected a .png file in an existing folder",
        ),
    ],
)
def test_invalid_flags_are_refused_in_one_line(name, arguments, message):
    assert_refused(run_command(name, *arguments), message)


def test_pack_is_reproducible_and_inspect_prints_statistics(write_manifest, folder, tmp_path):
    rows = [
        {"image": f"{i}.jpg", "labels": ["sky", "sea"][: 1 + i % 2], "tags": ["Blue"], "split": split}
        for i, split in enumerate(["train"] * 5 + ["test"] * 2)
    ]
    data_dir_flag = f"--data_dir={tmp_path / 'data'}"
    manifest_flag = f"--manifest={write_manifest(rows)}"
    result = run_command("pack", "--dataset=manifest", manifest_flag, data_dir_flag)
    assert result.returncode == 0, result.stderr
    assert "train: 5 of 5 rows kept" in result.stdout
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["my_photos"]

    # The same bytes from another process.
    builder.pack(manifest.Manifest, "my_photos", tmp_path / "again", manifest=folder / "my_photos.jsonl")
    shards = [path.relative_to(tmp_path / "data") for path in (tmp_path / "data").rglob("*.tfrecord*")]
    assert len(shards) == 2
    for shard in shards:
        assert (tmp_path / "data" / shard).read_bytes() == (tmp_path / "again" / shard).read_bytes()

    result = run_command(
        "inspect", "--dataset=my_photos", data_dir_flag, f"--contact_sheet={tmp_path / 'sheet.png'}"
    )
    assert result.returncode == 0, result.stderr
    assert "5 train, 2 test images; 2 labels; 1 tags" in result.stdout
    assert "train: 1.40 labels per image" in result.stdout
    sheet = Image.open(tmp_path / "sheet.png")
    assert sheet.width > 5 * 160

    result = run_command(
        "pack", "--dataset=manifest", manifest_flag, data_dir_flag, "--name=n", "--vocabulary_from=my_photos"
    )
    assert_refused(result, f"as --vocabulary_from={tmp_path / 'data' / 'my_photos'}")
