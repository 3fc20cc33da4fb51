"""NUS-WIDE from its official files: 269,648 photographs of Flickr, 81 concepts, 1,000 tags.

Expected in the raw directory, in folders or in the official zip files:

  ConceptsList/Concepts81.txt                            the labels
  ImageList/{Train,Test}Imagelist.txt                    the images, one `actor\\0001_2124494179.jpg` per line
  Groundtruth/TrainTestLabels/Labels_*_{Train,Test}.txt  one 0 or 1 per line, one file per concept
  NUS_WID_Tags/TagList1k.txt, {Train,Test}_Tags1k.dat    the tags, one column each
  Flickr/<group>/<name>.jpg                              the photographs; or flat, or in images/ or image/

Row i of every file of a split describes one image: all files must have the same number of rows.
"""

import collections
import dataclasses
import pathlib
import re
from collections.abc import Iterator

import numpy as np

from msmm.core import text
from msmm.core.errors import UserError
from tfrecords_tools.packing import report
from tfrecords_tools.packing.raw_dataset import Contents, Paper, RawDataset, Row, Settings, option
from tfrecords_tools.raw import matrix_file, raw_files

IMAGE_FOLDERS = ("Flickr", "images", "image")
NOTICE = "Flickr's notice in its place"
CONCEPTS, TAG_LIST = "Concepts81.txt", "TagList1k.txt"
SPLITS = {"train": "Train", "test": "Test"}
PAGE = "https://lms.comp.nus.edu.sg/wp-content/uploads/2019/research/nuswide/"

# Section IV-A1; labels per image: as I-P/I-R of Table I imply with k = 3 (decision 24).
PAPER = Paper(
    images={"train": 94_570, "test": 55_335},
    labels_per_image={"test": 2.547},
    note="the paper keeps 58 % of the official training rows and 51 % of the test rows, of the labelled ones "
    "75 % and 66 %. No filter that it names does that, so its exact split cannot be recovered from the text",
)


@dataclasses.dataclass(kw_only=True)
class NusWide(RawDataset):
    """The official training and test rows, filtered as the paper does (decisions 27 to 29).

    Rows without any of the 81 labels or of the 1,000 tags are left out and counted. So are rows without an
    image that can be decoded. NUS-WIDE is known for dead links: up to half of all rows may have no
    image before the packer takes it for a mistake.
    """

    raw_dir: str | pathlib.Path = option(
        "Where the raw data set is.", required="DIR, where the official files of NUS-WIDE are"
    )

    paper = PAPER
    licence = "for research; each photograph under its owner's terms on Flickr"
    max_skipped = 0.5
    drop_untagged = True

    def read(self, settings: Settings) -> Contents:
        """Reads every official file but the images. Raises UserError where files are missing or at odds."""
        files = self._files = raw_files.RawFiles(self.raw_dir, IMAGE_FOLDERS)
        self._concepts, self._tag_names = _read_concepts(files), _read_tag_names(files)
        self._oddities: list[str] = []
        self._paths: dict[str, list[str]] = {}
        self._labels: dict[str, list[np.ndarray]] = {}  # the concepts of each row, int32
        self._packed_tags: dict[str, np.ndarray] = {}  # [rows, ceil(tags / 8)] uint8
        for split, part in SPLITS.items():
            self._read_split(split, part)
        if not files.has_images():
            raise UserError(
                f"no photographs in {self.raw_dir}: expected Flickr/<group>/<name>.jpg there, or all in "
                "images/, or a zip file of them"
            )
        return Contents(
            description="NUS-WIDE, official split",
            labels=self._concepts,
            tags=tuple(dict.fromkeys(self._tag_names)),
            num_rows={split: len(paths) for split, paths in self._paths.items()},
            oddities=tuple(self._oddities),
        )

    def rows(self, split: str) -> Iterator[Row]:
        """Yields the rows of the official list. An image that is listed again stays where it was first, or in
        the training split."""
        before = set(self._paths["train"]) if split == "test" else set()
        for index, path in enumerate(self._paths[split]):
            labels = tuple(self._concepts[i] for i in self._labels[split][index])
            present = matrix_file.unpack(self._packed_tags[split][index], len(self._tag_names))
            tags = tuple(self._tag_names[i] for i in np.flatnonzero(present))
            if path in before:
                yield Row(f"{path} ({split} row {index + 1})", b"", labels, tags, report.LISTED_BEFORE)
            else:
                image = self._files.image(path)
                yield Row(path, image, labels, tags, NOTICE if _is_notice(image) else None)
            before.add(path)

    def _read_split(self, split: str, part: str) -> None:
        """Reads the files of a split, and checks that they have the same number of rows."""
        lines = self._files.text(f"{part}Imagelist.txt").splitlines()
        paths = [line.strip().replace("\\", "/").lstrip("/") for line in lines if line.strip()]
        rows = {f"{part}Imagelist.txt": len(paths)}
        name = f"{part}_Tags1k.dat"
        try:
            self._packed_tags[split] = self._matrix(name, len(self._tag_names))
        except UserError as error:
            raise UserError(f"{error}; {TAG_LIST} names {len(self._tag_names):,} tags") from None
        rows[name] = len(self._packed_tags[split])
        numbers = []  # of the rows with each concept
        for concept in self._concepts:
            name = f"Labels_{concept}_{part}.txt"
            column = matrix_file.unpack(self._matrix(name, 1), 1)[:, 0]
            numbers.append(np.flatnonzero(column).astype(np.int32))
            rows[name] = len(column)
        if len(set(rows.values())) > 1:
            raise UserError(f"the files of the {split} split differ in rows: {_by_count(rows)}")
        self._paths[split], self._labels[split] = paths, _concepts_by_row(numbers, len(paths))

    def _matrix(self, name: str, columns: int) -> np.ndarray:
        with self._files.open(name) as file:
            packed, odd = matrix_file.read(file, name, columns)
        self._oddities += odd
        return packed


