"""MSCOCO, 2014 or 2017: 80 labels from the objects, 1,000 tags from the words of the captions.

Expected in the raw directory, in folders or in the official zip files: `instances_*.json` and
`captions_*.json` of train and val, and the image folders, such as `train2014/`. Or from the data
set `coco_captions` of TensorFlow Datasets, which downloads 2014 by itself.

train is the training split, val the test split. The words of an image's captions are nearly its labels, at
test time too. The paper's numbers on MSCOCO with tags depend on that.
"""

import collections
import dataclasses
import pathlib
import re
import unicodedata
from collections.abc import Iterable, Iterator

from msmm.core.errors import UserError
from tfrecords_tools.packing import vocabulary
from tfrecords_tools.packing.raw_dataset import Contents, Paper, RawDataset, Row, Settings, option
from tfrecords_tools.raw import mscoco_files

# Words of grammar, which describe nothing in the picture (decision 30).
_STOP_WORDS = """
about above across after again against all almost along already also although always am among an and
another any anyone anything are aren around as at away back be because been before behind being below
beneath beside besides between beyond both but by can cannot could couldn did didn do does doesn doing don
done down during each either else enough etc even ever every everyone everything few for from further get
gets getting had hadn has hasn have haven having he hence her here hers herself him himself his how
however if in inside instead into is isn it its itself just least less ll many may maybe me might mine
more most much must my myself near nearly neither no nobody none nor not nothing now of off often on once
one ones only onto or other others our ours out outside over own per perhaps quite rather re really same
several shall she should shouldn since so some someone something such than that the their theirs them
themselves then there therefore these they this those though through throughout thus to together too
toward towards under until up upon us ve very was wasn we well were weren what when where whether which
while who whole whom whose why will with within without won would wouldn yes yet you your yours yourself
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())

# Section IV-A1; labels per image: as I-P/I-R of Table II imply with k = 3 (decision 24).
PAPER = Paper(
    images={"train": 56_414, "test": 30_774},
    labels_per_image={"test": 2.813},
    note="the paper keeps 68 % of the official training images and 76 % of the validation images. It names "
    "no filter (every image has captions), so its exact split cannot be recovered from the text",
)


@dataclasses.dataclass(kw_only=True)
class MsCoco(RawDataset):
    """train and val of MSCOCO; images without an object are left out (decision 31).

    `raw_dir` is the raw directory, or with source "tfds" the folder in which TFDS keeps its data. `source`
    "tfds" takes `coco_captions`, which TFDS downloads if it is not there yet.
    """

    raw_dir: str | pathlib.Path | None = option("Where the raw data set is, or TFDS keeps its data.", None)
    source: str = option(
        "The official files, or TFDS, which downloads them.", "files", choices=("files", "tfds")
    )
    year: str | None = option(
        "Which year, where the files of two are there.", None, choices=mscoco_files.YEARS
    )
    crowds: bool = option("Count objects that are marked as crowds as labels.", True)
    num_tags: int = option("How many tags to keep, the most frequent ones.", 1000, vocabulary=True)
    keep_stop_words: bool = option("Tags may be words such as with.", False, vocabulary=True)

    paper = PAPER
    licence = "annotations CC BY 4.0; each photograph under its owner's terms on Flickr"

    def read(self, settings: Settings) -> Contents:
        """Reads objects and captions. Raises UserError where files are missing or broken."""
        if self.num_tags < 0:
            raise UserError(f"expected a number of tags of 0 or more, got {self.num_tags}")
        if self.source == "tfds":
            source = mscoco_files.FromTfds(self.raw_dir, self.year, self.crowds)
        elif self.raw_dir is None:
            raise UserError("expected --raw_dir=DIR, where MSCOCO is, or --source=tfds")
        else:
            source = mscoco_files.FromFiles(self.raw_dir, self.year, self.crowds)
        self._source, self._left_out = source, frozenset() if self.keep_stop_words else STOP_WORDS
        counts = collections.Counter()
        for captions in source.captions("train"):
            counts.update(find_words(captions, self._left_out))
        classes = source.labels if settings.drop_class_tags else ()
        return Contents(
            description=source.description,
            labels=source.labels,
            tags=vocabulary.most_frequent(counts, self.num_tags, unlike=classes),
            num_rows=source.num_rows,
            oddities=("tags are words of the captions, at test time too: they nearly contain the labels",),
        )

    def rows(self, split: str) -> Iterator[Row]:
        """Yields one row per photograph; its tags are the words of its captions."""
        for photograph in self._source.photographs(split):
            words = find_words(photograph.captions, self._left_out)
            yield Row(photograph.id, photograph.image, photograph.labels, tuple(sorted(words)))


def find_words(captions: Iterable[str], left_out: frozenset[str]) -> set[str]:
    """Returns the words of an image's captions: lower case, a to z, of two letters or more (decision 30)."""
    words = set()
    for caption in captions:
        words.update(re.findall("[a-z]+", unicodedata.normalize("NFKC", caption).lower()))
    return {word for word in words if len(word) > 1} - left_out
