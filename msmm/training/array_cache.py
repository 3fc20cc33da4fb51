"""Arrays on disk that are computed once, keyed by all that they depend on.

They are moved into place only when complete. Deleting the directory costs time and nothing else.
"""

import contextlib
import hashlib
import json
import math
import pathlib
import shutil
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from msmm.core import checksums
from msmm.core.errors import UserError
from msmm.core.files import atomic_directory, clean, make_folder, read_json, write_json
from msmm.core.progress import ProgressBar


def cache_arrays(
    directory: pathlib.Path,
    kind: str,
    key: dict,
    num_rows: int,
    compute: Callable[[], Iterable[Sequence[np.ndarray]]],
    dtype,
) -> list[np.memmap]:
    """Returns arrays [num_rows, …] as read-only memory maps, and computes them if they are not cached.

    Args:
        directory: of the cache.
        kind: what the arrays are, part of the file name.
        key: all that they depend on.
        num_rows: N.
        compute: called if they are not cached; yields lists of arrays [B, …] in row order.
        dtype: of the cached arrays.

    Raises:
        UserError: the cache is damaged, the disk is full, or a value is not finite.
    """
    final = cache_path(directory, kind, key)
    if not final.exists():
        make_folder(directory)
        clean(directory)  # also of other runs' remains: maps are large
        with atomic_directory(final, replace=False) as partial:
            _write_arrays(partial, kind, num_rows, compute(), dtype)
            write_json(partial / "key.json", key)
            checksums.write(partial, [path.name for path in partial.iterdir()])
    remedy = f"delete {final}, and it is computed again"
    checksums.check_directory(final, remedy)
    if read_json(final / "key.json", remedy) != json.loads(json.dumps(key)):
        raise UserError(f"{final} holds other features, by its key.json: {remedy}")
    try:
        return [np.load(path, mmap_mode="r", allow_pickle=False) for path in sorted(final.glob("*.npy"))]
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read the arrays in {final} ({error}): {remedy}") from error


def cache_path(directory: pathlib.Path, kind: str, key: dict) -> pathlib.Path:
    """Returns where `cache_arrays` keeps arrays."""
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    return directory / f"{kind}-{digest}"


def _write_arrays(directory: pathlib.Path, kind: str, num_rows: int, batches: Iterable, dtype) -> None:
    dtype, start = np.dtype(dtype), 0
    with (
        ProgressBar(
            description=f"computing {kind}", total=num_rows, unit="images", where=directory.parent
        ) as progress,
        contextlib.ExitStack() as files,
    ):
        for pieces in batches:
            if not start:  # written, not mapped: a full disk then raises instead of killing the process
                shapes = [(num_rows, *piece.shape[1:]) for piece in pieces]
                _check_disk_space(directory, kind, sum(map(math.prod, shapes)) * dtype.itemsize)
                arrays = [files.enter_context(open(directory / f"{i}.npy", "wb")) for i in range(len(pieces))]
                for array, shape in zip(arrays, shapes, strict=True):
                    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False}
                    np.lib.format.write_array_header_1_0(array, header | {"shape": shape})
            for array, piece in zip(arrays, pieces, strict=True):
                with np.errstate(over="ignore"):  # the next check has a better message
                    rows = np.ascontiguousarray(piece, dtype)
                if not np.isfinite(rows).all():
                    raise UserError(
                        f"the features {kind} of image {start} or one soon after are not finite in "
                        f"{dtype}: train what they come from with a lower learning rate"
                        + ", or keep no maps with --maps_cache_gib=0"
                        * kind.startswith("maps")
                    )
                array.write(rows.data)
            start += len(pieces[0])
            progress.update(len(pieces[0]))
        if start != num_rows:
            raise RuntimeError(f"expected {num_rows} rows of {kind}. Received: {start}")


def _check_disk_space(directory: pathlib.Path, kind: str, size: int) -> None:
    free = shutil.disk_usage(directory).free
    if size > free:
        without = " (or keep no maps, with --maps_cache_gib=0)" if kind.startswith("maps") else ""
        raise UserError(
            f"no space: the features {kind} need {size / 2**20:,.1f} MiB in {directory.parent}, where "
            f"{free / 2**20:,.1f} MiB are free{without}; make room and run the same command again: what was "
            "finished is kept"
        )
