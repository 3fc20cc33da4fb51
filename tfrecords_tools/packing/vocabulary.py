"""Which tags and labels a packed data set knows: chosen by count, without class names, or reused."""

import pathlib
import re
from collections.abc import Iterable, Mapping

from msmm.core import text
from msmm.core.errors import UserError
from msmm.core.text import JOINING, singulars
from msmm.data import records


def most_frequent(counts: Mapping[str, int], size: int, unlike: Iterable[str] = ()) -> tuple[str, ...]:
    """The `size` tags counted most, ties in alphabetical order, without class tags of the labels `unlike`."""
    tags = counts.keys() - class_tags(counts, unlike)
    return tuple(sorted(tags, key=lambda tag: (-counts[tag], tag))[:size])


def class_tags(tags: Iterable[str], labels: Iterable[str]) -> frozenset[str]:
    """The tags that equal a class name, singular or plural, or a word of one (decision 27).

    Of the class `traffic lights`: traffic, light, lights, traffic light(s), traffic-light(s),
    trafficlight(s); not trafficking. Of `person`: people. Of `signs and symbols`: not and.
    """
    names = set()
    for label in labels:
        words = _words(label)
        names |= {" ".join(words), "".join(words), *words} - JOINING
    names = {form for name in names for form in singulars(name)}
    return frozenset(tag for tag in tags if singulars(" ".join(_words(tag))) & names)


def reused(directory: str | pathlib.Path) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """The labels, the tags and the groups of a packed data set, `<data_dir>/<name>` or its version's folder.

    Raises UserError if it is none.
    """
    dataset = records.open_dataset(*_place(directory))
    return dataset.labels, dataset.tags, dataset.groups


def check(directory: str | pathlib.Path, data_dir: str | pathlib.Path) -> None:
    """Raises UserError where there is no such data set to reuse; it names the one in `data_dir`, if there is
    one, for who wrote `--vocabulary_from=my_photos`."""
    try:
        records.find_dataset(*_place(directory))
    except UserError:
        meant = pathlib.Path(data_dir) / directory
        try:
            records.find_dataset(*_place(meant))
        except UserError:
            pass
        else:
            raise UserError(
                f"no data set at {directory}: expected the path of one, as --vocabulary_from={meant}"
            ) from None
        raise


def _place(directory: str | pathlib.Path) -> tuple[pathlib.Path, str]:
    """The folder of data sets and the name of `<data_dir>/<name>` or its version's folder."""
    directory = pathlib.Path(directory).absolute()
    if (directory / "dataset_info.json").exists():
        directory = directory.parent
    return directory.parent, directory.name


def choose(builder, drop_class_tags: bool, vocabulary_from: str | pathlib.Path | None) -> None:
    """Sets the final `labels`, `tags` and `groups` of a builder that has set its own."""
    if drop_class_tags and vocabulary_from:
        raise UserError(
            "--drop_class_tags changes the tags that --vocabulary_from keeps: leave one of them out"
        )
    if vocabulary_from:
        builder.labels, builder.tags, builder.groups = reused(vocabulary_from)
    elif drop_class_tags:
        dropped = class_tags(builder.tags, builder.labels)
        builder.tags = tuple(tag for tag in builder.tags if tag not in dropped)


def _words(name: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.normalise_tag(name))
