"""The contract of a raw data set: its options, its vocabularies and its rows, without TensorFlow."""

import abc
import dataclasses
import hashlib
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np

from msmm.core.errors import UserError


def option(help: str, default: Any = dataclasses.MISSING, **more: Any) -> Any:
    """Returns a field that is a flag of `tfrecords_tools.pack` too.

    Args:
        help: a sentence for `--help`.
        default: the default value; without one, the option is required.
        **more: `required`, the expected value of a required option, as "FILE, the list of photographs";
            `choices`, texts; `vocabulary=True` if the option decides which labels or tags there are;
            `shown`, the default value as `--help` shows it.
    """
    return dataclasses.field(default=default, metadata={"help": help, **more})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of packing any data set. A field of None takes the default of the data set."""

    resize: int | None = option("Short side, in pixels, of images larger than that.", None)
    max_skipped: float | None = option(
        "Fail if a larger share (0 to 1) of the images is missing or broken.", None
    )
    drop_unlabelled: bool = option("Leave out images without a known label.", True)
    drop_untagged: bool | None = option("Leave out images without a known tag.", None)
    drop_class_tags: bool = option("Drop tags that equal a class name.", False, vocabulary=True)
    vocabulary_from: str | pathlib.Path | None = option(
        "Keep to the labels and tags of this packed data set, as data/mscoco.", None
    )
    workers: int | None = option("Processes that check images.", None, shown="one per core")


@dataclasses.dataclass(frozen=True)
class Row:
    """One image of a raw data set.

    Attributes:
        id: unique in the data set.
        image: the file, or its bytes; None in a data set of arrays.
        labels, tags, groups: names. Those outside of the vocabularies are left out; labels and tags are
            counted.
        cause: why the row is left out, if the data set knows that already.
        complete: whether a person has confirmed that the image has no other label. Such an image stays in
            the data set even without labels, as a negative example of all labels.
        arrays: in a data set of arrays, the row of each array of `Contents.arrays`.
    """

    id: str
    image: bytes | pathlib.Path | None
    labels: tuple[str, ...]
    tags: tuple[str, ...]
    cause: str | None = None
    groups: tuple[str, ...] = ()
    complete: bool = False
    arrays: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Contents:
    """The content of a raw data set, known before any image is read.

    Attributes:
        description: one line.
        labels, tags: the vocabularies, in the order of the class ids.
        num_rows: the number of rows per split.
        groups: the vocabulary of further side information; few data sets have it.
        oddities: sentences for the report.
        arrays: of a data set without images, the shapes of its `records.ARRAY_DTYPES`; None: it has images.
    """

    description: str
    labels: tuple[str, ...]
    tags: tuple[str, ...]
    num_rows: Mapping[str, int]
    groups: tuple[str, ...] = ()
    oddities: tuple[str, ...] = ()
    arrays: Mapping[str, tuple[int, ...]] | None = None


@dataclasses.dataclass(frozen=True)
class Paper:
    """The paper's statements about a data set.

    Attributes:
        images: the number of images per split.
        labels_per_image: the mean per split, where it is known.
        note: what remains open.
    """

    images: Mapping[str, int]
    labels_per_image: Mapping[str, float]
    note: str


@dataclasses.dataclass(kw_only=True)
class RawDataset(abc.ABC):
    """A data set in its raw form. A subclass is a dataclass whose fields are its options (see `option`).

    Attributes:
        licence: of the data, where it is the same for all of them.
        paper: what the paper states about the data set.
        lists: options that name a file; a second packing reports whether the file has changed.
        renamable: whether it may be packed under another name.
        context_tags: whether the tags are words of `msmm.photos.context`, which `annotate` then reads too.
        max_skipped, drop_untagged: the defaults of these `Settings`.
    """

    licence: ClassVar[str | None] = None
    paper: ClassVar[Paper | None] = None
    lists: ClassVar[tuple[str, ...]] = ()
    renamable: ClassVar[bool] = True
    context_tags: ClassVar[bool] = False
    max_skipped: ClassVar[float] = 0.05
    drop_untagged: ClassVar[bool] = False

    @abc.abstractmethod
    def read(self, settings: Settings) -> Contents:
        """Reads everything but the images. Raises UserError where files are missing or broken."""

    @abc.abstractmethod
    def rows(self, split: str) -> Iterable[Row]:
        """Yields the rows of `split`, `num_rows[split]` of them, always in the same order; after `read`."""

    def extra_files(self) -> Mapping[str, str]:
        """Returns the texts of further files to write beside the records, by name; after `rows`."""
        return {}

    def default_name(self) -> str | None:
        """Returns the name to pack it under, or None for the name of the data set in the registry."""
        return None


def choose_split(row_id: str, test_share: float) -> str:
    """Returns "train" or "test" by a hash of the id, so that a row stays where it is when others come."""
    # The first 64 bits of the hash as a number between 0 and 1.
    position = int.from_bytes(hashlib.sha256(row_id.encode()).digest()[:8], "big") / 2**64
    return "test" if position < test_share else "train"


def check_test_share(test_share: float) -> None:
    """Raises UserError where a share of rows to test on is out of bounds."""
    if not 0 < test_share < 1:
        raise UserError(f"expected a test share between 0 and 1, got {test_share}")
