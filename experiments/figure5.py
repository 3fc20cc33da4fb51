"""Figure 5: examples of a packed data set, each with its labels (black) and its noisy tags (blue).

    python -m experiments.figure5                              the drawn data set
    python -m experiments.figure5 --dataset=openclipart --split=test --skip=10
    python -m experiments.figure5 --dataset=my_photos --image_ids=holiday/beach.jpg,cat.jpg

Takes the first records with at least --least labels and --least tags. Records are in the order of a hash, so
these are a random sample.
"""

import pathlib

from absl import flags

from msmm import run_flags
from msmm.core import command_line
from msmm.core.errors import UserError

_DATASET = flags.DEFINE_string("dataset", "scenes", "Name of a packed data set in --data_dir.")
flags.DEFINE_string("data_dir", "data", "Where packed data sets are.")
_SPLIT = flags.DEFINE_string("split", "train", "The split to take examples from.")
_NUM_IMAGES = flags.DEFINE_integer("num_images", 10, "How many examples.", lower_bound=1)
_SKIP = flags.DEFINE_integer("skip", 0, "Pass over so many of them first.", lower_bound=0)
_LEAST = flags.DEFINE_integer("least", 2, "The labels, and the tags, that an example has.", lower_bound=0)
_IMAGE_IDS = flags.DEFINE_list("image_ids", [], "Take these images instead.")
_OUTPUT = flags.DEFINE_string("output", None, "The PNG file to write. [runs/<dataset>/figure5.png]")


def main() -> None:
    output = pathlib.Path(_OUTPUT.value or f"runs/{_DATASET.value}/figure5.png")
    if output.suffix.lower() != ".png":
        raise UserError(f"expected a .png file, got --output={output}")
    dataset = run_flags.open_dataset()
    from experiments.sections.examples import draw_with_tags, first_records, png_bytes, records_by_id
    from msmm.core.files import write_bytes

    if _IMAGE_IDS.value:
        records = records_by_id(dataset, _SPLIT.value, _IMAGE_IDS.value)
    else:
        records = first_records(dataset, _SPLIT.value, _NUM_IMAGES.value, _SKIP.value, _LEAST.value)
    write_bytes(output, png_bytes(draw_with_tags(dataset, records)))
    print(f"wrote {output}: {len(records)} images of {dataset.name} ({_SPLIT.value})")


if __name__ == "__main__":
    command_line.run(main)
