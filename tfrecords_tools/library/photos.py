"""Reads one photograph of a tagged collection: its keywords, context and hash; work for worker processes."""

import dataclasses
import os
import pathlib
import re
import sys

from PIL import Image

from msmm.core import images
from msmm.core.errors import UserError
from msmm.core.text import normalise_label, normalise_tag
from msmm.photos import context, finding, sidecars, xmp, xmp_record
from msmm.photos.keywords import Keywords, join_keywords, read_embedded, read_text, without_keywords
from tfrecords_tools.library import difference_hash

_LEAST_SIDE = 64  # pixels to which a JPEG is decoded for its hash


@dataclasses.dataclass(frozen=True, slots=True)
class LibraryPhoto:
    """A photograph of a collection, without its pixels.

    Attributes:
        leaves: its keywords as spelt, the lowest levels of hierarchies; upper: the levels above these.
        context: words that it has without tagging, as normalised tags (`photos.context`).
        taken: its local time or day, or None.
        hash: see `difference_hash`.
        machine: the number of keywords that msmm wrote, which are in neither leaves nor upper.
        cause: why the image cannot be used, or None.
        problems: causes why some keywords were not read.
        accepted, rejected: the keywords that a person accepted or kept, and rejected, in a review
            (`library.reviews`).
        complete: whether it was reviewed as a whole, so that it has no other keywords.
    """

    leaves: tuple[str, ...] = ()
    upper: tuple[str, ...] = ()
    context: tuple[str, ...] = ()
    taken: str | None = None
    hash: bytes = b""
    machine: int = 0
    cause: str | None = None
    problems: tuple[str, ...] = ()
    accepted: tuple[str, ...] = ()
    rejected: tuple[str, ...] = ()
    complete: bool = False


def find_photographs(root: str) -> tuple[list[finding.Found], str]:
    """Returns the photographs below a folder, and a description of the files that are left out.

    Each photograph is (path, cause), sorted; cause is None where it can be read.

    Raises:
        UserError: there are none.
    """
    finder = finding.Finder([root])
    found = sorted(finder)
    if not found:
        raise UserError(f"no photographs in {root}{finder.describe_left_out(' (', ')')}")
    return found, finder.describe_left_out()


def read_library_photo(path: str, root: str) -> LibraryPhoto:
    """Reads a photograph of the collection in the folder `root`. Only folders below `root` are context."""
    try:
        data = images.read_bytes(pathlib.Path(path))
        loaded = images.load(data, path, _LEAST_SIDE)
        picture = images.upright(loaded)
    except images.BrokenImage as error:
        return LibraryPhoto(cause=str(error))
    keywords, machine, packets = _read_keywords(path, loaded, data)
    leaves, upper = split_levels(keywords)
    folders = os.path.relpath(os.path.dirname(path) or ".", root).split(os.sep)
    folders = [folder for folder in folders if folder not in (os.curdir, os.pardir)]
    around = context.read_context(path, loaded, data, packets, folders)
    return LibraryPhoto(
        leaves=leaves,
        upper=upper,
        context=around.words,
        taken=around.taken,
        hash=difference_hash.difference_hash(picture),
        machine=machine,
        problems=keywords.problems,
    )


def _read_keywords(path: str, loaded: Image.Image, data: bytes) -> tuple[Keywords, int, list[xmp.Packet]]:
    """Returns a person's keywords, the number of keywords of msmm, and the XMP packets."""
    in_sidecars, added = sidecars.read_sidecars(path)
    embedded_packets = context.embedded_packets(loaded, data)
    # A sidecar that was copied into its photograph keeps the mark of what a model has added.
    added += [word for packet in embedded_packets for word in xmp_record.machine_words(packet)]
    ours = {normalise_tag(word) for word in added}
    in_text = read_text(path)
    embedded = read_embedded(loaded, data, [*in_sidecars.words, *in_text.words])
    parts = [*(without_keywords(part, ours) for part in (embedded, in_sidecars)), in_text]
    packets = [*sidecars.read_packets(path), *embedded_packets]
    machine = {normalise_tag(word) for packet in packets for word in packet.texts(xmp.ADDED)}
    keywords = join_keywords(parts)
    return keywords, len(machine - set(map(normalise_tag, keywords.words))), packets


def split_levels(keywords: Keywords) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Returns the lowest levels of keywords, and the levels above them, each once and as spelt.

    Programs also write the upper levels, and whole paths, as plain keywords: these are not counted twice.
    """
    paths = [path for path in keywords.paths if len(path) > 1]
    whole = {normalise_tag(separator.join(path)) for path in paths for separator in "|/"}
    plain = [path[0] for path in keywords.paths if len(path) == 1]
    for word in keywords.words:
        if "|" in word:
            levels = [level for part in word.split("|") if (level := xmp.clean(part))]
            if len(levels) > 1:
                paths.append(tuple(levels))
            else:
                plain += levels
        elif normalise_tag(word) not in whole or not re.search("/", word):
            plain.append(word)
    upper: dict[str, str] = {}
    for path in paths:
        for level in path[:-1]:
            upper.setdefault(normalise_tag(level), normalise_label(level))
    prefixes = {_fold(path[:end]) for path in paths for end in range(1, len(path))}
    lowest = [path[-1] for path in paths if _fold(path) not in prefixes]
    lowest_keys = set(map(normalise_tag, lowest))  # one may be called like a level above it
    leaves: dict[str, str] = {}
    for word in (*plain, *lowest):
        key = normalise_tag(word)
        if key and (key not in upper or key in lowest_keys):
            leaves.setdefault(key, normalise_label(word))
    return tuple(leaves.values()), tuple(upper.values())


def _fold(path: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(normalise_tag, path))


def intern_words(photo: LibraryPhoto) -> LibraryPhoto:
    """Returns a photograph whose words share memory with those of others."""
    words = {field: tuple(map(sys.intern, getattr(photo, field))) for field in ("leaves", "upper", "context")}
    return dataclasses.replace(photo, **words)
