"""An Apache Beam pipeline packs the same files as worker processes."""

import importlib.util
import io
import pickle

import pytest
from PIL import Image

from msmm.core import beam
from msmm.core.errors import UserError
from msmm.data import records
from tests.tfrecords_tools.packing.builder_test import read_files, row, rows_with_broken_images
from tfrecords_tools.datasets import manifest
from tfrecords_tools.packing import beam_pipeline, builder

needs_beam = pytest.mark.skipif(
    importlib.util.find_spec("apache_beam") is None,
    reason="Apache Beam is not installed: pip install 'msmm[beam]'",
)


@pytest.fixture
def pack(tmp_path):
    def pack(path, name, **arguments):
        arguments = {"manifest": path, "max_skipped": 0.5, **arguments}
        builder.pack(manifest.Manifest, "mine", tmp_path / name, **arguments)
        return read_files(records.open_dataset(tmp_path / name, "mine").directory)

    return pack


@needs_beam
def test_direct_runner_packs_the_same_files_as_the_packer_without_beam(
    pack, write_manifest, folder, monkeypatch
):
    monkeypatch.setattr(beam_pipeline, "ROWS", 8)
    rows = [*rows_with_broken_images(folder), row("60.jpg", id="a/b"), row("61.jpg", id="a\\b")]
    path = write_manifest(rows)
    for number in range(6):
        (folder / f"gone{number}.jpg").write_bytes(b"")
    local = pack(path, "local", resize=20)
    assert pack(path, "beam", resize=20, runner="DirectRunner") == local


def test_images_stay_out_of_the_pipeline(tmp_path):
    """A runner keeps whatever goes through a pipeline in memory, several times."""
    Image.new("RGB", (20, 30)).save(tmp_path / "whole.jpg")
    rows = [({}, tmp_path / "whole.jpg"), ({}, b"no image")]
    files = beam_pipeline._write_rows(rows, tmp_path / "rows")
    assert beam_pipeline._check_file(files[0], None) is None
    results = pickle.loads((tmp_path / "rows/rows-000000.checked").read_bytes())
    assert results[0] is None and isinstance(results[1], str)


@needs_beam
def test_files_of_the_pipeline_are_deleted_once_they_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(beam_pipeline, "ROWS", 4)
    Image.new("RGB", (20, 30)).save(tmp_path / "whole.jpg")
    rows = [({"image/id": str(i)}, tmp_path / "whole.jpg") for i in range(10)]
    pairs = beam_pipeline.convert(rows, 10, tmp_path / "rows", *beam.runner_and_options("DirectRunner", []))
    kept = []
    for given, image in pairs:
        assert given == rows[len(kept)] and min(Image.open(io.BytesIO(image)).size) == 10
        kept.append(len(list((tmp_path / "rows").glob("*.checked"))))
    assert kept == [3] * 4 + [2] * 4 + [1] * 2 and not list((tmp_path / "rows").iterdir())


@needs_beam
@pytest.mark.slow
def test_beam_worker_processes_pack_the_same_files(pack, write_manifest, folder):
    path = write_manifest(rows_with_broken_images(folder))
    options = ["direct_num_workers=2", "direct_running_mode=multi_processing"]
    assert pack(path, "beam", runner="DirectRunner", beam_options=options) == pack(path, "local")


@needs_beam
def test_split_without_usable_images_is_an_error(pack, write_manifest, folder, tmp_path):
    (folder / "page.jpg").write_text("<html>")
    path = write_manifest([row("0.jpg"), row("page.jpg", "test")])
    with pytest.raises(UserError, match=r"no image of the test split is left of 1 rows .not an image of"):
        pack(path, "beam", runner="DirectRunner", max_skipped=1.0)
    assert not (tmp_path / "beam").exists()


@needs_beam
@pytest.mark.parametrize(
    ("runner", "options", "message"),
    [
        ("FastRunner", [], "expected a Beam runner, got FastRunner: .*DirectRunner"),
        (
            "DirectRunner",
            ["direct_num_workers=many"],
            r"--beam_options: argument --direct_num_workers: invalid int",
        ),
    ],
)
def test_invalid_runner_and_options_are_refused(pack, write_manifest, tmp_path, runner, options, message):
    path = write_manifest([row("0.jpg"), row("1.jpg", "test")])
    with pytest.raises(UserError, match=message):
        pack(path, "beam", runner=runner, beam_options=options)
    assert not (tmp_path / "beam").exists()


@pytest.mark.skipif(not needs_beam.args[0], reason="Apache Beam is installed")
def test_missing_beam_is_an_error_with_the_install_command(pack, write_manifest, tmp_path):
    path = write_manifest([row("0.jpg"), row("1.jpg", "test")])
    with pytest.raises(
        UserError, match=r"--runner=DirectRunner needs Apache Beam .*pip install 'msmm\[beam\]'"
    ):
        pack(path, "beam", runner="DirectRunner")
    assert not (tmp_path / "beam").exists()
