"""A tagged photo collection: photographs in folders, with the keywords that their owner has given to some.

labels  keywords (IPTC, XMP, Windows', sidecars, text files beside photographs) of --min_photos photographs,
        or those of --labels_file; see `library.labels` for what counts as one. Of a hierarchy the lowest
        level counts; a photograph also has the labels that are levels above its keywords. Keywords that msmm
        itself has written are no labels. A person's decisions in a review (`msmm.app --photos`) come first:
        accepted keywords are labels of the photograph, rejected ones are not.
tags    the context of a photograph (`msmm.photos.context`), and its other keywords. A keyword that is a
        label, or equals a word of one, is never a tag: it would give the answer away. Some other keywords
        of a training photograph are hidden, by a draw from --split_seed and its id. With probability
        --hide_keywords all of them are hidden, else each with that probability. A test photograph has no
        keyword among its tags, as it represents photographs without keywords.
rows    photographs with a keyword. A photograph without keywords is unlabelled, not a negative example,
        unless it was reviewed as a whole.
split   by event (`library.events`), --test_share of the photographs to test on
"""

import collections
import dataclasses
import os
import pathlib
import random
from collections.abc import Collection, Iterator, Mapping, Sequence

from msmm.core import text, workers
from msmm.core.errors import UserError
from msmm.core.progress import ProgressBar
from tfrecords_tools.library import events, reviews
from tfrecords_tools.library.labels import KeywordGroup, KeywordGroups, describe_labels
from tfrecords_tools.library.photos import LibraryPhoto, find_photographs, intern_words, read_library_photo
from tfrecords_tools.packing import raw_dataset, vocabulary
from tfrecords_tools.packing.raw_dataset import Contents, RawDataset, Row, Settings, option

KEYWORDS_FILE, LABELS_FILE = "keywords.csv", "chosen_labels.txt"  # beside the records
LEAST_TAG_PHOTOS = 3  # training photographs that a tag needs
_NOT_READ = "is not read"  # in the cause of a file whose format is unknown to the project


