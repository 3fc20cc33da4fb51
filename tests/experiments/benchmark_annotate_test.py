import subprocess
import sys

import pytest
from PIL import Image

from experiments.benchmarks import annotating
from tests.msmm.core.command_line_test import process, refused, run

pytest.importorskip("openvino", reason="openvino is missing: pip install 'msmm[openvino]'")


def test_folders_hold_photographs_of_the_size_and_different_pictures(tmp_path):
    annotating.write_folder(tmp_path / "a", 42, (64, 48))
    files = sorted((tmp_path / "a").iterdir())
    assert len(files) == 42 and len({path.read_bytes() for path in files}) == 40
    image = Image.open(files[0])
    assert (image.format, image.size, image.getexif()[0x0110]) == ("JPEG", (64, 48), "Canon EOS 600D")
    annotating.write_folder(tmp_path / "b", 3, (64, 48), files[:2])
    first, second, third = (path.read_bytes() for path in sorted((tmp_path / "b").iterdir()))
    assert first != second and first != third  # the grain differs


@pytest.mark.slow
def test_the_command_prints_its_three_rows(tmp_path):
    arguments = ["--small=5", "--large=2", "--repeats=1"]
    command = [sys.executable, "-m", "experiments.benchmark_annotate", *arguments]
    result = subprocess.run(command, capture_output=True, timeout=300, **process(tmp_path))
    assert result.returncode == 0, result.stderr
    rows = [line.split("|")[1:-1] for line in result.stdout.splitlines() if line.startswith("|")][2:]
    assert [row[0].strip() for row in rows] == [
        "the network alone", "5 JPEG files of 640 x 480", "2 JPEG files of 12 megapixels",
    ]  # fmt: skip
    assert all(float(row[1]) > 0 for row in rows) and all(0 < float(row[3]) < 60 for row in rows[1:])


def test_a_folder_without_photographs_is_refused(tmp_path):
    (tmp_path / "photos").mkdir()
    assert "expected JPEG photographs" in refused(
        run("experiments.benchmark_annotate", "--photos=photos", cwd=tmp_path)
    )
