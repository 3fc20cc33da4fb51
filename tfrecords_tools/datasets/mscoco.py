"""MSCOCO, 2014 or 2017: 80 labels from the objects, 1,000 tags from the words of the captions.

In the raw directory, in folders or in the zip files they come in: `instances_*.json` and
`captions_*.json` of train and val, and the image folders, `train2014/` say. Or from the data
set `coco_captions` of TensorFlow Datasets, which downloads 2014 by itself.

train is the training split, val the test split. The words of an image's captions are nearly
its labels, at test time too: the paper's numbers on MSCOCO with tags are to be read so.
"""

import collections
import pathlib
import re
import unicodedata
from collections.abc import Iterable

from msmm.core.errors import UserError
from tfrecords_tools.packing import builder, report, vocabulary
from tfrecords_tools.raw import mscoco_files

NAME = "mscoco"

# Words that say how a sentence is built, not what is in the picture (decision 30).
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

# Section IV-A1; the labels an image are what I-P/I-R of Table II imply with k = 3 (decision 24).
PAPER = report.Paper(
    images={"train": 56_414, "test": 30_774},
    labels_per_image={"test": 2.813},
    note="the paper keeps 68 % of the official training images and 76 % of the validation images and names "
    "no filter (every image has captions), so its exact split cannot be recovered from the text",
)


class MsCoco(builder.Builder, skip_registration=True):
    """train and val of MSCOCO; images without an object are left out (decision 31)."""

    paper = PAPER
    licence = "annotations CC BY 4.0; each photograph under its owner's terms on Flickr"
    oddities = ("tags are words of the captions, at test time too: they nearly say the labels",)

    def __init__(
        self,
        *,
        raw_dir: str | pathlib.Path | None = None,
        source: str = "files",
        year: str | None = None,
        crowds: bool = True,
        num_tags: int = 1000,
        keep_stop_words: bool = False,
        **common,
    ):
        """
        raw_dir: the raw directory; with source "tfds" where TFDS keeps its data (None: its default).
        source: "files", or "tfds" for `coco_captions`, which is downloaded if it is not there.
        year: "2014" or "2017"; None takes the one that is there.
        crowds: objects that are marked as crowds are labels too.
        num_tags: the tags are the words in the captions of the most training images.
        keep_stop_words: do not leave out "the", "with" and such.
        common: the arguments of `builder.Builder`. Raises UserError where files are missing or broken.
        """
        if num_tags < 0:
            raise UserError(f"expected a number of tags of 0 or more, got {num_tags}")
        if source == "tfds":
            self._source = mscoco_files.FromTfds(raw_dir, year, crowds)
        elif raw_dir is None:
            raise UserError("expected --raw_dir=DIR, where MSCOCO is, or --source=tfds")
        else:
            self._source = mscoco_files.FromFiles(raw_dir, year, crowds)
        self.description = self._source.description
        self.labels = self._source.labels
        self.num_rows = self._source.num_rows
        self._left_out = frozenset() if keep_stop_words else STOP_WORDS
        counts = collections.Counter()
        for captions in self._source.captions("train"):
            counts.update(words(captions, self._left_out))
        classes = self.labels if common.get("drop_class_tags") else ()
        self.tags = vocabulary.most_frequent(counts, num_tags, unlike=classes)
        super().__init__(**common)

    def rows(self, split: str) -> Iterable[builder.Row]:
        for photograph in self._source.photographs(split):
            found = words(photograph.captions, self._left_out)
            yield builder.Row(photograph.id, photograph.image, photograph.labels, tuple(sorted(found)))


def words(captions: Iterable[str], left_out: frozenset[str]) -> set[str]:
    """The words of an image's captions: lower case, a to z, of two letters or more (decision 30)."""
    found = set()
    for caption in captions:
        found.update(re.findall("[a-z]+", unicodedata.normalize("NFKC", caption).lower()))
    return {word for word in found if len(word) > 1} - left_out
