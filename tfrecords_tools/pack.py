"""Packs a raw data set into TFRecords, once, for training and evaluation.

  scenes    pictures that this project draws from a seed; nothing to download
  manifest  your own photographs: a file of JSON lines or CSV with the fields image (a path,
            absolute or from the file's folder), labels, and as you like tags, split (train
            or test), id and groups (side information for --groups). In CSV (UTF-8), commas separate
            cells, and ; separates the labels, tags and groups within a cell.
  nus_wide  the official files of NUS-WIDE in --raw_dir, in folders or zip files as they come:
            ImageList, Groundtruth, ConceptsList, NUS_WID_Tags, and the photographs in Flickr/
  openclipart  public-domain drawings with their uploaders' keywords, from Debian's packages
            openclipart-svg and openclipart-png, installed or unpacked in --raw_dir
  mscoco    MSCOCO of 2014 or 2017 in --raw_dir: instances_*.json and captions_*.json of train
            and val and the folders of photographs; or --source=tfds, which downloads it

Writes <data_dir>/<name>/1.0.0/ with a report.json of all that was counted and left out.
JPEG files of upright RGB pixels are kept byte for byte; anything else becomes one.

  python -m tfrecords_tools.pack --dataset=scenes
  python -m tfrecords_tools.pack --dataset=manifest --manifest=photos/my_photos.jsonl
  python -m tfrecords_tools.pack --dataset=manifest --manifest=my_photos.csv --resize=256 \\
      --labels_file=labels.txt --num_tags=500
  python -m tfrecords_tools.pack --dataset=manifest --manifest=my_photos.csv --runner=DirectRunner \\
      --beam_options=direct_num_workers=0,direct_running_mode=multi_processing
  python -m tfrecords_tools.pack --dataset=nus_wide --raw_dir=NUS-WIDE --resize=256
  python -m tfrecords_tools.pack --dataset=mscoco --raw_dir=coco
  python -m tfrecords_tools.pack --dataset=openclipart --raw_dir=openclipart --resize=256
  python -m tfrecords_tools.pack --dataset=manifest --manifest=new_photos.csv \\
      --vocabulary_from=data/nus_wide
"""

from absl import flags

from msmm.core import command_line
from msmm.core.errors import UserError

COMMON = {
    "resize": flags.DEFINE_integer("resize", None, "Short side, in pixels, of images larger than that."),
    "max_skipped": flags.DEFINE_float(
        "max_skipped",
        None,
        "Fail if a larger share of the images is missing or broken. [0.05; nus_wide: 0.5]",
    ),
    "drop_unlabelled": flags.DEFINE_bool("drop_unlabelled", True, "Leave out images without a known label."),
    "drop_untagged": flags.DEFINE_bool(
        "drop_untagged", None, "Leave out images without a known tag. [false; nus_wide and openclipart: true]"
    ),
    "drop_class_tags": flags.DEFINE_bool("drop_class_tags", False, "Drop tags that equal a class name."),
    "vocabulary_from": flags.DEFINE_string(
        "vocabulary_from", None, "Keep to the labels and tags of this packed data set, as data/mscoco."
    ),
    "workers": flags.DEFINE_integer("workers", None, "Processes that check images. [one a core]"),
    "runner": flags.DEFINE_string("runner", None, "Pack in an Apache Beam pipeline on this runner."),
    "beam_options": flags.DEFINE_list("beam_options", [], "Beam's own options, as name=value,name=value."),
}
SCENES = {
    "num_train": flags.DEFINE_integer("num_train", 4000, "Scenes to train on."),
    "num_test": flags.DEFINE_integer("num_test", 1500, "Scenes to test on."),
    "image_size": flags.DEFINE_integer("image_size", 64, "Side of a scene, in pixels."),
    "scenes_seed": flags.DEFINE_integer("scenes_seed", 0, "The seed that the scenes are drawn from."),
}
_NAME = flags.DEFINE_string("name", None, "Name to pack it under. [the data set's; the manifest's file's]")
_NUM_TAGS = flags.DEFINE_integer("num_tags", 1000, "How many tags to keep, the most frequent ones.")
_RAW_DIR = flags.DEFINE_string(
    "raw_dir", None, "Where the raw data set is. [tfds: where TFDS keeps its data]"
)
MANIFEST = {
    "manifest": flags.DEFINE_string("manifest", None, "The list of photographs (.jsonl or .csv)."),
    "name": _NAME,
    "labels_file": flags.DEFINE_string(
        "labels_file",
        None,
        "All labels, one a line, in the order of their class ids. [those of the train rows]",
    ),
    "tags_file": flags.DEFINE_string(
        "tags_file", None, "All tags to keep, one a line. [the most frequent ones of the train rows]"
    ),
    "num_tags": _NUM_TAGS,
    "test_share": flags.DEFINE_float("test_share", 0.2, "Share to test on where the manifest has no split."),
    "drop_empty_classes": flags.DEFINE_bool(
        "drop_empty_classes", False, "Leave out classes that no image of some split has; decodes twice."
    ),
}
NUS_WIDE = {"raw_dir": _RAW_DIR, "name": _NAME}
OPENCLIPART = {"raw_dir": _RAW_DIR, "name": _NAME}
MSCOCO = {
    "raw_dir": _RAW_DIR,
    "name": _NAME,
    "source": flags.DEFINE_enum("source", "files", ["files", "tfds"], "The official files, or TFDS."),
    "year": flags.DEFINE_enum("year", None, ["2014", "2017"], "Of two years that are there, which."),
    "crowds": flags.DEFINE_bool("crowds", True, "Count objects that are marked as crowds as labels."),
    "num_tags": _NUM_TAGS,
    "keep_stop_words": flags.DEFINE_bool("keep_stop_words", False, "Tags may be words such as with."),
}
DATASETS = {
    "scenes": SCENES,
    "manifest": MANIFEST,
    "nus_wide": NUS_WIDE,
    "mscoco": MSCOCO,
    "openclipart": OPENCLIPART,
}
# What says which labels or tags there are, and so has nothing to say beside --vocabulary_from.
VOCABULARY = (
    "labels_file",
    "tags_file",
    "num_tags",
    "drop_empty_classes",
    "keep_stop_words",
    "drop_class_tags",
)

