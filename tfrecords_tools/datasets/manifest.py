"""A user's own photographs, named in a manifest (JSON lines or CSV): see `manifest_file`."""

import collections
import dataclasses
import pathlib
import re
from collections.abc import Iterable, Iterator

from msmm.core import images, text, workers
from msmm.core.errors import UserError
from msmm.core.progress import ProgressBar
from tfrecords_tools.packing import vocabulary
from tfrecords_tools.packing.raw_dataset import (
    Contents,
    RawDataset,
    Row,
    Settings,
    check_test_share,
    choose_split,
    option,
)
from tfrecords_tools.raw import manifest_file, manifest_warnings

_GROUPS = 1000  # the largest number of groups, the most frequent ones on training images


@dataclasses.dataclass(kw_only=True)
class Manifest(RawDataset):
    """The rows of a manifest file."""

    manifest: str | pathlib.Path = option(
        "The list of photographs (.jsonl or .csv).",
        required="FILE, the list of photographs (.jsonl or .csv)",
    )
    labels_file: str | pathlib.Path | None = option(
        "All labels, one per line, in the order of their class ids.",
        None,
        vocabulary=True,
        shown="manifest: the labels of the train rows, sorted; library: keywords of --min_photos photographs",
    )
    tags_file: str | pathlib.Path | None = option(
        "All tags to keep, one per line.",
        None,
        vocabulary=True,
        shown="the most frequent ones of the train rows",
    )
    num_tags: int = option("How many tags to keep, the most frequent ones.", 1000, vocabulary=True)
    # Chosen by a hash of the id, so that a row stays where it is when others come.
    test_share: float = option("Share (0 to 1) to test on; of a manifest, where it has no split.", 0.2)
    # Counted after everything else that is left out.
    drop_empty_classes: bool = option(
        "Leave out classes that no image of some split has; checks every image twice.",
        False,
        vocabulary=True,
    )

    lists = ("manifest", "labels_file", "tags_file")

    def read(self, settings: Settings) -> Contents:
        """Reads the manifest and the vocabulary files. Raises UserError where a row is wrong."""
        path = pathlib.Path(self.manifest)
        if self.num_tags < 0:
            raise UserError(f"expected a number of tags of 0 or more, got {self.num_tags}")
        entries = manifest_file.read(path)
        self._rows = _split_rows(entries, self.test_share)
        if "train" not in self._rows:
            raise UserError(f"{path} has no train rows: set split, or choose another --test_share")
        labels = self._choose_labels(path, entries)
        groups = collections.Counter(group for row in self._rows["train"] for group in set(row.groups))
        contents = Contents(
            description=f"Manifest {path.name}",
            labels=labels,
            tags=self._choose_tags(labels if settings.drop_class_tags else ()),
            num_rows={split: len(rows) for split, rows in self._rows.items()},
            groups=vocabulary.most_frequent(groups, _GROUPS),
        )
        oddities = (*self._describe_slips(entries, contents, settings), *_describe_missing_test(self._rows))
        contents = dataclasses.replace(contents, oddities=oddities)
        if not self.drop_empty_classes:
            return contents
        return dataclasses.replace(contents, labels=self._find_labels_of_all_splits(contents, settings))

    def rows(self, split: str) -> Iterator[Row]:
        """Yields the rows of the manifest that belong to `split`."""
        for entry in self._rows[split]:
            yield Row(entry.id, entry.image, entry.labels, entry.tags, groups=entry.groups)

    def default_name(self) -> str:
        """Returns the name of the file, or of its folder if the file is named "manifest"."""
        path = pathlib.Path(self.manifest).absolute()
        name = path.parent.name if path.stem == "manifest" else path.stem
        return re.sub(r"\W+", "_", name, flags=re.ASCII)

    def _choose_labels(self, path: pathlib.Path, entries: list[manifest_file.Entry]) -> tuple[str, ...]:
        if not self.labels_file:
            return tuple(sorted({label for row in self._rows["train"] for label in row.labels}))
        labels = text.read_names(pathlib.Path(self.labels_file), text.normalise_label)
        known = set(labels)
        for entry in entries:
            for label in entry.labels:
                if label not in known:
                    near = manifest_warnings.find_near_name(label, labels)
                    hint = f"; there is {near!r}" if near else ""
                    raise UserError(
                        f"{path}:{entry.line}: labels: {label!r} is not in {self.labels_file}{hint}"
                    )
        return labels

    def _choose_tags(self, unlike: Iterable[str]) -> tuple[str, ...]:
        if self.tags_file:
            return text.read_names(pathlib.Path(self.tags_file), text.normalise_tag)
        counts = collections.Counter(tag for row in self._rows["train"] for tag in set(row.tags))
        return vocabulary.most_frequent(counts, self.num_tags, unlike=unlike)

    def _describe_slips(
        self, entries: list[manifest_file.Entry], contents: Contents, settings: Settings
    ) -> Iterator[str]:
        """Yields sentences on names that look like slips; names of a given vocabulary are taken as meant."""
        given = {"label": self.labels_file, "tag": self.tags_file}
        kinds = [kind for kind, file in given.items() if not file and not settings.vocabulary_from]
        yield from manifest_warnings.describe_likely_mistakes(entries, kinds)
        for kind, file in given.items():
            if file:
                used = {name for entry in entries for name in getattr(entry, f"{kind}s")}
                yield from manifest_warnings.describe_header(file, getattr(contents, f"{kind}s"), used)

    def _find_labels_of_all_splits(self, contents: Contents, settings: Settings) -> tuple[str, ...]:
        """Returns the labels that a usable image of every split has.

        An image that keeps no label counts for no other label: one pass is enough.
        """
        seen = {split: set() for split in self._rows}
        known_tags = set(contents.tags)
        with workers.Workers(settings.workers) as pool:
            for split, rows in self._rows.items():
                bar = ProgressBar(rows, f"checking {split}", unit="images")
                wanted = (
                    (row, row.image)
                    for row in bar
                    if not settings.drop_untagged or known_tags & set(row.tags)
                )
                for row, image in pool.map(images.convert_or_explain, wanted):
                    if not isinstance(image, str):
                        seen[split].update(row.labels)
        labels = tuple(label for label in contents.labels if all(label in names for names in seen.values()))
        if not labels:
            raise UserError(
                "no class has usable images in every split: add images, or keep the empty classes"
            )
        return labels


def _split_rows(
    entries: list[manifest_file.Entry], test_share: float
) -> dict[str, list[manifest_file.Entry]]:
    check_test_share(test_share)
    splits = {"train": [], "test": []}
    for entry in entries:
        splits[entry.split or choose_split(entry.id, test_share)].append(entry)
    return {split: rows for split, rows in splits.items() if rows}


def _describe_missing_test(rows: dict[str, list[manifest_file.Entry]]) -> list[str]:
    """Sentences on a manifest without test rows."""
    if "test" in rows:
        return []
    remedy = "set split to test in some" if rows["train"][0].split else "raise --test_share"
    return [f"no row is to test on, and msmm.train refuses a data set without a test split: {remedy}"]
