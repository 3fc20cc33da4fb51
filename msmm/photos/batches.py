"""Runs photographs through the model, batch by batch: decoded ahead in processes, written to an output."""

import collections
import contextlib
import dataclasses
import hashlib
import itertools
import json
import sys
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from msmm.core import workers
from msmm.core.progress import ProgressBar, write_line
from msmm.inference.model import Annotation, Model
from msmm.photos import reading, sidecars
from msmm.photos.formats import Annotated, escape_unprintable
from msmm.photos.keywords import Tags
from msmm.photos.outputs import Output
from msmm.quantities.counting_rules import CountingRule

BATCH = 32
MAX_WORDS = 10_000  # whose occurrences are counted


@dataclasses.dataclass
class Summary:
    """Counts of photographs: annotated; done before, by model; skipped, by cause; with unread metadata, by
    cause; and with each keyword that the model does not know."""

    annotated: int = 0
    done_before: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    skipped: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    unread: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    unknown: collections.Counter = dataclasses.field(default_factory=collections.Counter)


@dataclasses.dataclass(frozen=True)
class Counting:
    """The inputs beside the pixels that decide the labels.

    words: keywords that every photograph has. quantity: the counting rule, see `Model.annotate`.
    """

    words: tuple[str, ...] = ()
    quantity: str | CountingRule | None = None


def name_annotator(model: Model, rule: str | None = None) -> str:
    """Returns the name under which annotations are remembered: a name for people, a hash of the model's
    description, and the counting rule, such as "top_k=3", where it is not the model's own."""
    content = json.dumps([model.info, model.labels, model.tags], sort_keys=True)
    name = f"{model.info.get('dataset', 'model')} {hashlib.sha256(content.encode()).hexdigest()[:12]}"
    return f"{name} {rule}" if rule else name


def annotate_photographs(
    model: Model,
    found: Sequence[tuple[str, str | None]],
    output: Output,
    *,
    preparation: reading.Preparation,
    counting: Counting = Counting(),
    num_workers: int | None = None,
) -> Summary:
    """Annotates photographs, in their order; memory does not grow with their number.

    What is skipped, and metadata that is not read, is reported on standard error as it happens.

    Args:
      model: a loaded model.
      found: what a `finding.Finder` yields.
      output: where the annotations go.
      preparation: how photographs are read.
      counting: what decides the labels besides the pixels.
      num_workers: processes that decode, by default one a core.
    """
    tags, summary = Tags(model.tags), Summary()
    bar = ProgressBar(description="annotating", total=len(found), unit="photographs", leave=True)

    def skip(path: str, cause: str) -> None:
        summary.skipped[cause] += 1
        write_line(f"skipped {escape_unprintable(path)}: {cause}", sys.stderr)

    def select() -> Iterator[tuple[str, str]]:
        for path, cause in found:
            if cause:
                bar.update()
                skip(path, cause)
            elif (by := output.find_annotator(path)) is not None:
                bar.update()
                summary.done_before[by] += 1
            else:
                yield path, path

    def keep(prepared: Iterable[tuple]) -> Iterator[tuple[str, reading.Photo]]:
        for path, photo in prepared:
            bar.update()
            if isinstance(photo, reading.Photo):
                yield path, photo
            elif photo.done_by:
                summary.done_before[photo.done_by] += 1
            else:
                skip(path, photo.cause)

    def write(annotated: Annotated) -> None:
        try:
            line = output.write(annotated)
        except sidecars.CannotWrite as error:
            skip(annotated.path, str(error))
            return
        if line is not None:
            write_line(line)
        summary.annotated += 1
        for cause in annotated.problems:
            summary.unread[cause] += 1
            write_line(f"keywords of {escape_unprintable(annotated.path)} not read: {cause}", sys.stderr)
        counts = summary.unknown
        counts.update(word for word in annotated.unknown if word in counts or len(counts) < MAX_WORDS)

    with output, workers.Workers(num_workers) as pool, contextlib.closing(bar):
        ready = keep(pool.map(reading.prepare_photo, select(), preparation))
        while batch := list(itertools.islice(ready, BATCH)):
            for annotated in annotate_batch(model, tags, batch, counting):
                write(annotated)
    return summary


def annotate_batch(
    model: Model, tags: Tags, batch: Sequence[tuple[str, reading.Photo]], counting: Counting
) -> list[Annotated]:
    """Annotates a batch of paths and photographs; see `annotate_photographs`."""
    split = [_split_words(tags, photo, counting.words) for _, photo in batch]
    annotations = model.annotate(
        [photo.pixels for _, photo in batch], [known for known, _ in split], counting.quantity
    )
    return [
        _join(model, path, photo, words, annotation)
        for (path, photo), words, annotation in zip(batch, split, annotations, strict=True)
    ]


def _split_words(tags: Tags, photo: reading.Photo, words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Returns the tags of a photograph, its context among them, and the keywords that are no tag."""
    known, unknown = tags.split([*photo.keywords.words, *words], photo.keywords.paths)
    return list(dict.fromkeys([*known, *tags.split(photo.context)[0]])), unknown


def _join(
    model: Model,
    path: str,
    photo: reading.Photo,
    words: tuple[list[str], list[str]],
    annotation: Annotation,
) -> Annotated:
    known, unknown = words
    order = np.argsort(-annotation.probabilities, kind="stable")
    return Annotated(
        path=path,
        labels=annotation.labels,
        probabilities={model.labels[i]: float(annotation.probabilities[i]) for i in order},
        quantity=annotation.quantity,
        tags=known,
        unknown=unknown,
        embedded=photo.embedded,
        thumbnail=photo.thumbnail,
        problems=photo.keywords.problems,
    )
