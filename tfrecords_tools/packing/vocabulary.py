"""Vocabularies of packed data sets: the most frequent tags, without class names, or reused ones."""

import dataclasses
import pathlib
import re
from collections.abc import Iterable, Mapping

from msmm.core import text
from msmm.core.errors import UserError
from msmm.core.text import JOINING, singulars
from msmm.data import locating, records
from tfrecords_tools.packing.raw_dataset import Contents, Settings


def most_frequent(counts: Mapping[str, int], size: int, unlike: Iterable[str] = ()) -> tuple[str, ...]:
    """Returns the `size` most frequent tags, ties in alphabetical order, without class tags of `unlike`."""
    tags = counts.keys() - class_tags(counts, unlike)
    return tuple(sorted(tags, key=lambda tag: (-counts[tag], tag))[:size])


def class_tags(tags: Iterable[str], labels: Iterable[str]) -> frozenset[str]:
    """Returns the tags that equal a class name, singular or plural, or a word of one (decision 27).

    Of the class `traffic lights`: traffic, light, lights, traffic light(s), traffic-light(s),
    trafficlight(s); not trafficking. Of `person`: people. Of `signs and symbols`: not and.
    """
    names = set()
    for label in labels:
        words = _words(label)
        names |= {" ".join(words), "".join(words), *words} - JOINING
    names = {form for name in names for form in singulars(name)}
    return frozenset(tag for tag in tags if singulars(" ".join(_words(tag))) & names)


def read_vocabularies(
    directory: str | pathlib.Path,
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Returns the labels, the tags and the groups of a packed data set.

    directory: `<data_dir>/<name>` or its version's folder. Raises UserError if it is no data set.
    """
    dataset = records.open_dataset(*_locate(directory))
    return dataset.labels, dataset.tags, dataset.groups


def check_reusable(directory: str | pathlib.Path, data_dir: str | pathlib.Path) -> None:
    """Raises UserError where `directory` is no data set to reuse.

    For `--vocabulary_from=my_photos`, the message names the data set in `data_dir`, if there is one.
    """
    try:
        locating.find_dataset(*_locate(directory))
    except UserError:
        meant = pathlib.Path(data_dir) / directory
        try:
            locating.find_dataset(*_locate(meant))
        except UserError:
            pass  # there is none of that name either: the first error says what is wrong
        else:
            raise UserError(
                f"no data set at {directory}: expected the path of one, as --vocabulary_from={meant}"
            ) from None
        raise


def _locate(directory: str | pathlib.Path) -> tuple[pathlib.Path, str]:
    """Returns the data_dir and the name of `<data_dir>/<name>` or of its version's folder."""
    directory = pathlib.Path(directory).absolute()
    if (directory / "dataset_info.json").exists():
        directory = directory.parent
    return directory.parent, directory.name


def apply_settings(contents: Contents, settings: Settings) -> Contents:
    """Returns `contents` with the vocabularies that `drop_class_tags` and `vocabulary_from` ask for."""
    if settings.drop_class_tags and settings.vocabulary_from:
        raise UserError(
            "--drop_class_tags changes the tags that --vocabulary_from keeps: leave one of them out"
        )
    if settings.vocabulary_from:
        labels, tags, groups = read_vocabularies(settings.vocabulary_from)
        return dataclasses.replace(contents, labels=labels, tags=tags, groups=groups)
    if settings.drop_class_tags:
        dropped = class_tags(contents.tags, contents.labels)
        return dataclasses.replace(contents, tags=tuple(tag for tag in contents.tags if tag not in dropped))
    return contents


def _words(name: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.normalise_tag(name))
