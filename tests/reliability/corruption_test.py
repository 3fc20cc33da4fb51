"""Every file that the project reads, damaged: the right result or an error that names it, nothing else.

`READERS` says how the project reads each file. Of files that the project wrote itself the result must be that
of the whole file ("ours"); what people and other programs write has no checksum, so there it may be another
("theirs"), but never a traceback, a hang or an error without a name.
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

SECONDS = 10  # that reading a damaged file may take; whole ones take less than one
QUICK, SLOW = 2, 36  # mutations a file


def data_set(directory: pathlib.Path):
    from msmm.data import records

    dataset = records.open_dataset(directory, "scenes")
    arrays = [array.tolist() for split in dataset.splits for array in dataset.annotations(split)]
    images = [hashlib.sha256(r["image"].numpy()).hexdigest() for r in dataset.read("test")]
    return arrays, images, dataset.labels, dataset.tags, dataset.fingerprint, dataset.report()


def model(directory: pathlib.Path):
    from msmm.inference import model_dir

    loaded = model_dir.load(directory / "model")
    annotation = loaded.annotate([np.full((40, 30, 3), 200, np.uint8)], [loaded.tags[:3]])[0]
    return annotation.labels, annotation.probabilities.tolist(), annotation.quantity, loaded.info, loaded.tags


def run(directory: pathlib.Path):
    from msmm.configs import replace_flat
    from msmm.configs.scenes import Config
    from msmm.data import records
    from msmm.training import model_parts
    from msmm.training.run import Run

    dataset = records.open_dataset(directory / "data", "scenes")
    found = Run(directory, dataset, replace_flat(Config(), TINY))
    weights = [
        model_parts.weights_hash(model_parts.load_part(found, part))
        for part in ("textual", "textual_head", "quantity")
    ]
    return weights, found.stage_record("textual"), found.stage_record("quantity")


def inputs(directory: pathlib.Path):
    """What differs from what is there now has the stage trained anew."""
    from msmm.core import files

    return files.read_json(directory / "seed0/textual/inputs.json")


def features(directory: pathlib.Path):
    from msmm.training import frozen_features

    arrays = frozen_features.cache_arrays(directory, "visual", {"a": 1}, 50, never, np.float32)
    return [array.tolist() for array in arrays]


def never():
    raise AssertionError("what is there was computed again")


def state(directory: pathlib.Path):
    from msmm.training.state import load_state

    progress, arrays = load_state(directory / "state.npz", samples.OWNER)
    return progress, {name: array.tolist() for name, array in arrays.items()}


def backbone(directory: pathlib.Path):
    from msmm.models import backbone

    built = backbone.build(str(directory / "trunk.keras"), image_size=32)
    return backbone.build("resnet-1-1-1-1-w4", image_size=32, weights=str(directory / "w.weights.h5")), built


def manifests(directory: pathlib.Path):
    from msmm.core import text
    from tfrecords_tools.raw import manifest_file

    read = [manifest_file.read(directory / name) for name in ("photos.jsonl", "photos.csv")]
    return *read, text.read_names(directory / "labels.txt", text.normalise_label)


def nus_wide(directory: pathlib.Path):
    from tfrecords_tools.datasets import nus_wide

    raw = nus_wide.NusWide(raw_dir=directory)
    return [row for split in raw.read(Settings()).num_rows for row in raw.rows(split)]


def mscoco(directory: pathlib.Path):
    from tfrecords_tools.datasets import mscoco

    raw = mscoco.MsCoco(raw_dir=directory)
    return [row for split in raw.read(Settings()).num_rows for row in raw.rows(split)]


def drawing(directory: pathlib.Path):
    from tfrecords_tools.raw import svg_metadata

    with contextlib.suppress(svg_metadata.Unreadable):
        return svg_metadata.read(directory / "drawing.svg")


def sidecar(directory: pathlib.Path):
    """Also: what is written to is still read, and what is not ours stays."""
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


def lines(directory: pathlib.Path):
    """A second run over what is there: whole lines stay as they are, others are an error."""
    from msmm.photos import formats, outputs

    for name, format in (("said.jsonl", formats.JSON), ("said.csv", formats.CSV)):
        before = (directory / name).read_bytes()
        with outputs.File(str(directory / name), format, "model", overwrite=False) as file:
            file.write(samples.annotated("new.jpg"))
        after = (directory / name).read_bytes()
        whole = before[: before.rfind(b"\n") + 1]
        assert after.startswith(whole), "lines that were there were lost"


def gallery(directory: pathlib.Path):
    from msmm.photos import gallery

    with gallery.Gallery(str(directory / "gallery"), "model", overwrite=False) as pages:
        pages.write(samples.annotated("new.jpg"))


# file -> (how the project reads it, whether it is ours)
OURS, THEIRS = True, False
READERS: dict[str, tuple[Callable, bool]] = {
    "data/scenes/1.0.0/*": (data_set, OURS),
    "model/model/*": (model, OURS),
    "run/seed0/textual/stage.json": (run, OURS),
    "run/seed0/textual/*.h5": (run, OURS),
    "run/seed0/textual/SHA256SUMS": (run, OURS),
    "run/seed0/quantity/*.h5": (run, OURS),
    "run/run.json": (run, OURS),
    "run/seed0/textual/inputs.json": (inputs, THEIRS),
    "features/visual-*/*": (features, OURS),
    "state/state.npz": (state, OURS),
    "earlier/scenes/1.0.0/*": (data_set, THEIRS),  # written before there was SHA256SUMS
    "earlier_model/model/*": (model, THEIRS),
    "backbone/*": (backbone, THEIRS),
    "manifests/*": (manifests, THEIRS),
    "nus_wide/*/*.txt": (nus_wide, THEIRS),
    "nus_wide/*/*.dat": (nus_wide, THEIRS),
    "nus_wide/*.zip": (nus_wide, THEIRS),
    "mscoco/annotations/*.json": (mscoco, THEIRS),
    "drawing/drawing.svg": (drawing, THEIRS),
    "sidecar/a.jpg.xmp": (sidecar, THEIRS),
    "lines/*": (lines, THEIRS),
    "gallery/gallery/page-0001.html": (gallery, THEIRS),
}
UNREAD = ("README.md",)  # for people


@pytest.fixture(scope="session")
def whole(trained_run, data_dir, model_directory, tmp_path_factory):  # noqa: F811
    """Two folders with a file of every kind, of two runs."""
    roots = [tmp_path_factory.mktemp(name) for name in ("one", "another")]
    return [samples.write(root, i, trained_run, data_dir, model_directory) for i, root in enumerate(roots)]


@pytest.mark.parametrize("pattern", READERS)
def test_a_damaged_file_is_named_or_does_no_harm(pattern, whole, tmp_path):
    check(pattern, whole, tmp_path, QUICK)


@pytest.mark.slow
@pytest.mark.parametrize("pattern", READERS)
def test_many_damaged_files_are_named_or_do_no_harm(pattern, whole, tmp_path):
    check(pattern, whole, tmp_path, SLOW)


def check(pattern: str, whole, tmp_path, count: int) -> None:
    read, ours = READERS[pattern]
    case, _, below = pattern.partition("/")
    paths = [
        path for path in sorted((whole[0] / case).glob(below)) if path.is_file() and path.name not in UNREAD
    ]
    assert paths
    shutil.copytree(whole[0] / case, tmp_path / "expected", symlinks=True)
    expected, outcomes, numbers = read(tmp_path / "expected"), [], itertools.count()
    for path in paths:
        name = path.relative_to(whole[0] / case)
        members = zipfile.ZipFile(path).namelist() if path.suffix == ".zip" else []
        other = whole[1] / case / name
        other = other.read_bytes() if other.exists() else None
        for what, data in mutations(path.read_bytes(), count, f"{pattern} {name}", other):
            directory = tmp_path / f"case{next(numbers)}"
            shutil.copytree(whole[0] / case, directory, symlinks=True)
            (directory / name).write_bytes(data)
            found = outcome(read, directory, members or [name.name], expected if ours else None)
            outcomes.append((found, f"{case}/{name}, {what}"))
            shutil.rmtree(directory)
    wrong = [f"{what}: {found}" for found, what in outcomes if found not in ("refused", "read")]
    assert not wrong, "\n".join(wrong)
    refused = sum(found == "refused" for found, _ in outcomes)
    print(f"{pattern}: {len(outcomes)} mutations, {refused} refused, {len(outcomes) - refused} read")


def outcome(read, directory, names: list[str], expected) -> str:
    """ "refused" or "read", or else what should not be.

    names: of which an error must say one, or else the directory. expected: the result, or None for any.
    """
    try:
        with time_limit(SECONDS):
            found = read(directory)
    except UserError as error:
        named = any(name in str(error) for name in [*names, str(directory)])
        return "refused" if named and len(str(error)) < 2000 else f"refused without a name: {error}"
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        return f"{repr(error)[:200]} at {frame.filename}:{frame.lineno}"
    return "read" if expected is None or found == expected else "another result"
