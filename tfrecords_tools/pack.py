"""Packs a raw data set into TFRecords, once, for training and evaluation.

  scenes    pictures that this project draws from a seed; nothing to download
  manifest  your own photographs: a file of JSON lines or CSV with the fields image (a path,
            absolute or from the file's folder), labels, and as you like tags, split (train
            or test) and id. In CSV, ; separates the labels and the tags of a cell.

Writes <data_dir>/<name>/1.0.0/ with a report.json of all that was counted and left out.
JPEG files of upright RGB pixels are kept byte for byte; anything else becomes one.

  python -m tfrecords_tools.pack --dataset=scenes
  python -m tfrecords_tools.pack --dataset=manifest --manifest=photos/my_photos.jsonl
  python -m tfrecords_tools.pack --dataset=manifest --manifest=my_photos.csv --resize=256 \\
      --labels_file=labels.txt --num_tags=500
"""

from absl import flags

from msmm import command_line
from msmm.errors import UserError

COMMON = {
    "resize": flags.DEFINE_integer("resize", None, "Short side, in pixels, of images larger than that."),
    "max_skipped": flags.DEFINE_float("max_skipped", 0.05, "Fail if a larger share of the images is broken."),
    "drop_untagged": flags.DEFINE_bool("drop_untagged", False, "Leave out images without a known tag."),
}
SCENES = {
    "num_train": flags.DEFINE_integer("num_train", 4000, "Scenes to train on."),
    "num_test": flags.DEFINE_integer("num_test", 1500, "Scenes to test on."),
    "image_size": flags.DEFINE_integer("image_size", 64, "Side of a scene, in pixels."),
    "scenes_seed": flags.DEFINE_integer("scenes_seed", 0, "The seed that the scenes are drawn from."),
}
MANIFEST = {
    "manifest": flags.DEFINE_string("manifest", None, "The list of photographs (.jsonl or .csv)."),
    "name": flags.DEFINE_string("name", None, "Name to pack it under. [the file's, or its folder's]"),
    "labels_file": flags.DEFINE_string(
        "labels_file",
        None,
        "All labels, one a line, in the order of their class ids. [those of the train rows]",
    ),
    "tags_file": flags.DEFINE_string(
        "tags_file", None, "All tags to keep, one a line. [the most frequent ones of the train rows]"
    ),
    "num_tags": flags.DEFINE_integer("num_tags", 1000, "How many tags to keep where there is no tags_file."),
    "test_share": flags.DEFINE_float("test_share", 0.2, "Share to test on where the manifest has no split."),
    "drop_empty_classes": flags.DEFINE_bool(
        "drop_empty_classes", False, "Leave out classes that no image of some split has; decodes twice."
    ),
}
DATASETS = {"scenes": SCENES, "manifest": MANIFEST}

_DATASET = flags.DEFINE_enum("dataset", None, list(DATASETS), "What to pack.")
_DATA_DIR = flags.DEFINE_string("data_dir", "data", "Folder of the packed data sets.")
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Pack again what is there; it stays until this is done.")


def main() -> None:
    dataset = _DATASET.value
    if not dataset:
        raise UserError(f"expected --dataset, one of {', '.join(DATASETS)}")
    for other, own in DATASETS.items():
        for name in own:
            if other != dataset and flags.FLAGS[name].present:
                raise UserError(f"--{name} belongs to --dataset={other}, not to {dataset}")
    arguments = {name: flag.value for name, flag in {**COMMON, **DATASETS[dataset]}.items()}
    if dataset == "manifest" and not arguments["manifest"]:
        raise UserError("expected --manifest=FILE, the list of photographs (.jsonl or .csv)")
    command_line.import_tensorflow()
    if dataset == "scenes":
        from tfrecords_tools import scenes

        scenes.pack_scenes(_DATA_DIR.value, overwrite=_OVERWRITE.value, **arguments)
        return
    from tfrecords_tools import builder, manifest

    name = arguments.pop("name") or manifest.default_name(arguments["manifest"])
    builder.pack(manifest.Manifest, name, _DATA_DIR.value, overwrite=_OVERWRITE.value, **arguments)


if __name__ == "__main__":
    command_line.run(main)
