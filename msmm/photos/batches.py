"""Runs photographs through the model, batch by batch: decoded ahead in processes, written to an output."""

import collections
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
from msmm.photos.annotation_lines import Annotated, escape_unprintable
from msmm.photos.keywords import Tags
from msmm.photos.outputs import Output
from msmm.quantities.counting_rules import CountingRule

BATCH = 32
FIRST_BATCHES = (1, 8)  # smaller, so that the first keyword does not wait for 32 large photographs
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
      num_workers: processes that decode, by default one per core.
    """
    with output, workers.Workers(num_workers) as pool, _Job(found, output) as job:
        ready = job.keep(pool.map(reading.prepare_photo, job.select(), preparation))
        tags = Tags(model.tags)
        sizes = itertools.chain(FIRST_BATCHES, itertools.repeat(BATCH))
        while batch := list(itertools.islice(ready, next(sizes))):
            for annotated in annotate_batch(model, tags, batch, counting):
                job.write(annotated)
    return job.summary


class _Job:
    """The photographs of one call of `annotate_photographs`, with their counts and the progress bar.

    Attributes:
      summary: the counts so far.
    """

    def __init__(self, found: Sequence[tuple[str, str | None]], output: Output):
        self._found, self._output, self.summary = found, output, Summary()
        self._bar = ProgressBar(description="annotating", total=len(found), unit="photographs", leave=True)

    def __enter__(self) -> "_Job":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def select(self) -> Iterator[tuple[str, str]]:
        """Yields the path of each photograph to annotate, twice: for `Workers.map`."""
        for path, cause in self._found:
            if cause:
                self._bar.update()
                self._skip(path, cause)
            elif (by := self._output.find_annotator(path)) is not None:
                self._bar.update()
                self.summary.done_before[by] += 1
            else:
                yield path, path

    def keep(self, prepared: Iterable[tuple]) -> Iterator[tuple[str, reading.Photo]]:
        """Yields the photographs that were read, and counts the others."""
        for path, photo in prepared:
            self._bar.update()
            if isinstance(photo, reading.Photo):
                yield path, photo
            elif photo.done_by:
                self.summary.done_before[photo.done_by] += 1
            else:
                self._skip(path, photo.cause)

    def write(self, annotated: Annotated) -> None:
        """Writes an annotation, counts it, and reports what was not read."""
        try:
            line = self._output.write(annotated)
        except sidecars.CannotWrite as error:
            self._skip(annotated.path, str(error))
            return
        if line is not None:
            write_line(line)
        self.summary.annotated += 1
        for cause in annotated.problems:
            self.summary.unread[cause] += 1
            write_line(f"keywords of {escape_unprintable(annotated.path)} not read: {cause}", sys.stderr)
        counts = self.summary.unknown
        counts.update(word for word in annotated.unknown if word in counts or len(counts) < MAX_WORDS)

    def _skip(self, path: str, cause: str) -> None:
        self.summary.skipped[cause] += 1
        write_line(f"skipped {escape_unprintable(path)}: {cause}", sys.stderr)


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
