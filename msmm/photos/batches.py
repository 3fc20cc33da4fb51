"""Photographs through the model, batch by batch: decoded ahead in processes, answers to an output."""

import collections
import contextlib
import dataclasses
import hashlib
import itertools
import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from msmm.core import workers
from msmm.core.progress import ProgressBar, write_line
from msmm.inference.model_dir import Model
from msmm.photos import reading, sidecars, word_vectors
from msmm.photos.keywords import Tags
from msmm.photos.outputs import Annotated, shown
from msmm.quantities.counting_rules import CountingRule

BATCH = 32
MAX_WORDS = 10_000  # of which it is counted how often they were not known


@dataclasses.dataclass
class Summary:
    """What was done: photographs annotated, done before and by which model, skipped by cause, and
    how many of them had each keyword that the model does not know; of near, (keyword, the tag as which it
    was read)."""

    annotated: int = 0
    done_before: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    skipped: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    unknown: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    near: collections.Counter = dataclasses.field(default_factory=collections.Counter)


def name(model: Model, rule: str | None = None) -> str:
    """What is remembered of who annotated: a name for people, a hash of what the model says of itself, and
    the counting rule, such as "top_k=3", where it is not the model's own."""
    content = json.dumps([model.info, model.labels, model.tags], sort_keys=True)
    said = f"{model.info.get('dataset', 'model')} {hashlib.sha256(content.encode()).hexdigest()[:12]}"
    return f"{said} {rule}" if rule else said


def annotate(
    model: Model,
    found: Sequence[tuple[str, str | None]],
    output: Any,
    *,
    prepare: Sequence,
    words: Iterable[str] = (),
    quantity: str | CountingRule | None = None,
    nearest: float | None = None,
    num_workers: int | None = None,
) -> Summary:
    """Annotates photographs, in their order; memory does not grow with their number.

    found: what `finding.find` gives. output: one of `outputs` or a gallery. prepare: the arguments
    of `photos.prepare` after the path. words: keywords that every photograph has.
    quantity: see `Model.annotate`. nearest: the threshold of `word_vectors.nearest`.
    num_workers: processes that decode, by default one a core.

    What is skipped is said on standard error as it happens.
    """
    tags, summary = Tags(model.tags, word_vectors.nearest(model.tags, nearest)), Summary()
    bar = ProgressBar(description="annotating", total=len(found), unit="photographs", leave=True)

    def skip(path: str, cause: str) -> None:
        summary.skipped[cause] += 1
        write_line(f"skipped {shown(path)}: {cause}", sys.stderr)

    def wanted():
        for path, cause in found:
            if cause:
                bar.update()
                skip(path, cause)
            elif (by := output.done(path)) is not None:
                bar.update()
                summary.done_before[by] += 1
            else:
                yield path, path

    def usable(prepared):
        for path, photo in prepared:
            bar.update()
            if isinstance(photo, reading.Photo):
                yield path, photo
            elif photo.done_by:
                summary.done_before[photo.done_by] += 1
            else:
                skip(path, photo.cause)

    with output, workers.Workers(num_workers) as pool, contextlib.closing(bar):
        ready = usable(pool.map(reading.prepare, wanted(), *prepare))
        while batch := list(itertools.islice(ready, BATCH)):
            for answer in answers(model, tags, batch, words, quantity):
                try:
                    line = output.write(answer)
                except sidecars.CannotWrite as error:
                    skip(answer.path, str(error))
                    continue
                if line is not None:
                    write_line(line)
                summary.annotated += 1
                for counts, said in (summary.unknown, answer.unknown), (summary.near, answer.near.items()):
                    counts.update(word for word in said if word in counts or len(counts) < MAX_WORDS)
    return summary


def answers(
    model: Model,
    tags: Tags,
    batch: Sequence[tuple[str, reading.Photo]],
    words: Iterable[str],
    quantity: str | CountingRule | None,
) -> list[Annotated]:
    """What the model says of a batch of paths and photographs; see `annotate`."""
    split = [tags.split([*photo.words, *words]) for _, photo in batch]
    said = model.annotate([photo.pixels for _, photo in batch], [known for known, *_ in split], quantity)
    return [
        _annotated(model, path, photo, words, annotation)
        for (path, photo), words, annotation in zip(batch, split, said, strict=True)
    ]


def _annotated(model, path, photo, words, annotation) -> Annotated:
    known, unknown, near = words
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
        near=near,
    )