_DATASET = flags.DEFINE_enum("dataset", None, list(DATASETS), "What to pack.")
_DATA_DIR = flags.DEFINE_string("data_dir", "data", "Folder of the packed data sets.")
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Pack again what is there; it stays until this is done.")


def main() -> None:
    dataset = _DATASET.value
    if not dataset:
        raise UserError(f"expected --dataset, one of {', '.join(DATASETS)}")
    for name in {name for own in DATASETS.values() for name in own} - DATASETS[dataset].keys():
        if flags.FLAGS[name].present:
            owners = " or ".join(other for other, own in DATASETS.items() if name in own)
            raise UserError(f"--{name} belongs to --dataset={owners}, not to {dataset}")
    # What is not given is left to the builder, which may have a default of its own.
    given = {name: flag.value for name, flag in {**COMMON, **DATASETS[dataset]}.items()}
    given = {name: value for name, value in given.items() if value is not None}
    _check(dataset, given)
    command_line.import_tensorflow()
    from tfrecords_tools.datasets import manifest, mscoco, nus_wide, openclipart, scenes
    from tfrecords_tools.packing import builder

    builders = {
        "scenes": scenes.Scenes,
        "manifest": manifest.Manifest,
        "nus_wide": nus_wide.NusWide,
        "mscoco": mscoco.MsCoco,
        "openclipart": openclipart.OpenClipart,
    }
    default = manifest.default_name(given["manifest"]) if dataset == "manifest" else dataset
    name = given.pop("name", default)
    builder.pack(builders[dataset], name, _DATA_DIR.value, overwrite=_OVERWRITE.value, **given)


def _check(dataset: str, given: dict) -> None:
    """What can be said before TensorFlow takes its seconds."""
    if dataset == "manifest" and not given.get("manifest"):
        raise UserError("expected --manifest=FILE, the list of photographs (.jsonl or .csv)")
    if dataset == "nus_wide" and not given.get("raw_dir"):
        raise UserError("expected --raw_dir=DIR, where the official files of NUS-WIDE are")
    if given["beam_options"] and "runner" not in given:
        raise UserError("expected --runner, the Beam runner that --beam_options are for")
    for name in VOCABULARY if "vocabulary_from" in given else ():
        if flags.FLAGS[name].present:
            raise UserError(f"--vocabulary_from says which labels and tags there are: leave --{name} out")
    if "vocabulary_from" in given:
        from tfrecords_tools.packing import vocabulary

        vocabulary.check(given["vocabulary_from"], _DATA_DIR.value)


if __name__ == "__main__":
    command_line.run(main)
