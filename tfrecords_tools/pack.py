"""Packs a raw data set into TFRecords, once, for training and evaluation.

  scenes    pictures that this project draws from a seed; nothing to download
  manifest  your own photographs: a file of JSON lines or CSV. Its fields are image (a path, absolute or
            from the file's folder) and labels. Optional are tags, split (train or test), id and groups
            (side information for --groups). In CSV (UTF-8), commas separate cells, and ; separates the
            labels, tags and groups within a cell.
  library   your own tagged photographs, in folders. The keywords in them and in their sidecars are the
            labels. The words of folder and file names, titles, captions, places and cameras are the tags.
  arrays    labels with tags, features or maps of your own, without photographs: a .npz file (numpy.savez)
            with labels [N, C] of 0 and 1 and any of features [N, D], maps [N, h, w, D], tags [N, T] (or the
            parts of a scipy CSR matrix: tags_data, tags_indices, tags_indptr, tags_shape), ids [N],
            split [N] (train or test), label_names [C] and tag_names [T]
  nus_wide  the official files of NUS-WIDE in --raw_dir, in folders or zip files as they come:
            ImageList, Groundtruth, ConceptsList, NUS_WID_Tags, and the photographs in Flickr/
  openclipart  public-domain drawings with their uploaders' keywords, from Debian's packages
            openclipart-svg and openclipart-png, installed or unpacked in --raw_dir
  mscoco    MSCOCO of 2014 or 2017 in --raw_dir: instances_*.json and captions_*.json of train
            and val and the folders of photographs; or --source=tfds, which downloads it

Writes <data_dir>/<name>/1.0.0/ with a report.json of all that was counted and left out.
JPEG files of upright RGB pixels are kept byte for byte; anything else becomes one.

  python -m tfrecords_tools.pack --dataset=scenes
  python -m tfrecords_tools.pack --dataset=library --photos=Pictures --resize=256
  python -m tfrecords_tools.pack --dataset=manifest --manifest=photos/my_photos.jsonl
  python -m tfrecords_tools.pack --dataset=manifest --manifest=my_photos.csv --resize=256 \\
      --labels_file=labels.txt --num_tags=500
  python -m tfrecords_tools.pack --dataset=manifest --manifest=my_photos.csv --runner=DirectRunner \\
      --beam_options=direct_num_workers=0,direct_running_mode=multi_processing
  python -m tfrecords_tools.pack --dataset=arrays --arrays=features.npz
  python -m tfrecords_tools.pack --dataset=nus_wide --raw_dir=NUS-WIDE --resize=256
  python -m tfrecords_tools.pack --dataset=mscoco --raw_dir=coco
  python -m tfrecords_tools.pack --dataset=openclipart --raw_dir=openclipart --resize=256
  python -m tfrecords_tools.pack --dataset=manifest --manifest=new_photos.csv \\
      --vocabulary_from=data/nus_wide
"""

import dataclasses
import typing

from absl import flags

from msmm.core import command_line
from msmm.core.errors import UserError
from tfrecords_tools.datasets.registry import DATASETS
from tfrecords_tools.packing.raw_dataset import RawDataset, Settings

_DEFINE = {
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    bool: flags.DEFINE_bool,
    str: flags.DEFINE_string,
}


def _define_flags() -> None:
    """Defines a flag, unset by default, for every field of `Settings` and of the data sets."""
    for field in dataclasses.fields(Settings):
        usual = getattr(RawDataset, field.name, field.default)
        own = {name: getattr(kind, field.name, usual) for name, kind in DATASETS.items()}
        others = [f"{name}: {default}" for name, default in own.items() if default != usual]
        _define_flag(field, "; ".join([str(usual), *others]))
    owners: dict[str, tuple[dataclasses.Field, list[str]]] = {}
    for name, kind in DATASETS.items():
        for field in dataclasses.fields(kind):
            owners.setdefault(field.name, (field, []))[1].append(name)
    for field, names in owners.values():
        _define_flag(field, str(field.default) if len(names) == 1 else "", f"{', '.join(names)}: ")


def _define_flag(field: dataclasses.Field, default: str, owners: str = "") -> None:
    default = field.metadata.get("shown", default)
    shown = f" [{default}]" if default not in ("", "None", str(dataclasses.MISSING)) else ""
    help = owners + field.metadata["help"] + shown
    if choices := field.metadata.get("choices"):
        flags.DEFINE_enum(field.name, None, choices, help)
    else:
        kinds = typing.get_args(field.type) or (field.type,)
        define = next(define for kind, define in _DEFINE.items() if kind in kinds)
        define(field.name, None, help)


_define_flags()
_DATASET = flags.DEFINE_enum("dataset", None, list(DATASETS), "What to pack.")
_NAME = flags.DEFINE_string("name", None, "Name to pack it under. [the data set's; the manifest's file's]")
_DATA_DIR = flags.DEFINE_string("data_dir", "data", "Folder of the packed data sets.")
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Pack again what is there; it stays until this is done.")
_RUNNER = flags.DEFINE_string("runner", None, "Pack in an Apache Beam pipeline on this runner.")
_BEAM_OPTIONS = flags.DEFINE_list("beam_options", [], "Beam's own options, as name=value,name=value.")


def main() -> None:
    dataset = _DATASET.value
    if not dataset:
        raise UserError(f"expected --dataset, one of {', '.join(DATASETS)}")
    _check_owners(dataset)
    kind = DATASETS[dataset]
    # An option that is not given takes the default of the data set.
    own, common = (
        {f.name: value for f in dataclasses.fields(x) if (value := flags.FLAGS[f.name].value) is not None}
        for x in (kind, Settings)
    )
    _check_flags(kind, {**own, **common})
    command_line.import_tensorflow()
    from tfrecords_tools.packing import builder

    builder.pack(
        kind,
        _NAME.value or kind(**own).default_name() or dataset,
        _DATA_DIR.value,
        overwrite=_OVERWRITE.value,
        runner=_RUNNER.value,
        beam_options=_BEAM_OPTIONS.value,
        **own,
        **common,
    )


def _check_owners(dataset: str) -> None:
    """Raises UserError where a flag is given that belongs to other data sets."""
    owned = {name: {field.name for field in dataclasses.fields(kind)} for name, kind in DATASETS.items()}
    for name, kind in DATASETS.items():
        owned[name] |= {"name"} if kind.renamable else set()
    for name in sorted(set.union(*owned.values()) - owned[dataset]):
        if flags.FLAGS[name].present:
            owners = " or ".join(other for other, own in owned.items() if name in own)
            raise UserError(f"--{name} belongs to --dataset={owners}, not to {dataset}")


def _check_flags(kind: type[RawDataset], given: dict) -> None:
    """Checks what can be checked before TensorFlow is imported, which takes seconds."""
    fields = (*dataclasses.fields(kind), *dataclasses.fields(Settings))
    for field in fields:
        if field.default is dataclasses.MISSING and not given.get(field.name):
            raise UserError(f"expected --{field.name}={field.metadata['required']}")
    if _BEAM_OPTIONS.value and not _RUNNER.value:
        raise UserError("expected --runner, the Beam runner that --beam_options are for")
    if "vocabulary_from" in given:
        for field in fields:
            if field.metadata.get("vocabulary") and flags.FLAGS[field.name].present:
                raise UserError(f"--vocabulary_from gives the labels and tags: leave --{field.name} out")
        from tfrecords_tools.packing import vocabulary

        vocabulary.check_reusable(given["vocabulary_from"], _DATA_DIR.value)


if __name__ == "__main__":
    command_line.run(main)
