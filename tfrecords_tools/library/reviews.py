"""The decisions of reviews (`msmm.app --photos`) in the folders of a photo collection."""

import dataclasses
import os
import pathlib
from collections.abc import Iterable, Mapping

from msmm.core.text import normalise_label, normalise_tag
from msmm.photos.review import decisions
from msmm.photos.review.decisions import Decision
from tfrecords_tools.library.photos import LibraryPhoto


def apply_reviews(
    root: str, photos: Mapping[str, LibraryPhoto], paths: Mapping[str, pathlib.Path]
) -> tuple[dict[str, LibraryPhoto], list[str]]:
    """Returns the photographs with the decisions of reviews, by id, and sentences on these for the report.

    Args:
      root: the folder of the collection.
      photos: its photographs, by id.
      paths: the file of each id.

    Raises:
      UserError: a line of a file of decisions is damaged.
    """
    ids = {str(paths[id]): id for id in photos}
    decided = {ids[path]: decision for path, decision in read_reviews(root, ids).items()}
    applied = {id: apply_decision(photos[id], decision) for id, decision in decided.items()}
    complete = [photo for photo in applied.values() if photo.complete]
    blank = sum(not photo.leaves for photo in complete)
    sentence = (
        f"{len(complete):,} photographs were reviewed as a whole, {blank:,} of them without a keyword: they "
        f"have no other labels; of {len(applied) - len(complete):,} others single keywords were reviewed"
    )
    return {**photos, **applied}, [sentence] * bool(applied) + _describe_conflicts(root, ids)


def _describe_conflicts(root: str, paths: Iterable[str]) -> list[str]:
    """Returns a sentence for each copy of a file of decisions that a program of synchronisation has made."""
    stem, ending = os.path.splitext(decisions.FILE)
    copies = [
        os.path.join(folder, name)
        for folder in sorted(_folders_of(root, paths))
        if os.path.isdir(folder)
        for name in sorted(os.listdir(folder))
        if name.startswith(stem) and name.endswith(ending) and name != decisions.FILE
    ]
    return [
        f"{copy} is not read: its name is that of a conflict copy; join its lines to {decisions.FILE}"
        for copy in copies
    ]


def _folders_of(root: str, paths: Iterable[str]) -> set[str]:
    """Returns the folders of paths, and those above them from `root` down."""
    folders = {os.path.normpath(root)}
    for path in paths:
        folder = os.path.dirname(os.path.normpath(path))
        while folder not in folders and folder:
            folders.add(folder)
            folder = os.path.dirname(folder)
    return folders


def read_reviews(root: str, paths: Iterable[str]) -> dict[str, Decision]:
    """Returns the decisions on photographs, by path.

    Any folder from `root` down may have been reviewed, and then has a file of decisions. The latest of
    several decisions on a photograph counts.

    Args:
      root: the folder of the collection.
      paths: its photographs, below `root`.

    Raises:
      UserError: a line of a file is damaged.
    """
    wanted = {os.path.normpath(path): path for path in paths}
    latest: dict[str, tuple[str, Decision]] = {}
    for folder in sorted(_folders_of(root, wanted)):
        file = os.path.join(folder, decisions.FILE)
        if not os.path.isfile(file):
            continue
        for name, dated in decisions.read_dated_decisions(file).items():
            path = os.path.normpath(os.path.join(folder, name))
            if path in wanted and dated[0] >= latest.get(path, ("",))[0]:
                latest[path] = dated
    return {wanted[path]: decision for path, (_, decision) in latest.items() if decision != Decision()}


def apply_decision(photo: LibraryPhoto, decision: Decision) -> LibraryPhoto:
    """Returns a photograph with the keywords that a person accepted and without those rejected."""
    rejected = set(map(normalise_tag, decision.rejected))
    leaves = {key: word for word in photo.leaves if (key := normalise_tag(word)) not in rejected}
    for word in decision.accepted:
        leaves.setdefault(normalise_tag(word), normalise_label(word))
    return dataclasses.replace(
        photo,
        leaves=tuple(leaves.values()),
        upper=tuple(word for word in photo.upper if normalise_tag(word) not in rejected),
        accepted=(*decision.accepted, *decision.kept),
        rejected=decision.rejected,
        complete=decision.complete,
    )
