"""The Open Clip Art Library 0.18: free drawings with the directories and keywords of their uploaders.

`--raw_dir` is where Debian's packages openclipart-svg and openclipart-png (1:0.18+dfsg-19) are
unpacked, or by default where they are installed. Every SVG file contains its licence and keywords,
and the PNG file of the same path is its picture. From them come

  images  the PNG files, but only of drawings that are in the public domain. Files of the same bytes
          are one image, with the labels and the keywords of all places where they are filed.
          SKIPPED names directories that hold no motifs, or one motif in hundreds of variants.
  labels  the directory names on the path with at least 20 images, less NO_LABELS. Images dropped for
          lack of tags are not counted.
  tags    the keywords less NO_KEYWORDS; of these, the 500 that are on the most training images
  split   a quarter to test on, by a hash: near-duplicates (see `near_duplicates`) go together
"""

import collections
import dataclasses
import hashlib
import os
import pathlib
import re
from collections.abc import Iterable, Iterator

from msmm.core import text, workers
from msmm.core.errors import UserError
from tfrecords_tools.packing import near_duplicates, vocabulary
from tfrecords_tools.packing.raw_dataset import Contents, RawDataset, Row, Settings, option
from tfrecords_tools.raw import svg_metadata

INSTALLED = pathlib.Path("/usr/share/openclipart")
PLACES = (".", "usr/share/openclipart", "share/openclipart", "openclipart")  # of png/ and svg/ in raw_dir
SKIPPED = {
    "unsorted": "nobody has described them",
    "special": "gradients, patterns and examples",
    "shapes/stars": "1,378 stars drawn by a program",
    "computer/icons/etiquette-theme": "buttons of a desktop",
    "computer/icons/flat-theme": "the same",
    "computer/icons/lemon-theme": "the same",
}
NO_LABELS = {"applications", "bordered", "ornamental", "simple", "white"}  # do not describe the motif
NO_KEYWORDS = re.compile(
    r"unsorted|hash(\(0x[0-9a-f]+\))?"
)  # neither do these; hash is a mistake of a program
LEAST_IMAGES = 20  # per label
NUM_TAGS = 500
TEST_PERCENT = 25


@dataclasses.dataclass
class _Drawing:
    """An image with the labels and tags of all its files. id: the first path, without its ending."""

    id: str
    image: pathlib.Path
    labels: set[str]
    tags: set[str]


@dataclasses.dataclass(kw_only=True)
class OpenClipart(RawDataset):
    """Public-domain drawings; images without a tag are left out by default, as in the paper (IV-A1)."""

    raw_dir: str | pathlib.Path = option("Where the raw data set is.", INSTALLED)

    licence = "public domain, by the metadata of every drawing"
    drop_untagged = True

    def read(self, settings: Settings) -> Contents:
        """Reads every SVG file and compares all pictures. Raises UserError where a package is missing."""
        root = _find_root(pathlib.Path(self.raw_dir))
        drawings, oddities = _read_drawings(root)
        with workers.Workers(settings.workers) as pool:
            thumbnails = near_duplicates.thumbnails([drawing.image for drawing in drawings], pool)
        self._blank = {drawing.id for drawing, t in zip(drawings, thumbnails, strict=True) if t.min() == 255}
        families = near_duplicates.families(thumbnails)
        self._splits: dict[str, list[_Drawing]] = {"train": [], "test": []}
        for drawing, first in zip(drawings, families, strict=True):
            self._splits[_assign_split(drawings[first].id)].append(drawing)
        tied = len(families) - len(set(families))
        oddities.append(f"{tied:,} images are near-duplicates of another, and in the same split")
        labels = _large(drawings)
        tags = self._most_frequent_tags(labels, settings.drop_class_tags)
        if settings.drop_untagged:
            known = set(tags)
            labels = _large(drawing for drawing in drawings if drawing.tags & known)
        if not labels:
            raise UserError(
                f"no directory of {root / 'svg'} has {LEAST_IMAGES} images: unpack the packages whole"
            )
        return Contents(
            description="Open Clip Art Library 0.18, public-domain drawings",
            labels=labels,
            tags=tags,
            num_rows={split: len(members) for split, members in self._splits.items()},
            oddities=tuple(oddities),
        )

    def rows(self, split: str) -> Iterator[Row]:
        """Yields one row per drawing."""
        for drawing in self._splits[split]:
            labels, tags = sorted(drawing.labels), sorted(drawing.tags)
            cause = "blank picture" if drawing.id in self._blank else None
            yield Row(drawing.id, drawing.image, tuple(labels), tuple(tags), cause)

    def _most_frequent_tags(self, labels: tuple[str, ...], drop_class_tags: bool) -> tuple[str, ...]:
        known = set(labels)
        kept = [drawing for drawing in self._splits["train"] if drawing.labels & known]
        counts = collections.Counter(tag for drawing in kept for tag in drawing.tags)
        return vocabulary.most_frequent(counts, NUM_TAGS, unlike=labels if drop_class_tags else ())


