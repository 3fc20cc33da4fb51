"""Damaged files: reading one gives the right result or a user error that names the file.

`READERS` maps each file to the function that reads it. A damaged file that the project wrote ("ours") must
give the result of the intact file or an error. Files of people and other programs ("theirs") have no
checksum, so the result may differ, but reading them never ends in a traceback, a hang or an error without
a file name.
"""

import contextlib
import hashlib
import itertools
import pathlib
import shutil
import traceback
import zipfile
from collections.abc import Callable

import numpy as np
import pytest

from msmm.core.errors import UserError
from tests.conftest import TINY
from tests.msmm.conftest import model_directory  # noqa: F401
from tests.reliability import samples
from tests.reliability.mutations import mutations, time_limit
from tfrecords_tools.packing.raw_dataset import Settings

SECONDS = (
    60  # limit for reading a damaged file; an intact file takes less than one second if nothing else runs
)
QUICK, SLOW = 2, 36  # mutations per file


def read_data_set(directory: pathlib.Path):
    from msmm.data import records

    dataset = records.open_dataset(directory, "scenes")
    arrays = [array.tolist() for split in dataset.splits for array in dataset.annotations(split)]
    images = [hashlib.sha256(r["image"].numpy()).hexdigest() for r in dataset.read("test")]
    return arrays, images, dataset.labels, dataset.tags, dataset.fingerprint, dataset.report()


def read_model(directory: pathlib.Path):
    from msmm.inference import model_dir

    loaded = model_dir.load(directory / "model")
    annotation = loaded.annotate([np.full((40, 30, 3), 200, np.uint8)], [loaded.tags[:3]])[0]
    return annotation.labels, annotation.probabilities.tolist(), annotation.quantity, loaded.info, loaded.tags


def read_run(directory: pathlib.Path):
    from msmm.configs import replace_flat
    from msmm.configs.scenes import Config
    from msmm.data import records
    from msmm.training import model_parts
    from msmm.training.run import Run

    dataset = records.open_dataset(directory / "data", "scenes")
    loaded = Run(directory, dataset, replace_flat(Config(), TINY))
    weights = [
        model_parts.weights_hash(model_parts.load_part(loaded, part))
        for part in ("textual", "textual_head", "quantity")
    ]
    return weights, loaded.stage_record("textual"), loaded.stage_record("quantity")


def read_inputs(directory: pathlib.Path):
    """A stage whose recorded inputs differ from the current inputs is trained again."""
    from msmm.core import files

    return files.read_json(directory / "seed0/textual/inputs.json")


def read_features(directory: pathlib.Path):
    from msmm.training import array_cache

    arrays = array_cache.cache_arrays(directory, "visual", {"a": 1}, 50, fail_if_computed, np.float32)
    return [array.tolist() for array in arrays]


def fail_if_computed():
    raise AssertionError("cached features were computed again")


def read_state(directory: pathlib.Path):
    from msmm.training.state import load_state

    progress, arrays = load_state(directory / "state.npz", samples.OWNER)
    return progress, {name: array.tolist() for name, array in arrays.items()}


def read_backbone(directory: pathlib.Path):
    from msmm.models import backbone

    built = backbone.build(str(directory / "trunk.keras"), image_size=32)
    return backbone.build("resnet-1-1-1-1-w4", image_size=32, weights=str(directory / "w.weights.h5")), built


def read_manifests(directory: pathlib.Path):
    from msmm.core import text
    from tfrecords_tools.raw import manifest_file

    read = [manifest_file.read(directory / name) for name in ("photos.jsonl", "photos.csv")]
    return *read, text.read_names(directory / "labels.txt", text.normalise_label)


def read_nus_wide(directory: pathlib.Path):
    from tfrecords_tools.datasets import nus_wide

    raw = nus_wide.NusWide(raw_dir=directory)
    return [row for split in raw.read(Settings()).num_rows for row in raw.rows(split)]


def read_mscoco(directory: pathlib.Path):
    from tfrecords_tools.datasets import mscoco

    raw = mscoco.MsCoco(raw_dir=directory)
    return [row for split in raw.read(Settings()).num_rows for row in raw.rows(split)]


def read_drawing(directory: pathlib.Path):
    from tfrecords_tools.raw import svg_metadata

    with contextlib.suppress(svg_metadata.Unreadable):
        return svg_metadata.read(directory / "drawing.svg")


def read_sidecar(directory: pathlib.Path):
    """Also checks that a sidecar can still be read after writing, and keeps the content of other programs."""
    from msmm.photos import sidecars, xmp

    photo, path = str(directory / "a.jpg"), directory / "a.jpg.xmp"
    keywords, added = sidecars.read_sidecars(photo)
    before = path.read_bytes()
    try:
        sidecars.write_labels(photo, ["of mine"], ["sky"], "model", str.casefold)
    except sidecars.CannotWrite:
        assert path.read_bytes() == before
        return
    packet = xmp.parse(path.read_bytes())
    assert {"sky"} | set(keywords.words) - set(added) <= {*map(xmp.clean, packet.subjects), "sky"}
    assert packet.texts(xmp.MODEL) == ["model"]


