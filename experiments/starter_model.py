"""Builds the starter model of the package from photographs in the layout of MSCOCO.

    python -m experiments.starter_model --raw_dir=coco
    python -m experiments.starter_model --raw_dir=coco --output=/tmp/starter --textual_units=256

RAW_DIR has annotations/ (instances_*.json and captions_*.json of train and val) and the photographs, such as
train2014/ and val2014/. The command

1. packs the photographs with all candidate labels,
2. chooses the nouns that a linear classifier on the frozen trunk ranks well on held-out photographs,
3. packs the photographs again with the chosen labels,
4. trains all stages on the frozen trunk, and fits the default counting for precision,
5. writes the converted model with its model card.

No photograph is written. An interrupted build continues when the command is repeated.

Held-out photographs are chosen by --seed. With the seed of the run that fine-tuned the trunk on the same
photographs, they trained neither the trunk nor the model.
"""

import dataclasses
import pathlib

from absl import flags

from experiments.starter.settings import SETTINGS
from msmm import configs, run_flags
from msmm.core import command_line
from msmm.core.errors import UserError

CANDIDATES, LABELS = "starter_candidates", "starter"  # names of the packed data sets

_RAW_DIR = flags.DEFINE_string("raw_dir", None, "Folder in the layout of MSCOCO.", required=True)
_YEAR = flags.DEFINE_enum("year", None, ["2014", "2017"], "Which year, where the files of two are there.")
_OUTPUT = flags.DEFINE_string("output", "msmm/starter", "The model directory to write; it is replaced.")
_DATA_DIR = flags.DEFINE_string("data_dir", "data", "Where the packed data sets go.")
_WORKDIR = flags.DEFINE_string("workdir", "runs/starter", "Where the trainings go.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of weights, order and held-out images.", lower_bound=0)
_NUM_TAGS = flags.DEFINE_integer("num_tags", 1000, "Number of tags, the most frequent ones.", lower_bound=0)
_LEAST_AP = flags.DEFINE_float(
    "least_ap", 24.0, "Least held-out average precision of a noun, percent.", lower_bound=0, upper_bound=100
)
_LEAST_PHOTOGRAPHS = flags.DEFINE_integer(
    "least_photographs", 50, "Least number of training photographs of a noun.", lower_bound=1
)
_OBJECT_PRECISION = flags.DEFINE_float(
    "object_precision",
    80.0,
    "Held-out precision of written objects, percent.",
    lower_bound=0,
    upper_bound=100,
)
_NOUN_PRECISION = flags.DEFINE_float(
    "noun_precision",
    45.0,
    "The same of nouns, by captions, which name a part of what a photograph shows.",
    lower_bound=0,
    upper_bound=100,
)
run_flags.define_setting_flags()


def main() -> None:
    raw_dir, output = pathlib.Path(_RAW_DIR.value), pathlib.Path(_OUTPUT.value)
    if not raw_dir.is_dir():
        raise UserError(f"expected a folder with MSCOCO in --raw_dir. Received: {raw_dir}")
    if output.exists() and not (output / "model.json").is_file():
        raise UserError(f"{output} exists and is no model directory: name another --output")
    config = configs.replace_flat(
        configs.get_config("coco_photos_frozen"), SETTINGS | run_flags.given_settings()
    )
    command_line.import_tensorflow()
    from experiments.starter import choosing, packaging
    from experiments.starter.labels import NOUNS
    from msmm.core.files import write_json
    from msmm.training import stages
    from msmm.training.run import Run
    from msmm.training.stage_table import PAPER_STAGES

    workdir = pathlib.Path(_WORKDIR.value)
    dataset = _pack(CANDIDATES, tuple(NOUNS))
    run = Run(workdir / "candidates", dataset, config, _SEED.value)
    candidates = choosing.choose_nouns(run, _LEAST_AP.value, _LEAST_PHOTOGRAPHS.value)
    rule = {"least AP": _LEAST_AP.value, "least photographs": _LEAST_PHOTOGRAPHS.value}
    write_json(
        workdir / "nouns.json", {"rule": rule, "candidates": [dataclasses.asdict(c) for c in candidates]}
    )
    for candidate in candidates:
        ap = "none" if candidate.ap is None else f"{candidate.ap:.1f}"
        kept = "kept" if candidate.kept else ""
        print(f"{candidate.label:>20} {candidate.photographs:>7,} photographs  AP {ap:>5}  {kept}")

    kept = {candidate.label for candidate in candidates if candidate.kept}
    dataset = _pack(LABELS, tuple(noun for noun in NOUNS if noun in kept))
    run = Run(workdir / "model", dataset, config, _SEED.value)
    for stage in PAPER_STAGES:
        stages.train(run, stage)
    targets = packaging.Targets(_OBJECT_PRECISION.value / 100, _NOUN_PRECISION.value / 100)
    figures = packaging.package(run, output, candidates, rule, targets)
    for inputs, measured in figures.items():
        for name, value in measured["default"].items():
            if "objects" in name or "nouns" in name or "labels" in name:
                print(f"{inputs}: {name} {value:.1f}")
    print(f"wrote {output}: {len(dataset.labels)} labels, {len(dataset.tags):,} tags")


def _pack(name: str, nouns: tuple[str, ...]):
    """Opens the data set with the objects and these nouns as labels, and packs it where that is not done."""
    from experiments.starter.labels import NOUNS
    from experiments.starter.photographs import StarterPhotographs
    from msmm.data import records
    from tfrecords_tools.packing import builder

    data_dir = pathlib.Path(_DATA_DIR.value)
    options = {"raw_dir": _RAW_DIR.value, "year": _YEAR.value, "nouns": nouns, "num_tags": _NUM_TAGS.value}
    if (data_dir / name).exists():
        dataset = records.open_dataset(data_dir, name)
        if tuple(label for label in dataset.labels if label in NOUNS) == nouns:
            print(f"{data_dir / name} is packed already")
            return dataset
    # Photographs without a label stay: whatever is written for them is wrong.
    builder.pack(StarterPhotographs, name, data_dir, overwrite=True, drop_unlabelled=False, **options)
    return records.open_dataset(data_dir, name)


if __name__ == "__main__":
    command_line.run(main)
