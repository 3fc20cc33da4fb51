"""Annotates photographs as msmm.annotate does, in an Apache Beam pipeline: on many machines, or one.

The lines are those of msmm.annotate --format=json, in no order, in files OUTPUT-….jsonl; what was skipped is
in OUTPUT.skipped-….jsonl. Photographs and model must be under the same paths on every machine.

  python -m msmm.annotate_beam photos --model=runs/scenes/seed0/model --output=annotations
  python -m msmm.annotate_beam photos --model=MODEL --output=annotations \\
      --beam_options=direct_num_workers=0,direct_running_mode=multi_processing
"""

import glob
import json
import pathlib
import sys

from absl import flags

from msmm.core import command_line
from msmm.core.errors import UserError

_MODEL = flags.DEFINE_string("model", None, "A model directory, as runs/scenes/seed0/model.", required=True)
_OUTPUT = flags.DEFINE_string("output", None, "How the names of the files begin.", required=True)
_TAGS = flags.DEFINE_string("tags", "", "Tags of every photograph, a,b,c or a;b;c.")
_NEAREST_TAGS = flags.DEFINE_float("nearest_tags", None, "See msmm.annotate.", 0, 1)
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
    if there := glob.glob(f"{glob.escape(_OUTPUT.value)}*.jsonl"):
        raise UserError(f"{there[0]} is there already: name another --output, or delete it")
    from msmm.photos import finding, word_vectors

    if _NEAREST_TAGS.value is not None:
        word_vectors.require()
    from msmm.core import beam

    found = list(finding.find(paths, sys.stdin.buffer))
    photographs = [path for path, cause in found if not cause]
    if not photographs:
        raise UserError(f"no photographs in {', '.join(map(repr, paths))}")
    runner, options = beam.runner_and_options(_RUNNER.value, _OPTIONS.value)
    command_line.import_tensorflow()
    from msmm.inference import engines
    from msmm.photos import batches
    from msmm.quantities.registry import BEST

    model = engines.load(_MODEL.value, _ENGINE.value, _PRECISION.value)  # converted once, for all
    model.estimators(_QUANTITY.value)  # raises where it has no such one
    skipped = [(path, cause) for path, cause in found if cause]
    rule = None if _QUANTITY.value == BEST else _QUANTITY.value
    skipped += _run(runner, options, photographs, model.image_size, batches.name(model, rule))
    for path, cause in skipped:
        print(f"skipped {path!r}: {cause}", file=sys.stderr)
    print(f"{len(found) - len(skipped):,} photographs annotated; {len(skipped):,} skipped", file=sys.stderr)
    if skipped:
        sys.exit(1)


def _run(runner, options, paths: list[str], size: int, name: str) -> list[tuple[str, str]]:
    """Runs the pipeline, and returns what it skipped, and why."""
    import apache_beam as beam

    from msmm.photos import keywords
    from msmm.photos.beam import Settings, annotate

    words = tuple(keywords.separated(_TAGS.value))
    settings = Settings(
        _MODEL.value, _ENGINE.value, _PRECISION.value, size, words, _QUANTITY.value, _NEAREST_TAGS.value
    )
    with beam.Pipeline(runner=runner, options=options) as pipeline:
        annotate(pipeline, paths, settings, name, _OUTPUT.value)
    lines = [
        json.loads(line)
        for file in glob.glob(f"{glob.escape(_OUTPUT.value)}.skipped-*.jsonl")
        for line in pathlib.Path(file).read_text(encoding="utf-8").splitlines()
    ]
    return sorted((line["path"], line["cause"]) for line in lines)


if __name__ == "__main__":
    command_line.run(main, positional=True)
