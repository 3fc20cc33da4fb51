"""Describes a packed data set: counts, labels, labels per image, tags.

python -m tfrecords_tools.inspect --dataset=scenes
python -m tfrecords_tools.inspect --dataset=scenes --split=test --contact_sheet=scenes.png
python -m tfrecords_tools.inspect --dataset=my_photos --record=holiday/beach.jpg
python -m tfrecords_tools.inspect --dataset=my_photos --record=0
"""

import pathlib

from absl import flags

from msmm.core import command_line
from msmm.core.errors import UserError

_DATASET = flags.DEFINE_string("dataset", None, "Name of the packed data set.")
_DATA_DIR = flags.DEFINE_string("data_dir", "data", "Folder of the packed data sets.")
_SPLIT = flags.DEFINE_string("split", "train", "The split to look at.")
_RECORD = flags.DEFINE_string("record", None, "Describe one record: its id, or its number from 0 on.")
_SHEET = flags.DEFINE_string(
    "contact_sheet", None, "Write the first images with their labels and tags to this PNG file."
)


def main() -> None:
    if not _DATASET.value:
        raise UserError("expected --dataset=NAME, a packed data set such as scenes")
    if _SHEET.value:
        _check_writable(pathlib.Path(_SHEET.value))
    from msmm.data import locating, records
    from tfrecords_tools.datasets.registry import pack_command
    from tfrecords_tools.packing import report

    # Before TensorFlow is imported, which takes seconds.
    locating.find_dataset(_DATA_DIR.value, _DATASET.value, pack_command(_DATASET.value))
    command_line.import_tensorflow()
    dataset = records.open_dataset(_DATA_DIR.value, _DATASET.value)
    dataset.num_examples(_SPLIT.value)  # an unknown split ends here
    if _RECORD.value is not None:
        print(report.record_in_words(dataset, _SPLIT.value, _RECORD.value))
    else:
        print(report.overview(dataset, _SPLIT.value))
    if _SHEET.value:
        report.sheet(dataset, _SPLIT.value).save(_SHEET.value)
        print(f"\nwrote {_SHEET.value}")


def _check_writable(path: pathlib.Path) -> None:
    if path.suffix.lower() != ".png" or not path.absolute().parent.is_dir():
        raise UserError(f"expected a .png file in an existing folder, got --contact_sheet={path}")


if __name__ == "__main__":
    command_line.run(main)
