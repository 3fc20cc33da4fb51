"""Says what is in a packed data set: counts, labels, how many labels an image, tags.

python -m tfrecords_tools.inspect --dataset=scenes
python -m tfrecords_tools.inspect --dataset=scenes --split=test --contact_sheet=scenes.png
python -m tfrecords_tools.inspect --dataset=my_photos --record=holiday/beach.jpg
python -m tfrecords_tools.inspect --dataset=my_photos --record=0
"""

import io
import pathlib

from absl import flags

from msmm import command_line
from msmm.errors import UserError

_DATASET = flags.DEFINE_string("dataset", None, "Name of the packed data set.")
_DATA_DIR = flags.DEFINE_string("data_dir", "data", "Folder of the packed data sets.")
_SPLIT = flags.DEFINE_string("split", "train", "The split to look at.")
_RECORD = flags.DEFINE_string("record", None, "Say one record in words: its id, or its number from 0 on.")
_SHEET = flags.DEFINE_string(
    "contact_sheet", None, "Write the first images and their words to this PNG file."
)

SHEET_IMAGES, SHEET_COLUMNS = 24, 6
TOP_TAGS = 30
BLACK, GREY = "#000000", "#666666"  # labels, tags


def main() -> None:
    from msmm import records

    if not _DATASET.value:
        raise UserError("expected --dataset=NAME, a packed data set such as scenes")
    if _SHEET.value:
        _check_writable(pathlib.Path(_SHEET.value))
    dataset = records.open_dataset(_DATA_DIR.value, _DATASET.value)
    dataset.num_examples(_SPLIT.value)  # an unknown split ends here
    if _RECORD.value is not None:
        print(_record(dataset, _SPLIT.value, _RECORD.value))
    else:
        print(_overview(dataset, _SPLIT.value))
    if _SHEET.value:
        _sheet(dataset, _SPLIT.value).save(_SHEET.value)
        print(f"\nwrote {_SHEET.value}")


def _overview(dataset, split: str) -> str:
    from tfrecords_tools import report

    counts = report.statistics(dataset, split)
    sizes = ", ".join(f"{dataset.num_examples(name):,} {name}" for name in dataset.splits)
    lines = [
        f"{dataset.name}: {dataset.description}",
        f"{dataset.directory}, fingerprint {dataset.fingerprint[:16]}",
        f"{sizes} images; {len(dataset.labels)} labels; {len(dataset.tags)} tags",
        "",
        f"{split}: {counts['labels_per_image']['mean']:.2f} labels an image",
        *report.histogram(counts["labels_per_image"]["histogram"]),
        "",
        "images with each label",
        *report.histogram(counts["label_frequency"]),
    ]
    if dataset.tags:
        tags = counts["tags_per_image"]
        without = tags["histogram"].get("0", 0) / dataset.num_examples(split)
        top = dict(list(counts["tag_frequency"].items())[:TOP_TAGS])
        lines += ["", f"{tags['mean']:.2f} tags an image; {without:.1%} of the images have none"]
        lines += report.histogram(tags["histogram"])
        lines += ["", f"images with each of the {len(top)} most frequent tags", *report.histogram(top)]
    dropped = dataset.report().get("splits", {}).get(split, {}).get("dropped", {})
    if dropped:
        causes = report.in_words({cause: len(ids) for cause, ids in dropped.items()})
        lines += ["", f"left out when it was packed: {causes} (listed in {dataset.directory})"]
    return "\n".join(lines)


def _record(dataset, split: str, wanted: str) -> str:
    """The record with the id `wanted`, or else with that number, in words."""
    import numpy as np
    from PIL import Image

    from msmm import records

    image_ids, tags, labels = dataset.annotations(split)
    found = np.flatnonzero(image_ids == wanted)
    if len(found):
        index = int(found[0])
    elif wanted.isdecimal() and int(wanted) < len(image_ids):
        index = int(wanted)
    else:
        raise UserError(
            f"no record {wanted!r} in {split} of {dataset.name}: expected an image id, "
            f"or a number from 0 to {len(image_ids) - 1}"
        )
    data = next(dataset.read(split).skip(index).as_numpy_iterator())[records.IMAGE]
    width, height = Image.open(io.BytesIO(data)).size
    lines = [
        f"record {index} of {len(image_ids):,} in {split} of {dataset.name}: {image_ids[index]}",
        f"  image: JPEG, {width} x {height} pixels, {len(data):,} bytes",
    ]
    for kind, names, present in (("labels", dataset.labels, labels), ("tags", dataset.tags, tags)):
        said = [names[i] for i in np.flatnonzero(present[index])]
        lines.append(f"  {len(said)} {kind}: {', '.join(said)}" if said else f"  no {kind}")
    return "\n".join(lines)


def _sheet(dataset, split: str):
    """The first records (their order is a hash's, so they are a fair sample) as a picture."""
    from PIL import Image

    from msmm import contact_sheet, records

    images, captions = [], []
    for record in dataset.read(split).take(SHEET_IMAGES).as_numpy_iterator():
        images.append(Image.open(io.BytesIO(record[records.IMAGE])))
        runs = [
            [(names[i] + ("" if i == ids[-1] else ", "), colour) for i in ids]
            for ids, names, colour in (
                (record[records.LABELS], dataset.labels, BLACK),
                (record[records.TAGS], dataset.tags, GREY),
            )
        ]
        captions.append([run for run in runs if run])
    return contact_sheet.contact_sheet(images, captions, SHEET_COLUMNS)


def _check_writable(path: pathlib.Path) -> None:
    if path.suffix.lower() != ".png" or not path.absolute().parent.is_dir():
        raise UserError(f"expected a .png file in a folder that is there, got --contact_sheet={path}")


if __name__ == "__main__":
    command_line.run(main)
