"""Figure 5: examples of a packed data set, each with its labels (black) and its noisy tags (blue).

    python -m experiments.figure5                              the drawn data set
    python -m experiments.figure5 --dataset=openclipart --split=test --skip=10
    python -m experiments.figure5 --dataset=my_photos --image_ids=holiday/beach.jpg,cat.jpg

Takes the first records that have --least labels and --least tags; records are in the order of
a hash, so they are a fair sample of these.
"""

import io
import itertools
import pathlib
from collections.abc import Iterator

from absl import flags

from msmm import command_line
from msmm.errors import UserError

_DATASET = flags.DEFINE_string("dataset", "scenes", "Name of a packed data set in --data_dir.")
flags.DEFINE_string("data_dir", "data", "Where packed data sets are.")
_SPLIT = flags.DEFINE_string("split", "train", "The split to take examples from.")
_NUM_IMAGES = flags.DEFINE_integer("num_images", 10, "How many examples.", lower_bound=1)
_SKIP = flags.DEFINE_integer("skip", 0, "Pass over so many of them first.", lower_bound=0)
_LEAST = flags.DEFINE_integer("least", 2, "The labels, and the tags, that an example has.", lower_bound=0)
_IMAGE_IDS = flags.DEFINE_list("image_ids", [], "Take these images instead.")
_OUTPUT = flags.DEFINE_string("output", None, "The PNG file to write. [runs/<dataset>/figure5.png]")

COLUMNS, CELL = 5, 200  # images in a row, pixels of each
MOST_WORDS = 12  # of the labels, and of the tags, of an image
BLACK, BLUE = "#000000", "#1a5fb4"


def main() -> None:
    output = pathlib.Path(_OUTPUT.value or f"runs/{_DATASET.value}/figure5.png")
    if output.suffix.lower() != ".png":
        raise UserError(f"expected a .png file, got --output={output}")
    dataset = command_line.open_dataset()
    examples = _wanted(dataset) if _IMAGE_IDS.value else _first(dataset)
    output.parent.mkdir(parents=True, exist_ok=True)
    _sheet(dataset, examples).save(output)
    print(f"wrote {output}: {len(examples)} images of {dataset.name} ({_SPLIT.value})")


def _records(dataset) -> Iterator[dict]:
    return dataset.read(_SPLIT.value).as_numpy_iterator()


def _first(dataset) -> list[dict]:
    from msmm.records import LABELS, TAGS

    # A data set without tags has examples too.
    least_tags = min(_LEAST.value, len(dataset.tags))
    fit = (r for r in _records(dataset) if len(r[LABELS]) >= _LEAST.value and len(r[TAGS]) >= least_tags)
    found = list(itertools.islice(fit, _SKIP.value, _SKIP.value + _NUM_IMAGES.value))
    if not found:
        raise UserError(
            f"no image of {dataset.name} ({_SPLIT.value}) with {_LEAST.value} labels and {least_tags} tags "
            f"after the first {_SKIP.value}: choose a smaller --least or --skip"
        )
    return found


def _wanted(dataset) -> list[dict]:
    from msmm.records import IMAGE_ID

    wanted, found = set(_IMAGE_IDS.value), {}
    for record in _records(dataset):
        image_id = record[IMAGE_ID].decode()
        if image_id in wanted:
            found[image_id] = record
            if len(found) == len(wanted):
                break
    if missing := sorted(wanted - found.keys()):
        raise UserError(
            f"no image {missing[0]!r} in {_SPLIT.value} of {dataset.name}: choose another --image_ids"
        )
    return [found[image_id] for image_id in dict.fromkeys(_IMAGE_IDS.value)]


def _sheet(dataset, examples: list[dict]):
    from PIL import Image

    from msmm import contact_sheet, records

    pictures = [Image.open(io.BytesIO(record[records.IMAGE])) for record in examples]
    captions = [
        [
            _words(record[records.LABELS], dataset.labels, BLACK),
            _words(record[records.TAGS], dataset.tags, BLUE),
        ]
        for record in examples
    ]
    return contact_sheet.contact_sheet(pictures, captions, COLUMNS, CELL)


def _words(ids, names: tuple[str, ...], colour: str) -> list[tuple[str, str]]:
    """The names of a record's ids as a line of a caption."""
    shown = [names[i] for i in ids[:MOST_WORDS]]
    if len(ids) > MOST_WORDS:
        shown.append(f"and {len(ids) - MOST_WORDS} more")
    return [(word + ("" if word is shown[-1] else ", "), colour) for word in shown]


if __name__ == "__main__":
    command_line.run(main)
