"""Annotates photographs in an Apache Beam pipeline, which may run on many machines; needs [beam].

Every machine of the runner must have this package, and find photographs and model under the same paths.
"""

import dataclasses
import json
from collections.abc import Iterable, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.ml.inference.base import ModelHandler, RunInference

from msmm.core import command_line
from msmm.inference import engines
from msmm.inference.model import Model
from msmm.photos import annotation_lines, batches, reading
from msmm.photos.keywords import Tags


@dataclasses.dataclass(frozen=True)
class PipelineSettings:
    """Settings of an annotation pipeline.

    directory, engine, precision: see `engines.load`. preparation: how photographs are read. counting: what
    decides the labels besides the pixels. annotator: see `batches.name_annotator`.
    """

    directory: str
    engine: str
    precision: str
    preparation: reading.Preparation
    counting: batches.Counting
    annotator: str


def build_pipeline(
    pipeline: beam.Pipeline, paths: Sequence[str], settings: PipelineSettings, output: str
) -> None:
    """Adds the steps that annotate photographs.

    The lines of `annotation_lines.json_line` go to `output`-….jsonl, in no order. {"path", "cause"} of the
    skipped go to `output`.skipped-….jsonl, and of keywords that were not read to `output`.unread-….jsonl.
    """
    prepared = (
        pipeline
        | "Paths" >> beam.Create(paths)
        | "Spread" >> beam.Reshuffle()
        | "Prepare" >> beam.Map(_prepare, settings.preparation)
    )
    annotated = (
        prepared | "Usable" >> beam.Filter(_is_usable) | "Annotate" >> RunInference(_Handler(settings))
    )
    _ = (
        annotated
        | "JSON" >> beam.Map(annotation_lines.json_line, settings.annotator)
        | "Write" >> beam.io.WriteToText(output, ".jsonl")
    )
    _ = (
        annotated
        | "Problems" >> beam.FlatMap(_list_problems)
        | "List problems" >> beam.io.WriteToText(f"{output}.unread", ".jsonl", skip_if_empty=True)
    )
    _ = (
        prepared
        | "Unusable" >> beam.Filter(_is_unusable)
        | "Causes" >> beam.MapTuple(lambda path, skipped: _format_cause(path, skipped.cause))
        | "List" >> beam.io.WriteToText(f"{output}.skipped", ".jsonl", skip_if_empty=True)
    )


class _Handler(ModelHandler[tuple[str, reading.Photo], annotation_lines.Annotated, Model]):
    def __init__(self, settings: PipelineSettings):
        super().__init__(max_batch_size=batches.BATCH)
        self._settings = settings

    def load_model(self) -> Model:
        settings, prepare = self._settings, command_line.import_tensorflow
        return engines.load(settings.directory, settings.engine, settings.precision, prepare)

    def run_inference(
        self,
        batch: Sequence[tuple[str, reading.Photo]],
        model: Model,
        inference_args: dict[str, Any] | None = None,
    ) -> Iterable[annotation_lines.Annotated]:
        return batches.annotate_batch(model, Tags(model.tags), batch, self._settings.counting)


def _prepare(path: str, preparation: reading.Preparation) -> tuple[str, reading.Photo | reading.Skipped]:
    return path, reading.prepare_photo(path, preparation)


def _is_usable(prepared: tuple) -> bool:
    return isinstance(prepared[1], reading.Photo)


def _is_unusable(prepared: tuple) -> bool:
    return not _is_usable(prepared)


def _list_problems(annotated: annotation_lines.Annotated) -> list[str]:
    return [_format_cause(annotated.path, cause) for cause in annotated.problems]


def _format_cause(path: str, cause: str) -> str:
    return json.dumps({"path": path, "cause": cause})
