"""Checks that all files of a working directory are complete, and that two directories are equal."""

import hashlib
import io
import json
import pathlib
import re
import zipfile

import h5py
import numpy as np

UNFINISHED = re.compile(r"partial-|\.partial|\.replaced-|incomplete\.")  # names of unfinished files
NOT_COMPARED = (
    "saved_model.pb",
    "fingerprint.pb",
    "variables.data-00000-of-00001",
    "SHA256SUMS",
)  # stage.json contains times, and SHA256SUMS its checksum
TIMES = ("seconds", "images per second")  # entries of stage.json that differ between runs


def file_names(directory: pathlib.Path) -> set[str]:
    """Returns the relative paths of all files except locks and TensorBoard logs, named by the time."""
    paths = (path.relative_to(directory) for path in directory.rglob("*") if path.is_file())
    return {str(path) for path in paths if "log" not in path.parts[:-1] and path.name != "lock"}


def check_files(directory: pathlib.Path) -> None:
    """Reads every file that has its final name, as the project would."""
    for name in file_names(directory):
        if UNFINISHED.search(name):
            continue
        path = directory / name
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
        elif path.suffix == ".h5" and (path.parent / "stage.json").exists():  # else the stage is not finished
            read_arrays(path.read_bytes())
        elif path.suffix == ".keras":
            assert zipfile.ZipFile(path).testzip() is None
        elif path.suffix == ".xmp":
            assert path.read_bytes().rstrip().endswith(b"?>")


def _is_finished(directory: pathlib.Path) -> bool:
    """Returns whether a directory is no stage or a finished one; SHA256SUMS is written before stage.json."""
    return (directory / "stage.json").exists() or not (directory / "inputs.json").exists()


def finishing_times(directory: pathlib.Path) -> dict[str, int]:
    """Returns the finishing time of each finished stage, ns, by its path."""
    return {
        str(path): path.stat().st_mtime_ns
        for path in directory.rglob("stage.json")
        if "partial" not in str(path)
    }


def read_arrays(h5: bytes) -> dict[str, np.ndarray]:
    """Returns the arrays of an HDF5 file by their paths."""
    arrays = {}
    with h5py.File(io.BytesIO(h5)) as file:
        file.visititems(lambda name, item: arrays.update({name: item[()]} if hasattr(item, "shape") else {}))
    return arrays


def assert_same(directory: pathlib.Path, other: pathlib.Path) -> int:
    """Checks that two directories contain the same files with bit-equal content; returns their number.

    Excluded are times in stage.json, the graph of a SavedModel, and converted networks, whose folder is
    named by the hash of a file with a date (`model.keras`).
    """
    shared = {name for name in file_names(directory) if "/engines/" not in name}
    not_shared = shared ^ {name for name in file_names(other) if "/engines/" not in name}
    assert not not_shared, sorted(not_shared)
    for name in sorted(shared):
        a, b = (directory / name).read_bytes(), (other / name).read_bytes()
        if name.endswith("stage.json"):
            assert _without_times(json.loads(a)) == _without_times(json.loads(b)), name
        elif name.endswith(".weights.h5"):
            _assert_equal(read_arrays(a), read_arrays(b), name)
        elif name.endswith(".keras"):
            a, b = (zipfile.ZipFile(io.BytesIO(x)).read("model.weights.h5") for x in (a, b))
            _assert_equal(read_arrays(a), read_arrays(b), name)
        elif name.endswith("variables.index"):
            _assert_equal(*(_variables(folder / name) for folder in (directory, other)), name)
        elif pathlib.Path(name).name not in NOT_COMPARED:
            assert a == b, name
    return len(shared)


def _variables(index: pathlib.Path) -> dict[str, np.ndarray]:
    """Returns the variables of a SavedModel without its object graph, whose order is not fixed."""
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(index.with_suffix("")))
    variables = sorted(reader.get_variable_to_shape_map())
    return {name: reader.get_tensor(name) for name in variables if not name.startswith("_CHECKPOINT")}


def _without_times(content):
    if isinstance(content, dict):
        return {key: _without_times(value) for key, value in content.items() if key not in TIMES}
    return [_without_times(value) for value in content] if isinstance(content, list) else content


def _assert_equal(a: dict, b: dict, name: str) -> None:
    assert a.keys() == b.keys(), name
    for key in a:
        np.testing.assert_array_equal(a[key], b[key], f"{name}: {key}")