@dataclasses.dataclass(kw_only=True)
class Library(RawDataset):
    """The photographs of a folder."""

    photos: str | pathlib.Path = option(
        "The folder of the collection.", required="DIR, the folder of the photographs"
    )
    min_photos: int = option("How many photographs a keyword needs to be a label.", 20, vocabulary=True)
    labels_file: str | pathlib.Path | None = option(
        "All labels, one per line.", None, vocabulary=True, shown="every keyword of --min_photos photographs"
    )
    num_tags: int = option("How many tags to keep, the most frequent ones.", 1000, vocabulary=True)
    test_share: float = option("Share (0 to 1) to test on.", 0.2)
    hide_keywords: float = option("Probability (0 to 1) of hiding keywords in training.", 0.5)
    split_seed: int = option("Seed of the split and of the hidden keywords.", 0)

    lists = ("labels_file",)
    context_tags = True
    # A collection is not curated: broken files are listed, and do not stop it until they are many.
    max_skipped = 0.5

    def read(self, settings: Settings) -> Contents:
        """Reads every photograph's metadata, chooses labels and tags, and splits. Raises UserError."""
        self._check_options()
        self._oddities: list[str] = []
        self._reuses_labels = bool(settings.vocabulary_from)
        photos, broken = self._read_photos(settings)
        photos, reviewed = reviews.apply_reviews(str(self.photos), photos, self._paths)
        self._oddities += reviewed
        labelled = {id: photo for id, photo in photos.items() if photo.leaves or photo.complete}
        self._describe_unlabelled(photos, labelled)
        wanted = self._wanted(settings)
        self._groups = KeywordGroups((photo.leaves for photo in labelled.values()), wanted or ())
        named = {self._groups.find([name]).pop(): name for name in wanted} if wanted is not None else None
        for photo in labelled.values():
            for root in self._find(photo, photo.leaves):
                self._groups.groups[root].photographs += 1
        test_ids = self._split(labelled, named)
        labels = self._choose_labels(labelled, test_ids, named)
        self._label_roots = {root: group.name for root, group in labels.items()}
        self._photos, self._broken = labelled, broken
        self._ids = {
            "train": [*(id for id in labelled if id not in test_ids), *broken],
            "test": [id for id in labelled if id in test_ids],
        }
        self._hidden_roots = self._label_roots.keys() | self._roots_like_labels()
        tags = self._choose_tags(tuple(self._label_roots.values()) if settings.drop_class_tags else ())
        self._mark_tags(tags)
        return Contents(
            description=f"Photo library {pathlib.Path(self.photos).absolute().name}",
            labels=tuple(self._label_roots.values()),
            tags=tags,
            num_rows={split: len(ids) for split, ids in self._ids.items()},
            oddities=tuple(self._oddities),
        )

    def rows(self, split: str) -> Iterator[Row]:
        """Yields the labelled photographs of a split, and among "train" the broken ones."""
        for id in self._ids[split]:
            path = self._paths[id]
            if id in self._broken:
                yield Row(id, path, (), (), self._broken[id])
                continue
            roots = self._roots(id)
            labels = [name for root, name in self._label_roots.items() if root in roots]
            complete = self._photos[id].complete
            yield Row(id, path, tuple(labels), tuple(self._tags(id, split)), complete=complete)

    def extra_files(self) -> Mapping[str, str]:
        """Returns the table of all keywords, and the labels as a list that --labels_file reads."""
        labels = "".join(f"{name}\n" for name in self._label_roots.values())
        return {KEYWORDS_FILE: self._groups.list_as_csv(), LABELS_FILE: labels}

    def default_name(self) -> str:
        """Returns "my_library"."""
        return "my_library"

    def _roots(self, id: str) -> set[str]:
        """Returns the keywords of a photograph, those above its keywords included."""
        photo = self._photos[id]
        return self._find(photo, (*photo.leaves, *photo.upper))

    def _find(self, photo: LibraryPhoto, words: Sequence[str]) -> set[str]:
        """Returns the keywords that words of a photograph are, without those that its reviewer rejected.

        The reviewer may have rejected another form, as `dogs` of the keyword `dog`. If one form is
        rejected and another accepted or kept, the latter counts.
        """
        rejected = self._groups.find(photo.rejected) - self._groups.find(photo.accepted)
        return self._groups.find(words) - rejected

    def _check_options(self) -> None:
        if self.min_photos < 1:
            raise UserError(f"expected --min_photos of 1 or more, got {self.min_photos}")
        if self.num_tags < 0:
            raise UserError(f"expected a number of tags of 0 or more, got {self.num_tags}")
        raw_dataset.check_test_share(self.test_share)
        if not 0 <= self.hide_keywords <= 1:
            raise UserError(f"expected --hide_keywords of 0 to 1, got {self.hide_keywords}")
        if not os.path.isdir(self.photos):
            raise UserError(f"expected the folder of the photographs in --photos, there is no {self.photos}")

    def _wanted(self, settings: Settings) -> tuple[str, ...] | None:
        """Returns the labels that the user names, or None."""
        if settings.vocabulary_from:
            return vocabulary.read_vocabularies(settings.vocabulary_from)[0]
        if self.labels_file:
            names = text.read_names(pathlib.Path(self.labels_file), text.normalise_label)
            keys = collections.Counter(map(text.normalise_keyword, names))
            if double := [name for name in names if keys[text.normalise_keyword(name)] > 1]:
                raise UserError(
                    f"{self.labels_file}: {double[0]!r} and {double[1]!r} are one keyword: keep one"
                )
            return names
        return None

    def _read_photos(self, settings: Settings) -> tuple[dict[str, LibraryPhoto], dict[str, str]]:
        """Returns the photographs and the causes of broken ones, by id."""
        root = str(self.photos)
        found, left_out = find_photographs(root)
        photos: dict[str, LibraryPhoto] = {}
        broken: dict[str, str] = {}
        ids = {path: _make_id(path, root) for path, _ in found}
        self._paths = {id: pathlib.Path(path) for path, id in ids.items()}
        broken.update({ids[path]: cause for path, cause in found if cause})
        wanted = [(path, path) for path, cause in found if not cause]
        problems, machine = collections.Counter[str](), 0
        with workers.Workers(settings.workers) as pool:
            bar = ProgressBar(wanted, "reading keywords", unit="photographs")
            for path, photo in pool.map(read_library_photo, bar, root):
                if photo.cause:
                    broken[ids[path]] = photo.cause
                    continue
                machine += photo.machine
                problems.update(photo.problems)
                photos[ids[path]] = intern_words(photo)
        if left_out:
            self._oddities.append(left_out)
        not_read = collections.Counter(cause for cause in broken.values() if _NOT_READ in cause)
        for cause, count in sorted(not_read.items()):
            self._oddities.append(f"{count:,} photographs left out: {cause}")
        if machine:
            self._oddities.append(f"{machine:,} keywords that msmm had written are no labels and no tags")
        for cause, count in sorted(problems.items()):
            self._oddities.append(f"keywords of {count:,} photographs not read: {cause}")
        return photos, {id: cause for id, cause in broken.items() if cause not in not_read}

    def _describe_unlabelled(self, photos: Mapping[str, LibraryPhoto], labelled: Mapping) -> None:
        if not labelled:
            raise UserError(
                f"none of {len(photos):,} photographs in {self.photos} has a keyword (IPTC, XMP or a "
                "sidecar): tag some, or write a list for --dataset=manifest"
            )
        if count := len(photos) - len(labelled):
            self._oddities.append(
                f"{count:,} of {len(photos):,} photographs have no keyword: they are unlabelled, not "
                "negative examples, and left out of training and evaluation"
            )

    def _split(self, labelled: Mapping[str, LibraryPhoto], named: Collection[str] | None) -> set[str]:
        """Returns the ids of the test photographs. named: the roots of the labels that the user names."""
        ids = list(labelled)
        shots = [
            events.Shot(id, id.rpartition("/")[0], photo.taken, photo.hash) for id, photo in labelled.items()
        ]
        groups = events.group_events(shots)
        self._oddities += events.describe_false_days(shots)
        enough = {
            root
            for root, group in self._groups.groups.items()
            if (root in named if named is not None else group.photographs >= self.min_photos)
        }
        labels = [self._find(photo, (*photo.leaves, *photo.upper)) & enough for photo in labelled.values()]
        chosen = events.choose_test_events(groups, ids, labels, self.test_share, self.split_seed)
        sizes = collections.Counter(groups)
        self._oddities.append(
            f"{len(ids):,} photographs with keywords are of {len(sizes):,} events (days, folders, bursts, "
            f"copies), the largest of {max(sizes.values()):,}; {len(chosen):,} events are to test on"
        )
        return {id for id, group in zip(ids, groups, strict=True) if group in chosen}

    def _choose_labels(
        self, labelled: Mapping[str, LibraryPhoto], test_ids: set[str], named: Collection[str] | None
    ) -> dict[str, KeywordGroup]:
        """Returns the labels by root, in their order, and notes of all keywords why they are none."""
        groups = self._groups.groups
        with_upper = {split: collections.Counter[str]() for split in ("train", "test")}
        for id, photo in labelled.items():
            split = "test" if id in test_ids else "train"
            with_upper[split].update(self._find(photo, (*photo.leaves, *photo.upper)))
        for root, group in groups.items():
            group.train, group.test = (with_upper[split][root] for split in ("train", "test"))
        for root, group in groups.items():
            group.why = self._explain_no_label(root, group, named)
        roots = named or sorted(groups, key=lambda root: (groups[root].name.casefold(), root))
        labels = {root: groups[root] for root in roots if not groups[root].why}
        if not labels:
            top = sorted(groups.values(), key=lambda group: (-group.photographs, group.name))[:3]
            most = ", ".join(f"{group.name}: {group.photographs}" for group in top)
            raise UserError(
                f"no keyword of {self.photos} makes a label; the most frequent ones are {most}: lower "
                "--min_photos, or tag more photographs"
            )
        for group in labels.values():
            group.used_as = "label"
        self._oddities += describe_labels(list(labels.values()), list(groups.values()))
        self._oddities.append(
            f"all keywords are in {KEYWORDS_FILE} beside the records; {LABELS_FILE} may be edited for "
            "--labels_file"
        )
        return labels

    def _explain_no_label(self, root: str, group: KeywordGroup, named: Collection[str] | None) -> str:
        if named is not None and root not in named:
            return "not among the given labels"
        if named is None and group.photographs < self.min_photos:
            return f"on fewer than {self.min_photos} photographs"
        if not group.train + group.test:
            return "no photograph has it"
        if not group.train and not self._reuses_labels:
            return "all its photographs are of test events"
        return ""

    def _roots_like_labels(self) -> set[str]:
        """Returns the keywords that equal a word of a label, such as `traffic` of `traffic lights`."""
        tags = {text.normalise_keyword(group.name): root for root, group in self._groups.groups.items()}
        return {tags[tag] for tag in vocabulary.class_tags(tags, self._label_roots.values())}

    def _tags(self, id: str, split: str) -> Iterator[str]:
        """Yields the tags of a photograph: its context, and in training the keywords that are not hidden."""
        photo = self._photos[id]
        yield from photo.context
        if split == "test":
            return
        draw = random.Random(f"{self.split_seed} {id}")
        all_hidden = draw.random() < self.hide_keywords
        for root in sorted(self._find(photo, photo.leaves) - self._hidden_roots):
            hidden = draw.random() < self.hide_keywords
            if not (all_hidden or hidden):
                yield text.normalise_keyword(self._groups.groups[root].name)

    def _choose_tags(self, unlike: Sequence[str]) -> tuple[str, ...]:
        counts = collections.Counter[str]()
        for id in self._ids["train"]:
            if id in self._photos and self._label_roots.keys() & self._roots(id):
                counts.update(set(self._tags(id, "train")))
        usual = {tag: count for tag, count in counts.items() if count >= LEAST_TAG_PHOTOS}
        return vocabulary.most_frequent(usual, self.num_tags, unlike=unlike)

    def _mark_tags(self, tags: Sequence[str]) -> None:
        """Notes which keywords are tags, and describes how keywords are hidden."""
        known = set(tags)
        for root, group in self._groups.groups.items():
            if root not in self._hidden_roots and text.normalise_keyword(group.name) in known:
                group.used_as = "tag"
        self._oddities.append(
            "keywords that are labels, or words of labels, are no tags; of a training photograph's other "
            f"keywords all are hidden with probability {self.hide_keywords:g}, else each with the same "
            "probability; test photographs have no keyword among their tags"
        )


def _make_id(path: str, root: str) -> str:
    """Returns the path from `root`, with / and bytes that are no UTF-8 as \\xff."""
    relative = os.path.relpath(path, root).replace(os.sep, "/")
    return os.fsencode(relative).decode("utf-8", "backslashreplace")
