"""Folders of photographs for measuring `msmm.annotate` end to end, and the measurements."""

import io
import pathlib
import subprocess
import sys
import time
from collections.abc import Sequence

import numpy as np
from PIL import Image

from msmm.core import images
from msmm.scenes import recipe

SMALL, LARGE = (640, 480), (4000, 3000)  # pixels; LARGE has 12 megapixels
QUALITY = 88  # of the JPEG files: about 90 kB and 2.5 MB, with the grain below
_GRAIN = 6.0  # standard deviation, levels
_DRAWN = 40  # different pictures of a folder
_SCENE = 256  # pixels, of a drawn scene before it is enlarged


def write_folder(
    folder: pathlib.Path, number: int, size: tuple[int, int], sources: Sequence[pathlib.Path] = ()
) -> None:
    """Writes JPEG photographs of a size, with the metadata of a camera.

    Args:
        folder: a new folder.
        number: of photographs; files of the same picture have different names.
        size: width and height, pixels.
        sources: photographs to scale; without them, scenes are drawn.
    """
    folder.mkdir(parents=True)
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Canon", "Canon EOS 600D"
    encoded = []
    for index in range(min(number, _DRAWN)):
        if sources:
            picture = images.upright(images.load(sources[index % len(sources)].read_bytes()))
        else:
            picture = recipe.draw(0, index, _SCENE).image
        pixels = np.asarray(picture.resize(size, Image.Resampling.BICUBIC), np.float32)
        grain = np.random.default_rng(index).normal(0, _GRAIN, (*size[::-1], 1))
        buffer = io.BytesIO()
        picture = Image.fromarray(np.clip(pixels + grain, 0, 255).astype(np.uint8))
        picture.save(buffer, "JPEG", quality=QUALITY, exif=exif)
        encoded.append(buffer.getvalue())
    for index in range(number):
        (folder / f"IMG_{index:05}.jpg").write_bytes(encoded[index % len(encoded)])


def measure_network(directory: pathlib.Path, batches: int = 20, batch_size: int = 32) -> float:
    """Returns images per second of a model's network alone, on random pixels, after a first batch."""
    from msmm.inference import engines

    model = engines.load(directory)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (batch_size, model.image_size, model.image_size, 3)).astype(np.float32)
    tags = np.zeros((batch_size, len(model.tags)), np.float32)
    model.run(pixels, tags)
    started = time.perf_counter()
    for _ in range(batches):
        model.run(pixels, tags)
    return batches * batch_size / (time.perf_counter() - started)


def measure_annotate(folder: pathlib.Path, directory: pathlib.Path) -> tuple[float, float]:
    """Runs `annotate` on a folder, and returns the seconds to the first keyword and to the end.

    Both contain the start of the process. The files are in the memory of the system, which has just written
    or read them.
    """
    command = [sys.executable, "-m", "msmm.annotate", str(folder), f"--model={directory}"]
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        process.stdout.readline()
        first = time.perf_counter() - started
        process.stdout.read()
    return first, time.perf_counter() - started