def read_lines(directory: pathlib.Path):
    """A second run over existing lines keeps complete lines as they are and refuses others."""
    from msmm.photos import annotation_lines, outputs

    for name, format in (
        ("annotations.jsonl", annotation_lines.JSON),
        ("annotations.csv", annotation_lines.CSV),
    ):
        before = (directory / name).read_bytes()
        with outputs.File(str(directory / name), format, "model", overwrite=False) as file:
            file.write(samples.annotated("new.jpg"))
        after = (directory / name).read_bytes()
        complete = before[: before.rfind(b"\n") + 1]
        assert after.startswith(complete), "existing lines were lost"


def read_gallery(directory: pathlib.Path):
    from msmm.photos import gallery

    with gallery.Gallery(str(directory / "gallery"), "model", overwrite=False) as pages:
        pages.write(samples.annotated("new.jpg"))


# file -> (function that reads it, OURS or THEIRS)
OURS, THEIRS = True, False
READERS: dict[str, tuple[Callable, bool]] = {
    "data/scenes/1.0.0/*": (read_data_set, OURS),
    "model/model/*": (read_model, OURS),
    "run/seed0/textual/stage.json": (read_run, OURS),
    "run/seed0/textual/*.h5": (read_run, OURS),
    "run/seed0/textual/SHA256SUMS": (read_run, OURS),
    "run/seed0/quantity/*.h5": (read_run, OURS),
    "run/run.json": (read_run, OURS),
    "run/seed0/textual/inputs.json": (read_inputs, THEIRS),
    "features/visual-*/*": (read_features, OURS),
    "state/state.npz": (read_state, OURS),
    "earlier/scenes/1.0.0/*": (read_data_set, THEIRS),  # as versions without SHA256SUMS wrote it
    "earlier_model/model/*": (read_model, THEIRS),
    "backbone/*": (read_backbone, THEIRS),
    "manifests/*": (read_manifests, THEIRS),
    "nus_wide/*/*.txt": (read_nus_wide, THEIRS),
    "nus_wide/*/*.dat": (read_nus_wide, THEIRS),
    "nus_wide/*.zip": (read_nus_wide, THEIRS),
    "mscoco/annotations/*.json": (read_mscoco, THEIRS),
    "drawing/drawing.svg": (read_drawing, THEIRS),
    "sidecar/a.jpg.xmp": (read_sidecar, THEIRS),
    "lines/*": (read_lines, THEIRS),
    "gallery/gallery/page-0001.html": (read_gallery, THEIRS),
}
UNREAD = ("README.md",)  # written for people only


@pytest.fixture(scope="session")
def intact_samples(trained_run, data_dir, model_directory, tmp_path_factory):  # noqa: F811
    """Returns two folders that contain a file of every kind, from two runs."""
    roots = [tmp_path_factory.mktemp(name) for name in ("one", "another")]
    return [samples.write(root, i, trained_run, data_dir, model_directory) for i, root in enumerate(roots)]


@pytest.mark.parametrize("pattern", READERS)
def test_reading_a_damaged_file_is_refused_by_name_or_gives_a_valid_result(pattern, intact_samples, tmp_path):
    check_damaged_files(pattern, intact_samples, tmp_path, QUICK)


@pytest.mark.slow
@pytest.mark.parametrize("pattern", READERS)
def test_reading_many_damaged_files_is_refused_by_name_or_gives_a_valid_result(
    pattern, intact_samples, tmp_path
):
    check_damaged_files(pattern, intact_samples, tmp_path, SLOW)


def check_damaged_files(pattern: str, intact_samples, tmp_path, count: int) -> None:
    read, ours = READERS[pattern]
    case, _, below = pattern.partition("/")
    paths = [
        path
        for path in sorted((intact_samples[0] / case).glob(below))
        if path.is_file() and path.name not in UNREAD
    ]
    assert paths
    shutil.copytree(intact_samples[0] / case, tmp_path / "expected", symlinks=True)
    expected, outcomes, numbers = read(tmp_path / "expected"), [], itertools.count()
    for path in paths:
        name = path.relative_to(intact_samples[0] / case)
        members = zipfile.ZipFile(path).namelist() if path.suffix == ".zip" else []
        other = intact_samples[1] / case / name
        other = other.read_bytes() if other.exists() else None
        for change, data in mutations(path.read_bytes(), count, f"{pattern} {name}", other):
            directory = tmp_path / f"case{next(numbers)}"
            shutil.copytree(intact_samples[0] / case, directory, symlinks=True)
            (directory / name).write_bytes(data)
            result = read_outcome(read, directory, members or [name.name], expected if ours else None)
            outcomes.append((result, f"{case}/{name}, {change}"))
            shutil.rmtree(directory)
    wrong = [f"{change}: {result}" for result, change in outcomes if result not in ("refused", "read")]
    assert not wrong, "\n".join(wrong)
    refused = sum(result == "refused" for result, _ in outcomes)
    print(f"{pattern}: {len(outcomes)} mutations, {refused} refused, {len(outcomes) - refused} read")


def read_outcome(read, directory, names: list[str], expected) -> str:
    """Returns "refused" or "read", or else a description of the fault.

    Args:
      names: an error must contain one of these names, or the directory.
      expected: the expected result, or None if any result is allowed.
    """
    try:
        with time_limit(SECONDS):
            result = read(directory)
    except UserError as error:
        named = any(name in str(error) for name in [*names, str(directory)])
        return "refused" if named and len(str(error)) < 2000 else f"refused without a name: {error}"
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        return f"{repr(error)[:200]} at {frame.filename}:{frame.lineno}"
    return "read" if expected is None or result == expected else "another result"