def _large(drawings: Iterable[_Drawing]) -> tuple[str, ...]:
    """Returns the labels that enough drawings have."""
    sizes = collections.Counter(label for drawing in drawings for label in drawing.labels)
    return tuple(sorted(label for label, count in sizes.items() if count >= LEAST_IMAGES))


def _find_root(raw_dir: pathlib.Path) -> pathlib.Path:
    """Returns the folder that contains svg/ and png/."""
    if not raw_dir.is_dir():
        raise UserError(
            f"no folder {raw_dir}: expected Debian's packages openclipart-svg and openclipart-png installed, "
            "or unpacked in --raw_dir=DIR"
        )
    for place in PLACES:
        missing = [kind for kind in ("svg", "png") if not (raw_dir / place / kind).is_dir()]
        if not missing:
            return raw_dir / place
        if len(missing) == 1:
            raise UserError(
                f"expected svg/ and png/ in {raw_dir / place}, {missing[0]}/ is missing: unpack Debian's "
                f"package openclipart-{missing[0]} there too"
            )
    raise UserError(
        f"expected svg/ and png/ in {raw_dir} or its usr/share/openclipart/: unpack Debian's packages "
        "openclipart-svg and openclipart-png there (dpkg-deb -x PACKAGE.deb DIR)"
    )


def _read_drawings(root: pathlib.Path) -> tuple[list[_Drawing], list[str]]:
    """Returns the images with the labels and tags of all their files, and sentences for the report."""
    drawings: dict[bytes, _Drawing] = {}
    left_out, places = collections.Counter(), 0
    for path in sorted((root / "svg").rglob("*.svg")):
        place = path.relative_to(root / "svg").with_suffix(".png")
        name = os.fsencode(place.with_suffix("")).decode(errors="replace")
        if any(name.startswith(f"{folder}/") for folder in SKIPPED):
            left_out["in directories without motifs"] += 1
            continue
        try:
            metadata = svg_metadata.read(path)
        except svg_metadata.Unreadable as error:
            left_out[str(error)] += 1
            continue
        if not metadata.public_domain:
            left_out["not in the public domain"] += 1
            continue
        labels = {folder.replace("_", " ") for folder in name.split("/")[:-1]} - NO_LABELS
        tags = {text.normalise_tag(keyword.replace("_", " ")) for keyword in metadata.keywords}
        tags = {tag for tag in tags if tag and not NO_KEYWORDS.fullmatch(tag)}
        image = root / "png" / place
        drawing = drawings.setdefault(_digest(image), _Drawing(name, image, set(), set()))
        drawing.labels |= labels
        drawing.tags |= tags
        places += 1
    if not drawings:
        raise UserError(f"no drawing in the public domain in {root / 'svg'}: unpack openclipart-svg again")
    oddities = [f"{count:,} drawings left out: {cause}" for cause, count in sorted(left_out.items())]
    return list(drawings.values()), [*oddities, f"{places:,} drawings are {len(drawings):,} different images"]


def _digest(image: pathlib.Path) -> bytes:
    try:
        return hashlib.sha256(image.read_bytes()).digest()
    except OSError:
        return str(image).encode()  # a row of its own, which the packer will count as broken


def _assign_split(family: str) -> str:
    """Returns the split of a near-duplicate family by a hash.

    family: the id of its first image, so that a family stays where it is when others come.
    """
    position = int.from_bytes(hashlib.sha256(family.encode()).digest(), "big") % 100
    return "train" if position < 100 - TEST_PERCENT else "test"
