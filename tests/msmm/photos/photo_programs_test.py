"""Sidecars in the hands of other programs, as docs/guides/photo_programs.md describes it."""

import io
import json
import os
import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from msmm.core.text import normalise_tag
from msmm.photos import reading, sidecars
from tests.conftest import ROOT
from tests.msmm.conftest import picture

WORDS = ["sky", "Käse 東京"]


def requires(name):
    return pytest.mark.skipif(not shutil.which(name), reason=f"{name} is not installed (Debian has it)")


def read_command() -> str:
    """Returns the command of the guide that carries keywords into JPEG files."""
    guide = (ROOT / "docs/guides/photo_programs.md").read_text(encoding="utf-8")
    return re.search(r"```sh\n(exiftool -r .*?)```", guide, re.DOTALL)[1]


def read_keywords(path) -> dict[str, list[str]]:
    command = ["exiftool", "-j", "-Keywords", "-Subject", "-HierarchicalSubject", str(path)]
    shown = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)[0]
    del shown["SourceFile"]
    return {name: value if isinstance(value, list) else [value] for name, value in shown.items()}


@requires("exiftool")
def test_the_command_of_the_guide_carries_keywords_into_jpeg_files(tmp_path, photo):
    first, second, none = photo("photos/a.jpg"), photo("photos/b/C.JPG"), photo("photos/none.jpg")
    command = ["exiftool", "-q", "-overwrite_original", "-IPTC:Keywords=Rome", "-XMP-dc:Subject=Rome"]
    subprocess.run([*command, "-XMP-dc:Subject=inside", str(first)], check=True)
    sidecars.write_labels(str(first), ["Rome"], WORDS, "a model", normalise_tag, "msmm")
    sidecars.write_labels(str(second), [], ["dog"], "a model", normalise_tag)
    before = {path: path.read_bytes() for path in (first, second, none)}
    for _ in range(2):  # the second time, nothing is new
        done = subprocess.run(read_command(), shell=True, cwd=tmp_path, capture_output=True, text=True)
        assert "Error" not in done.stderr, done
        keywords = read_keywords(first)
        assert sorted(keywords["Subject"]) == sorted(["Rome", "inside", *WORDS])
        assert sorted(keywords["Keywords"]) == sorted(["Rome", *WORDS])
        assert keywords["HierarchicalSubject"] == ["Rome", *(f"msmm|{word}" for word in WORDS)]
        assert read_keywords(second) == {"Keywords": ["dog"], "Subject": ["dog"]}
    assert none.read_bytes() == before[none]
    for path in (first, second):
        pixels = np.asarray(Image.open(path))
        np.testing.assert_array_equal(pixels, np.asarray(Image.open(io.BytesIO(before[path]))))
        assert path.with_name(f"{path.name}_original").exists()
    # msmm still knows whose they are, thanks to the sidecar.
    prepared = reading.prepare_photo(str(first), reading.Preparation(32))
    assert set(prepared.keywords.words) == {"Rome", "inside"}
    restored = ["exiftool", "-q", "-r", "-restore_original", "photos"]
    subprocess.run(restored, cwd=tmp_path, check=True)
    assert read_keywords(second) == {}


@requires("exiv2")
def test_exiv2_reads_and_rewrites_a_hierarchy(tmp_path, photo):
    path = photo("a.jpg")
    sidecar = sidecars.write_labels(str(path), ["Rome"], WORDS, "a model", normalise_tag, "msmm")

    def read(key):
        command = ["exiv2", "-g", key, "-Pv", sidecar]
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()  # status 1: none

    assert read("Xmp.lr.hierarchicalSubject") == "Rome, msmm|sky, msmm|Käse 東京"
    subprocess.run(["exiv2", "-M", "set Xmp.xmp.Rating 5", sidecar], check=True)
    assert sidecars.remove_labels(str(path), normalise_tag) == WORDS
    assert read("Xmp.xmp.Rating") == "5"
    assert read("Xmp.dc.subject") == "" == read("Xmp.lr.hierarchicalSubject")


@requires("darktable-cli")
@requires("exiftool")
@pytest.mark.parametrize("hierarchy", ["", "msmm"])
def test_darktable_imports_the_keywords(tmp_path, photo, hierarchy):
    path = photo("a.jpg", picture(size=(300, 200)))
    sidecar = sidecars.write_labels(str(path), ["Rome"], WORDS, "a model", normalise_tag, hierarchy)
    command = ["darktable-cli", path, tmp_path / "out.jpg", "--core", "--library", ":memory:"]
    command += ["--configdir", tmp_path / "configuration", "--cachedir", tmp_path / "cache"]
    # darktable crashes where it has more threads than cores.
    env = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run(list(map(str, command)), env=env, capture_output=True, text=True, timeout=120)
    assert (tmp_path / "out.jpg").exists(), done.stdout + done.stderr
    subjects = set(read_keywords(tmp_path / "out.jpg")["Subject"])
    assert subjects == {"Rome", *WORDS} | ({"msmm"} if hierarchy else set())
    assert sidecars.find_annotator(str(path)) == "a model" and sidecar == f"{path}.xmp"
