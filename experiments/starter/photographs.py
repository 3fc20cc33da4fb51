"""The starter model's data set: photographs of MSCOCO with labels from objects and captions."""

import collections
import dataclasses
import pathlib
from collections.abc import Iterator

from experiments.starter.captions import Lexicon
from experiments.starter.labels import OBJECTS
from msmm.core.errors import UserError
from tfrecords_tools.packing import vocabulary
from tfrecords_tools.packing.raw_dataset import Contents, RawDataset, Row, Settings
from tfrecords_tools.raw import mscoco_files


@dataclasses.dataclass(kw_only=True)
class StarterPhotographs(RawDataset):
    """train (to train) and val (to test) of MSCOCO

    Attributes:
        raw_dir: the folder with annotations and photographs.
        year: "2014" or "2017", where the folder has both.
        nouns: the labels from captions, beside the 80 objects.
        num_tags: the number of tags, the most frequent other words of the captions.
    """

    raw_dir: str | pathlib.Path
    year: str | None = None
    nouns: tuple[str, ...] = ()
    num_tags: int = 1000

    licence = "annotations CC BY 4.0; each photograph under its owner's terms on Flickr"

    def read(self, settings: Settings) -> Contents:
        """Reads objects and captions.

        Raises:
            UserError: files are missing or broken, or there are other categories than MSCOCO's.
        """
        self._source = mscoco_files.FromFiles(self.raw_dir, self.year, crowds=True)
        if unknown := set(self._source.labels) - OBJECTS.keys():
            raise UserError(
                f"expected the categories of MSCOCO in {self.raw_dir}. Received: {', '.join(sorted(unknown))}"
            )
        labels = (*(OBJECTS[name] for name in self._source.labels), *self.nouns)
        self._lexicon = Lexicon(labels)
        counts = collections.Counter()
        for captions in self._source.captions("train"):
            counts.update(self._lexicon.read(captions)[1])
        return Contents(
            description=f"A part of MSCOCO: objects, and nouns of captions ({self._source.description})",
            labels=labels,
            tags=vocabulary.most_frequent(counts, self.num_tags, unlike=labels),
            num_rows=self._source.num_rows,
            oddities=("a caption does not name all that a photograph shows: labels from it are incomplete",),
        )

    def rows(self, split: str) -> Iterator[Row]:
        """Yields one row per photograph; its tags are the words of its captions that name no label."""
        for photograph in self._source.photographs(split):
            objects = tuple(OBJECTS[name] for name in photograph.labels)
            named, words = self._lexicon.read(photograph.captions)
            labels = (*objects, *(noun for noun in self.nouns if noun in named))
            yield Row(photograph.id, photograph.image, labels, tuple(sorted(words)))
