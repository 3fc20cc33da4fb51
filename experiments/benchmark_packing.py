"""Measures the speed of packing, beside copying and beside a loop that decodes, resizes and encodes.

    python -m experiments.benchmark_packing
    python -m experiments.benchmark_packing --images=photos --num_images=5000

All candidates take turns on the same files, read once before; the best of --repeats counts. Packing includes
checking, writing, counting, checksums and the report.
"""

import contextlib
import io
import itertools
import json
import os
import pathlib
import shutil
import tempfile
import time
from collections.abc import Callable

from absl import flags

from msmm.core import command_line
from msmm.core.errors import UserError

_IMAGES = flags.DEFINE_string("images", None, "Folder of JPEG files. [60 scenes of 480 pixels, drawn for it]")
_NUM_IMAGES = flags.DEFINE_integer(
    "num_images", 2000, "Number of images; files are repeated to reach it.", 10
)
_RESIZE = flags.DEFINE_integer("resize", 256, "Short side, in pixels, to resize to.", 1)
_WORKERS = flags.DEFINE_integer("workers", None, "Processes that check images. [one per core]")
_REPEATS = flags.DEFINE_integer("repeats", 3, "Rounds; the best counts.", 1)
_FOLDER = flags.DEFINE_string("folder", None, "Folder for temporary files. [the system's]")

DRAWN, DRAWN_SIDE = 60, 480  # scenes, pixels
LOOP = "decode, resize, encode in a loop"


def main() -> None:
    given = _files(pathlib.Path(_IMAGES.value)) if _IMAGES.value else None
    command_line.import_tensorflow()
    from tfrecords_tools.datasets import manifest  # noqa: F401  # so that no candidate pays for the imports

    with tempfile.TemporaryDirectory(dir=_FOLDER.value) as folder:
        folder = pathlib.Path(folder)
        files = given or _drawn(folder / "drawn")
        different = min(len(files), _NUM_IMAGES.value)
        files = _repeat(files, _NUM_IMAGES.value, folder / "repeated")
        size = sum(len(path.read_bytes()) for path in files)
        candidates = {
            "copy": lambda out: _copy(files, out),
            LOOP: lambda out: _loop(files, out),
            "pack, verbatim": lambda out: _pack(files, out, None),
            f"pack, --resize={_RESIZE.value}": lambda out: _pack(files, out, _RESIZE.value),
        }
        seconds = {name: [] for name in candidates}
        for _ in range(_REPEATS.value):
            for name, candidate in candidates.items():
                seconds[name].append(_timed(candidate, folder / "out"))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    print(
        f"{len(files):,} images ({different:,} different files) of {size / len(files) / 1024:.0f} KiB "
        f"on average, to a short side of {_RESIZE.value} px; {cores} cores; best of {_REPEATS.value}\n"
    )
    print(_table({name: min(rounds) for name, rounds in seconds.items()}, len(files), size))


def _files(folder: pathlib.Path) -> list[pathlib.Path]:
    paths = sorted(p.absolute() for p in folder.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg"))
    if not paths:
        raise UserError(f"expected a folder with JPEG files, found none in --images={folder}")
    return paths


def _drawn(folder: pathlib.Path) -> list[pathlib.Path]:
    from msmm.core import images
    from msmm.scenes import recipe

    folder.mkdir()
    for index in range(DRAWN):
        scene = recipe.draw(0, index, DRAWN_SIDE)
        (folder / f"{index}.jpg").write_bytes(images.encode(scene.image, 90))
    return _files(folder)


def _repeat(files: list[pathlib.Path], number: int, folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns as many files: the given ones, and copies of them, because a manifest lists a file once."""
    folder.mkdir()
    copies = itertools.islice(itertools.cycle(files), len(files), max(number, len(files)))
    return [*files, *(shutil.copyfile(path, folder / f"{i}.jpg") for i, path in enumerate(copies))][:number]


def _timed(candidate: Callable[[pathlib.Path], None], out: pathlib.Path) -> float:
    out.mkdir()
    start = time.perf_counter()
    candidate(out)
    elapsed = time.perf_counter() - start
    shutil.rmtree(out)
    return elapsed


def _copy(files: list[pathlib.Path], out: pathlib.Path) -> None:
    for number, path in enumerate(files):
        shutil.copyfile(path, out / f"{number}.jpg")


def _loop(files: list[pathlib.Path], out: pathlib.Path) -> None:
    """Does to every image what a packer without workers and without checks would do."""
    from PIL import Image

    from msmm.core.images import QUALITY

    for number, path in enumerate(files):
        image = Image.open(path).convert("RGB")
        scale = min(1.0, _RESIZE.value / min(image.size))
        size = [max(1, round(side * scale)) for side in image.size]
        image = image.resize(size, Image.Resampling.LANCZOS)
        image.save(out / f"{number}.jpg", quality=QUALITY, subsampling=0)


def _pack(files: list[pathlib.Path], out: pathlib.Path, resize: int | None) -> None:
    from tfrecords_tools.datasets import manifest
    from tfrecords_tools.packing import builder

    rows = [
        json.dumps(
            {"id": str(n), "image": str(path), "labels": [f"label {n % 10}"], "tags": [f"tag {n % 7}"]}
        )
        for n, path in enumerate(files)
    ]
    (out / "rows.jsonl").write_text("\n".join(rows), encoding="utf-8")
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        builder.pack(
            manifest.Manifest,
            "benchmark",
            out / "data",
            manifest=out / "rows.jsonl",
            resize=resize,
            workers=_WORKERS.value,
        )


def _table(seconds: dict[str, float], images: int, size: int) -> str:
    lines = ["| | images/s | MB/s read | times the loop |", "|---|---:|---:|---:|"]
    for name, elapsed in seconds.items():
        ratio = seconds[LOOP] / elapsed
        times = f"{ratio:.2f}" if ratio >= 1 else f"{ratio:.3g}"
        lines.append(f"| {name} | {images / elapsed:,.0f} | {size / elapsed / 1e6:,.0f} | {times} |")
    return "\n".join(lines)


if __name__ == "__main__":
    command_line.run(main)
