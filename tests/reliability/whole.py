"""What a home of a user looks like when all is well: every file whole, and the same as another's."""

import hashlib
import io
import json
import pathlib
import re
import zipfile

import h5py
import numpy as np

LEFT = re.compile(r"partial-|\.partial|\.replaced-|incomplete\.")  # names of what is not finished
UNLIKE = (
    "saved_model.pb",
    "fingerprint.pb",
    "variables.data-00000-of-00001",
    "SHA256SUMS",
)  # that of stage.json has times
TIMES = ("seconds", "images per second")  # of stage.json, which no two runs share


def names(home: pathlib.Path) -> set[str]:
    """Every file of a home but TensorBoard's, whose names hold the time, and locks."""
    found = (path.relative_to(home) for path in home.rglob("*") if path.is_file())
    return {str(path) for path in found if "log" not in path.parts[:-1] and path.name != "lock"}


def check(home: pathlib.Path) -> None:
    """Reads every file that has its final name, as its users would."""
    for name in names(home):
        if LEFT.search(name):
            continue
        path = home / name
        if path.name == "SHA256SUMS" and _is_finished(path.parent):
            for line in path.read_text().splitlines():
                digest, file = line.split("  ")
                assert hashlib.sha256((path.parent / file).read_bytes()).hexdigest() == digest, path
        elif path.suffix == ".json":
            json.loads(path.read_text())
        elif path.name == "state.npz":
            with np.load(path) as file:
                assert all(file[key] is not None for key in file.files)
        elif path.suffix == ".npy":
            np.load(path, mmap_mode="r")
        elif path.suffix == ".h5" and (path.parent / "stage.json").exists():  # else it is not finished
            values(path.read_bytes())
        elif path.suffix == ".keras":
            assert zipfile.ZipFile(path).testzip() is None
        elif path.suffix == ".xmp":
            assert path.read_bytes().rstrip().endswith(b"?>")


def _is_finished(directory: pathlib.Path) -> bool:
    """Whether it is no stage, or one that has ended: its sums are written before its last file."""
    return (directory / "stage.json").exists() or not (directory / "inputs.json").exists()


def finished(home: pathlib.Path) -> dict[str, int]:
    """When each finished stage finished."""
    return {
        str(path): path.stat().st_mtime_ns for path in home.rglob("stage.json") if "partial" not in str(path)
    }


def values(h5: bytes) -> dict[str, np.ndarray]:
    """The arrays of an HDF5 file by their paths."""
    found = {}
    with h5py.File(io.BytesIO(h5)) as file:
        file.visititems(lambda name, item: found.update({name: item[()]} if hasattr(item, "shape") else {}))
    return found


def assert_same(home: pathlib.Path, other: pathlib.Path) -> int:
    """That two homes hold the same files with the same content, bit by bit; returns how many.

    But for times in stage.json, the report of a pack, how a SavedModel's graph is written down, and what
    runtimes read, whose folder is named by a hash of a file with a date (`model.keras`).
    """
    same = {name for name in names(home) if "/engines/" not in name}
    unlike = same ^ {name for name in names(other) if "/engines/" not in name}
    assert not unlike, sorted(unlike)
    for name in sorted(same):
        a, b = (home / name).read_bytes(), (other / name).read_bytes()
        if name.endswith("stage.json"):
            assert _timeless(json.loads(a)) == _timeless(json.loads(b)), name
        elif name.endswith(".weights.h5"):
            _assert_equal(values(a), values(b), name)
        elif name.endswith(".keras"):
            a, b = (zipfile.ZipFile(io.BytesIO(x)).read("model.weights.h5") for x in (a, b))
            _assert_equal(values(a), values(b), name)
        elif name.endswith("variables.index"):
            _assert_equal(*(_variables(folder / name) for folder in (home, other)), name)
        elif pathlib.Path(name).name not in UNLIKE:
            assert a == b, name
    return len(same)


def _variables(index: pathlib.Path) -> dict[str, np.ndarray]:
    """The variables of a SavedModel; beside them it has how its graph hangs together, in no fixed order."""
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(index.with_suffix("")))
    names = sorted(reader.get_variable_to_shape_map())
    return {name: reader.get_tensor(name) for name in names if not name.startswith("_CHECKPOINT")}


def _timeless(content):
    if isinstance(content, dict):
        return {key: _timeless(value) for key, value in content.items() if key not in TIMES}
    return [_timeless(value) for value in content] if isinstance(content, list) else content


def _assert_equal(a: dict, b: dict, name: str) -> None:
    assert a.keys() == b.keys(), name
    for key in a:
        np.testing.assert_array_equal(a[key], b[key], f"{name}: {key}")
