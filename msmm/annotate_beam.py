"""Annotates photographs as msmm.annotate does, in an Apache Beam pipeline: on many machines, or one.

The lines are the same as with msmm.annotate --format=json, in no order, in files OUTPUT-….jsonl. Skipped
files are listed in OUTPUT.skipped-….jsonl, and keywords that were not read in OUTPUT.unread-….jsonl.
Photographs and model must be under the same paths on every machine.

  python -m msmm.annotate_beam photos --model=runs/scenes/seed0/model --output=annotations
  python -m msmm.annotate_beam photos --model=MODEL --output=annotations \\
      --beam_options=direct_num_workers=0,direct_running_mode=multi_processing
"""

import glob
import json
import os
import pathlib
import sys

from absl import flags

from msmm.core import command_line, files
from msmm.core.errors import UserError

_MODEL = flags.DEFINE_string("model", None, "A model directory, as runs/scenes/seed0/model.", required=True)
_OUTPUT = flags.DEFINE_string("output", None, "How the names of the files begin.", required=True)
_TAGS = flags.DEFINE_string("tags", "", "Tags of every photograph, a,b,c or a;b;c.")
_EXCLUDE = flags.DEFINE_multi_string("exclude", [], "See msmm.annotate.")
_QUANTITY = flags.DEFINE_string(
    "quantity", None, "How many labels: best, regression or another of the model's. [as the model's own]"
)
_ENGINE = flags.DEFINE_string("engine", "auto", "What runs the network; see msmm.annotate.")
_PRECISION = flags.DEFINE_string("precision", "float32", "What it computes in; see msmm.annotate.")
_RUNNER = flags.DEFINE_string("runner", "DirectRunner", "Beam's runner.")
_OPTIONS = flags.DEFINE_list("beam_options", [], "Beam's own options, as name=value,name=value.")


def main(paths: list[str]) -> None:
    if not paths:
        raise UserError("expected a PATH: a photograph or a folder")
    if existing := glob.glob(f"{glob.escape(_OUTPUT.value)}*.jsonl"):
        raise UserError(f"{existing[0]} exists already: name another --output, or delete it")
    files.check_folder(os.path.dirname(_OUTPUT.value), "name another --output")
    from msmm.core import beam
    from msmm.photos import finding, keywords, reading

    finder = finding.Finder(paths, getattr(sys.stdin, "buffer", None), _EXCLUDE.value)
    found = list(finder)
    photographs = [path for path, cause in found if not cause]
    if not photographs:
        raise UserError(
            f"no photographs in {', '.join(map(repr, paths))}{finder.describe_left_out(' (', ')')}"
        )
    runner, options = beam.runner_and_options(_RUNNER.value, _OPTIONS.value)
    command_line.import_tensorflow()
    from msmm.inference import engines
    from msmm.photos import batches
    from msmm.photos.beam import PipelineSettings
    from msmm.quantities.registry import BEST

    model = engines.load(_MODEL.value, _ENGINE.value, _PRECISION.value)  # converted once, for all
    model.counting_rules(_QUANTITY.value)  # raises where it has no such one
    skipped = [(path, cause) for path, cause in found if cause]
    rule = None if _QUANTITY.value == BEST else _QUANTITY.value
    settings = PipelineSettings(
        _MODEL.value,
        _ENGINE.value,
        _PRECISION.value,
        reading.Preparation(model.image_size, with_context=model.reads_context),
        batches.Counting(tuple(keywords.separate(_TAGS.value)), _QUANTITY.value),
        batches.name_annotator(model, rule),
    )
    _run_pipeline(runner, options, photographs, settings)
    skipped += _read_causes("skipped")
    unread = _read_causes("unread")
    print(finder.describe_left_out(end="\n"), end="", file=sys.stderr)
    for path, cause in skipped:
        print(f"skipped {path!r}: {cause}", file=sys.stderr)
    for path, cause in unread:
        print(f"keywords of {path!r} not read: {cause}", file=sys.stderr)
    print(f"{len(found) - len(skipped):,} photographs annotated; {len(skipped):,} skipped", file=sys.stderr)
    if skipped:
        sys.exit(1)


def _run_pipeline(runner, options, paths: list[str], settings) -> None:
    import apache_beam as beam

    from msmm.photos.beam import build_pipeline

    with beam.Pipeline(runner=runner, options=options) as pipeline:
        build_pipeline(pipeline, paths, settings, _OUTPUT.value)


def _read_causes(kind: str) -> list[tuple[str, str]]:
    """Returns path and cause of each line that the pipeline wrote to OUTPUT.`kind`-….jsonl, sorted."""
    lines = [
        json.loads(line)
        for file in glob.glob(f"{glob.escape(_OUTPUT.value)}.{kind}-*.jsonl")
        for line in pathlib.Path(file).read_text(encoding="utf-8").splitlines()
    ]
    return sorted((line["path"], line["cause"]) for line in lines)


if __name__ == "__main__":
    command_line.run(main, positional=True)
