import importlib.util
import json
import subprocess
import sys

import pytest

from tests.msmm.conftest import bright_above, picture
from tests.msmm.core.command_line_test import process, refused

needs_beam = pytest.mark.skipif(
    importlib.util.find_spec("apache_beam") is None,
    reason="Apache Beam is not installed: pip install 'msmm[beam]'",
)


def run_command(name, *arguments, cwd):
    command = [sys.executable, "-m", name, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, timeout=300, **process(cwd))


def read_rows(*files) -> list[dict]:
    rows = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    return sorted(rows, key=lambda line: line["path"])


@needs_beam
@pytest.mark.parametrize(
    "options",
    [
        "",
        pytest.param("direct_num_workers=2,direct_running_mode=multi_processing", marks=pytest.mark.slow),
    ],
)
def test_beam_writes_the_same_lines_as_annotate(options, tmp_path, photo, model_directory):
    for i in range(40):
        photo(f"photos/{i}.png", bright_above() if i % 3 == 0 else picture(("red", "blue")[i % 2]))
    (tmp_path / "photos" / "1.png.txt").write_text("beaches, Rex")
    (tmp_path / "photos" / "broken.jpg").write_bytes(b"no image")
    (tmp_path / "photos" / "2.png.xmp").write_text("<x:xmpmeta")
    arguments = (
        "photos",
        f"--model={model_directory}",
        "--tags=goldengate;Nikon, sea",
        "--precision=float32",
    )
    beam = run_command(
        "msmm.annotate_beam", *arguments, "--output=rows", f"--beam_options={options}", cwd=tmp_path
    )
    assert beam.returncode == 1 and "40 photographs annotated; 1 skipped" in beam.stderr, beam.stderr
    plain = run_command("msmm.annotate", *arguments, "--format=json", "--output=plain.jsonl", cwd=tmp_path)
    assert plain.returncode == 1
    cause = "broken XMP in its sidecar"
    assert f"keywords of photos/2.png not read: {cause}" in plain.stderr
    assert f"keywords of 'photos/2.png' not read: {cause}" in beam.stderr
    assert [row["path"] for row in read_rows(*tmp_path.glob("rows.unread-*.jsonl"))] == ["photos/2.png"]
    assert read_rows(*tmp_path.glob("rows-*.jsonl")) == read_rows(tmp_path / "plain.jsonl")
    assert read_rows(*tmp_path.glob("rows.skipped-*.jsonl")) == [
        {"path": "photos/broken.jpg", "cause": "not an image of a known format"}
    ]
    again = run_command("msmm.annotate_beam", *arguments, "--output=rows", cwd=tmp_path)
    assert "exists already" in refused(again)


def test_a_user_error_is_one_line(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    assert "expected a PATH" in refused(
        run_command("msmm.annotate_beam", "--model=m", "--output=o", cwd=tmp_path)
    )
    empty = run_command("msmm.annotate_beam", "photos", "--model=m", "--output=o", cwd=tmp_path)
    assert "no photographs in 'photos'" in refused(empty)
    (tmp_path / "file").write_text("mine")
    for output in ("file/", "file/x", "file/x/y"):
        below = run_command("msmm.annotate_beam", "photos", "--model=m", f"--output={output}", cwd=tmp_path)
        assert "expected a folder, file is a file: name another --output" in refused(below)
