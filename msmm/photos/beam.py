"""Photographs through the model in an Apache Beam pipeline, which may run on many machines; needs [beam].

Every machine of the runner must have this package, and find photographs and model under the same paths.
"""

import dataclasses
import json
from collections.abc import Iterable, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.ml.inference.base import ModelHandler, RunInference

from msmm.inference import engines
from msmm.inference.model_dir import Model
from msmm.photos import batches, outputs, reading, word_vectors
from msmm.photos.keywords import Tags


@dataclasses.dataclass(frozen=True)
class Settings:
    """directory, engine, precision: see `engines.load`. size: of the model's square input, pixels. words:
    keywords that every photograph has. quantity: see `Model.annotate`. nearest: the threshold of
    `word_vectors.nearest`."""

    directory: str
    engine: str
    precision: str
    size: int
    words: tuple[str, ...] = ()
    quantity: str | None = None
    nearest: float | None = None


def annotate(
    pipeline: beam.Pipeline, paths: Sequence[str], settings: Settings, name: str, output: str
) -> None:
    """Writes what `outputs.json_line` makes of every photograph to `output`-….jsonl, in no order, and
    {"path", "cause"} of those that are skipped to `output`.skipped-….jsonl. name: see `batches.name`."""
    prepared = (
        pipeline
        | "Paths" >> beam.Create(paths)
        | "Spread" >> beam.Reshuffle()
        | "Prepare" >> beam.Map(_prepare, settings.size)
    )
    _ = (
        prepared
        | "Usable" >> beam.Filter(_is_usable)
        | "Annotate" >> RunInference(_Handler(settings))
        | "JSON" >> beam.Map(outputs.json_line, name)
        | "Write" >> beam.io.WriteToText(output, ".jsonl")
    )
    _ = (
        prepared
        | "Unusable" >> beam.Filter(_is_unusable)
        | "Causes" >> beam.MapTuple(_cause)
        | "List" >> beam.io.WriteToText(f"{output}.skipped", ".jsonl", skip_if_empty=True)
    )


class _Handler(ModelHandler[tuple[str, reading.Photo], outputs.Annotated, Model]):
    def __init__(self, settings: Settings):
        super().__init__(max_batch_size=batches.BATCH)
        self._settings = settings

    def load_model(self) -> Model:
        return engines.load(self._settings.directory, self._settings.engine, self._settings.precision)

    def run_inference(
        self,
        batch: Sequence[tuple[str, reading.Photo]],
        model: Model,
        inference_args: dict[str, Any] | None = None,
    ) -> Iterable[outputs.Annotated]:
        words, quantity = self._settings.words, self._settings.quantity
        tags = Tags(model.tags, word_vectors.nearest(model.tags, self._settings.nearest))
        return batches.answers(model, tags, batch, words, quantity)


def _prepare(path: str, size: int) -> tuple[str, reading.Photo | reading.Passed]:
    return path, reading.prepare(path, size, False, False, False)


def _is_usable(prepared: tuple) -> bool:
    return isinstance(prepared[1], reading.Photo)


def _is_unusable(prepared: tuple) -> bool:
    return not _is_usable(prepared)


def _cause(path: str, passed: reading.Passed) -> str:
    return json.dumps({"path": path, "cause": passed.cause})
