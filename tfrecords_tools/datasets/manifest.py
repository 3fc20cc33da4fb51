"""A user's own photographs, named in a manifest (JSON lines or CSV): see `manifest_file`."""

import collections
import hashlib
import pathlib
import re
from collections.abc import Iterable

from msmm.core import images, text, workers
from msmm.core.errors import UserError
from msmm.core.progress import ProgressBar
from tfrecords_tools.packing import builder, vocabulary
from tfrecords_tools.raw import manifest_file

_SHOWN = 3  # of names that may be slips
_GROUPS = 1000  # at most, those that are on the most training images


class Manifest(builder.Builder, skip_registration=True):
    """The rows of a manifest file."""

    lists = ("manifest", "labels_file", "tags_file")

    def __init__(
        self,
        *,
        manifest: str | pathlib.Path,
        labels_file: str | pathlib.Path | None = None,
        tags_file: str | pathlib.Path | None = None,
        num_tags: int = 1000,
        test_share: float = 0.2,
        drop_empty_classes: bool = False,
        **common,
    ):
        """
        labels_file: the label vocabulary, one a line, in the order of the class ids; by default
            the labels of the training rows, sorted.
        tags_file: the tag vocabulary; by default the `num_tags` tags that are on the most
            training images.
        test_share: the share (0 … 1) of rows to test on where the manifest has no splits,
            chosen by a hash of the id, so that a row stays where it is when others come.
        drop_empty_classes: leave out classes that no image of some split has, counted after
            everything else that is left out; checks every image twice.
        common: the arguments of `builder.Builder`.
        """
        path = pathlib.Path(manifest)
        entries = manifest_file.read(path)
        self.description = f"Manifest {path.name}"
        self._rows = _split(entries, test_share)
        self.num_rows = {split: len(rows) for split, rows in self._rows.items()}
        if "train" not in self._rows:
            raise UserError(f"{path} has no train rows: set split, or choose another --test_share")
        if num_tags < 0:
            raise UserError(f"expected a number of tags of 0 or more, got {num_tags}")
        given = {"label": labels_file, "tag": tags_file}  # by someone who means what is there
        kinds = [kind for kind, file in given.items() if not file and not common.get("vocabulary_from")]
        self.oddities = [*_slips(entries, kinds), *_no_test(self._rows)]
        train = self._rows["train"]
        if labels_file:
            self.labels = text.read_names(pathlib.Path(labels_file), text.normalise_label)
            _check_labels(path, entries, self.labels, labels_file)
        else:
            self.labels = tuple(sorted({label for row in train for label in row.labels}))
        if tags_file:
            self.tags = text.read_names(pathlib.Path(tags_file), text.normalise_tag)
        else:
            counts = collections.Counter(tag for row in train for tag in set(row.tags))
            classes = self.labels if common.get("drop_class_tags") else ()
            self.tags = vocabulary.most_frequent(counts, num_tags, unlike=classes)
        groups = collections.Counter(group for row in train for group in set(row.groups))
        self.groups = vocabulary.most_frequent(groups, _GROUPS)
        if drop_empty_classes:
            with workers.Workers(common.get("workers")) as pool:
                self.labels = self._labels_everywhere(common.get("drop_untagged", False), pool)
        super().__init__(**common)

    def rows(self, split: str) -> Iterable[builder.Row]:
        for entry in self._rows[split]:
            yield builder.Row(entry.id, entry.image, entry.labels, entry.tags, groups=entry.groups)

    def _labels_everywhere(self, drop_untagged: bool, pool: workers.Workers) -> tuple[str, ...]:
        """The labels that a usable image of every split has.

        An image that keeps no label counts for none of the others: one pass is enough.
        """
        found = {split: set() for split in self._rows}
        known_tags = set(self.tags)
        for split, rows in self._rows.items():
            bar = ProgressBar(rows, f"checking {split}", unit="images")
            wanted = ((row, row.image) for row in bar if not drop_untagged or known_tags & set(row.tags))
            for row, image in pool.map(images.checked, wanted):
                if not isinstance(image, str):
                    found[split].update(row.labels)
        labels = tuple(label for label in self.labels if all(label in seen for seen in found.values()))
        if not labels:
            raise UserError(
                "no class has usable images in every split: add images, or keep the empty classes"
            )
        return labels


def default_name(manifest: str | pathlib.Path) -> str:
    """The data set's name where none is given: the file's, or its folder's if it is "manifest"."""
    path = pathlib.Path(manifest).absolute()
    name = path.parent.name if path.stem == "manifest" else path.stem
    return re.sub(r"\W+", "_", name, flags=re.ASCII)


def _split(entries: list[manifest_file.Entry], test_share: float) -> dict[str, list[manifest_file.Entry]]:
    if not 0 < test_share < 1:
        raise UserError(f"expected a test share between 0 and 1, got {test_share}")
    splits = {"train": [], "test": []}
    for entry in entries:
        # The first 64 bits of the hash as a number between 0 and 1.
        position = int.from_bytes(hashlib.sha256(entry.id.encode()).digest()[:8], "big") / 2**64
        splits[entry.split or ("test" if position < test_share else "train")].append(entry)
    return {split: rows for split, rows in splits.items() if rows}


def _slips(entries: list[manifest_file.Entry], kinds: Iterable[str]) -> list[str]:
    """Sentences on names that look like slips of the pen. kinds: "label", "tag"."""
    said = []
    for kind in kinds:
        names = sorted({name for entry in entries for name in getattr(entry, f"{kind}s")})
        commas = [repr(name) for name in names if "," in name]
        alike = collections.defaultdict(list)
        for name in names:
            alike[name.casefold()].append(name)
        alike = [" and ".join(same) for same in alike.values() if len(same) > 1]
        if commas:
            said.append(f"each is one {kind}, with its comma (; separates {kind}s in CSV): {_some(commas)}")
        if alike:
            said.append(f"{kind}s that differ only in case are {kind}s of their own: {_some(alike)}")
    return said


def _some(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _no_test(rows: dict[str, list[manifest_file.Entry]]) -> list[str]:
    """What to know of a manifest without test rows."""
    if "test" in rows:
        return []
    remedy = "set split to test in some" if rows["train"][0].split else "raise --test_share"
    return [f"no row is to test on, and msmm.train refuses a data set without a test split: {remedy}"]


def _check_labels(path, entries: list[manifest_file.Entry], labels: tuple[str, ...], labels_file) -> None:
    known = set(labels)
    for entry in entries:
        for label in entry.labels:
            if label not in known:
                raise UserError(f"{path}:{entry.line}: labels: {label!r} is not in {labels_file}")
