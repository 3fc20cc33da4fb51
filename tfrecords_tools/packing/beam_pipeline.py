"""Checking and converting images in an Apache Beam pipeline, which may run on many machines; needs [beam].

The rows are written to numbered files beside the records first, and the pipeline writes the results of each
file beside it. The pipeline carries the names of the files alone, so its memory does not grow with the data
set. Every machine of the runner must find these files and the images under the same paths.
"""

import itertools
import pathlib
import pickle
from collections.abc import Iterable, Iterator

from msmm.core import images
from msmm.core.files import write_bytes
from msmm.data import records

ROWS = 256  # per file


def convert(
    rows: Iterable[tuple[dict, bytes | pathlib.Path]],
    short_side: int | None,
    folder: pathlib.Path,
    runner,
    options,
) -> Iterator[tuple[tuple[dict, bytes | pathlib.Path], bytes | str | None]]:
    """Yields every row, and its image as `images.convert_or_explain` returns it, after the pipeline has run.

    Args:
        rows: examples without their images, and the images.
        short_side: as in `images.to_jpeg`.
        folder: a new folder for the files; each is deleted once it is read.
        runner, options: of the pipeline, as `msmm.core.beam.runner_and_options` returns them.
    """
    import apache_beam as beam

    files = _write_rows(rows, folder)
    with beam.Pipeline(runner=runner, options=options) as pipeline:
        names = pipeline | "Files" >> beam.Create(files) | "Spread" >> beam.Reshuffle()
        _ = names | "Check" >> beam.Map(_check_file, short_side)
    for file in files:
        paths = pathlib.Path(file), _results(file)
        yield from zip(*map(_read, paths), strict=True)
        for path in paths:
            path.unlink()


def keyed(example: dict, image: bytes | None = None) -> tuple[bytes, dict]:
    """Returns a whole example as TFDS expects it, with the id as its key; one of arrays has no image."""
    # The key is bytes: as texts, TFDS would take a\b and a/b for the same key.
    content = {} if image is None else {records.IMAGE: image}
    return example[records.IMAGE_ID].encode(), example | content


def _write_rows(rows: Iterable[tuple[dict, bytes | pathlib.Path]], folder: pathlib.Path) -> list[str]:
    folder.mkdir(parents=True)
    rows, files = iter(rows), []
    while some := list(itertools.islice(rows, ROWS)):
        some = [(row, image if isinstance(image, bytes) else image.absolute()) for row, image in some]
        files.append(str(folder.absolute() / f"rows-{len(files):06d}.pickle"))
        pathlib.Path(files[-1]).write_bytes(pickle.dumps(some))
    return files


def _read(path: pathlib.Path) -> list:
    return pickle.loads(path.read_bytes())


def _results(file: str) -> pathlib.Path:
    return pathlib.Path(file).with_suffix(".checked")


def _check_file(file: str, short_side: int | None) -> None:
    """Writes the results of a file of rows; a runner may do so more than once."""
    rows = _read(pathlib.Path(file))
    results = [images.convert_or_explain(image, short_side) for _, image in rows]
    write_bytes(_results(file), pickle.dumps(results))