def _concepts_by_row(numbers: list[np.ndarray], num_rows: int) -> list[np.ndarray]:
    """Returns the concepts of every row, ascending, from the rows of every concept."""
    rows = np.concatenate(numbers)
    concepts = np.repeat(np.arange(len(numbers), dtype=np.int32), [len(of_one) for of_one in numbers])
    ordered = concepts[np.argsort(rows, kind="stable")]
    return np.split(ordered, np.bincount(rows, minlength=num_rows).cumsum()[:-1])


def _is_notice(image: bytes | pathlib.Path) -> bool:
    """Returns whether an image is Flickr's notice that a photograph is gone: a GIF or PNG, not a JPEG."""
    if isinstance(image, pathlib.Path):
        try:
            with open(image, "rb", buffering=0) as file:
                image = file.read(4)
        except OSError:
            return False
    return image[:4] in (b"GIF8", b"\x89PNG")


def _read_concepts(files: raw_files.RawFiles) -> tuple[str, ...]:
    """Returns the labels, after a check that no file is missing and no label file too many."""
    _check_present(files, [CONCEPTS], "ConceptsList.zip")
    concepts = _read_names(files, CONCEPTS, text.normalise_label)
    for zip_name, needed in (
        ("ImageList.zip", [f"{part}Imagelist.txt" for part in SPLITS.values()]),
        ("NUS_WID_Tags.zip", [TAG_LIST, *(f"{part}_Tags1k.dat" for part in SPLITS.values())]),
        ("Groundtruth.zip", [f"Labels_{c}_{part}.txt" for c in concepts for part in SPLITS.values()]),
    ):
        _check_present(files, needed, zip_name)
    known = frozenset(concepts)
    for name in sorted(files.names):
        match = re.fullmatch(rf"Labels_(.+)_({'|'.join(SPLITS.values())})\.txt", name)
        if match and match[1] not in known:
            raise UserError(f"{files.where(name)} is about {match[1]!r}, which {CONCEPTS} does not name")
    return concepts


def _check_present(files: raw_files.RawFiles, needed: list[str], zip_name: str) -> None:
    present = files.names
    missing = [name for name in needed if name not in present]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        hint = ", which lists the image of each row and is not in the copy on Hugging Face,"
        hint = hint if zip_name == "ImageList.zip" else ""
        raise UserError(
            f"{files.directory} has no {', '.join(missing[:3])}{more}: put {zip_name}{hint} there, "
            f"from {PAGE}"
        )


def _read_tag_names(files: raw_files.RawFiles) -> tuple[str, ...]:
    """Returns the name of every column of the tag matrices, normalised like the tags of a manifest."""
    return _read_names(files, TAG_LIST, text.normalise_tag, unique=False)


def _read_names(files: raw_files.RawFiles, name: str, normalise, unique: bool = True) -> tuple[str, ...]:
    names = [normalised for line in files.text(name).splitlines() if (normalised := normalise(line))]
    if not names:
        raise UserError(f"{files.where(name)} is empty: expected one name per line")
    twice = [n for n, count in collections.Counter(names).items() if count > 1]
    if unique and twice:
        raise UserError(f"{files.where(name)} names {twice[0]!r} twice")
    return tuple(names)


def _by_count(rows: dict[str, int]) -> str:
    """Returns the files by their number of rows, the most common number first."""
    groups = collections.defaultdict(list)
    for name, count in rows.items():
        groups[count].append(name)
    parts = []
    for count, names in sorted(groups.items(), key=lambda group: -len(group[1])):
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        parts.append(f"{count:,} in {', '.join(names[:3])}{more}")
    return "; ".join(parts)
