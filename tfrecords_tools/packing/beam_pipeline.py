"""Packing in an Apache Beam pipeline, which may run on many machines; needs the extra [beam].

The rows are written to numbered files beside the records first, so that the pipeline itself stays small.
Every machine of the runner must find these and the images under the same paths.
"""

import itertools
import json
import pathlib
import pickle
from collections.abc import Iterable, Iterator

from msmm.core import images
from msmm.data import records

ROWS = 256  # per file
BROKEN = "broken.json"


def examples(rows: Iterable[tuple[dict, bytes | pathlib.Path]], short_side: int | None, folder: pathlib.Path):
    """Returns a transform that yields `keyed` of every row whose image is whole.

    Args:
        rows: examples without their images, and the images.
        short_side: as in `images.to_jpeg`.
        folder: a new folder for the rows, and for the file that `broken` reads after the pipeline has run.
    """
    import apache_beam as beam

    files = _write_rows(rows, folder)

    @beam.ptransform_fn
    def check(pipeline):
        checked = (
            pipeline
            | "Files" >> beam.Create(files)
            | "Spread" >> beam.Reshuffle()
            | "Rows" >> beam.FlatMap(_read_rows)
            | "Check" >> beam.Map(_check, short_side)
        )
        _ = (
            checked
            | "Broken" >> beam.Filter(_is_broken)
            | "Causes" >> beam.Map(lambda row: (row[0][records.IMAGE_ID], row[1]))
            | "All" >> beam.combiners.ToList()
            | "List" >> beam.Map(_write_json, str(folder / BROKEN))
        )
        return checked | "Whole" >> beam.Filter(_is_whole) | "Key" >> beam.MapTuple(keyed)

    return check()


def keyed(example: dict, image: bytes) -> tuple[bytes, dict]:
    """Returns a whole example as TFDS expects it, with the id as its key."""
    # The key is bytes: as texts, TFDS would take a\b and a/b for the same key.
    return example[records.IMAGE_ID].encode(), {**example, records.IMAGE: image}


def broken(folder: pathlib.Path) -> list[tuple[str, str]]:
    """Returns the ids of the broken images and their causes; none where the pipeline did not get that far."""
    path = folder / BROKEN
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else []


def _write_rows(rows: Iterable[tuple[dict, bytes | pathlib.Path]], folder: pathlib.Path) -> list[str]:
    folder.mkdir(parents=True)
    rows, files = iter(rows), []
    while some := list(itertools.islice(rows, ROWS)):
        some = [(row, image if isinstance(image, bytes) else image.absolute()) for row, image in some]
        files.append(str(folder.absolute() / f"rows-{len(files):06d}.pickle"))
        pathlib.Path(files[-1]).write_bytes(pickle.dumps(some))
    return files


def _read_rows(file: str) -> Iterator[tuple[dict, bytes | pathlib.Path]]:
    yield from pickle.loads(pathlib.Path(file).read_bytes())


def _check(row: tuple[dict, bytes | pathlib.Path], short_side: int | None) -> tuple[dict, bytes | str]:
    example, image = row
    try:
        return example, images.to_jpeg(image, short_side)
    except images.BrokenImage as error:
        return example, str(error)


def _is_broken(row: tuple[dict, bytes | str]) -> bool:
    return isinstance(row[1], str)


def _is_whole(row: tuple[dict, bytes | str]) -> bool:
    return not _is_broken(row)


def _write_json(content: list, path: str) -> None:
    pathlib.Path(path).write_text(json.dumps(content), encoding="utf-8")
