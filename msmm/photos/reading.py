"""Reads one photograph for the model: work for processes of their own, without TensorFlow."""

import dataclasses
import pathlib

import numpy as np
from PIL import Image

from msmm.core import images, resizing
from msmm.core.text import normalise_tag
from msmm.photos import context, sidecars
from msmm.photos.keywords import Keywords, join_keywords, read_embedded, read_text, without_keywords

THUMBNAIL = 256  # pixels, the longer side
THUMBNAIL_QUALITY = 75


@dataclasses.dataclass(frozen=True)
class Preparation:
    """The settings of preparing photographs.

    image_size: of the model's square input, pixels. thumbnail: whether a small picture is wanted. to_sidecar:
    whether labels go into the sidecar, so that a photograph which was annotated there is skipped. overwrite:
    whether it is not. with_context: whether the words of `context` are wanted.
    """

    image_size: int
    thumbnail: bool = False
    to_sidecar: bool = False
    overwrite: bool = False
    with_context: bool = False


@dataclasses.dataclass(frozen=True)
class Photo:
    """A photograph that can be annotated.

    pixels: RGB uint8 [size, size, 3]. keywords: the photographer's, in the photograph, its sidecars and its
    text file, with the causes why some were not read; embedded: those in the photograph itself. What a model
    has added before is in neither. thumbnail: JPEG bytes, or b"" where none is wanted. context: tags of its
    surroundings, see `context`; () where they are not wanted.
    """

    pixels: np.ndarray
    keywords: Keywords
    embedded: tuple[str, ...]
    thumbnail: bytes
    context: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Skipped:
    """A photograph that is not annotated. cause: why it cannot be; done_by: the model that has done it."""

    cause: str = ""
    done_by: str | None = None


def prepare_photo(path: str, preparation: Preparation) -> Photo | Skipped:
    """Reads a photograph and its keywords."""
    try:
        done_by = sidecars.find_annotator(path) if preparation.to_sidecar else None
        if done_by and not preparation.overwrite:
            return Skipped(done_by=done_by)
        data = images.read_bytes(pathlib.Path(path))
        least = max(resizing.DETAIL * preparation.image_size, THUMBNAIL)
        loaded = images.load(data, path, least)
        picture = images.upright(loaded)
    except (images.BrokenImage, sidecars.CannotWrite) as error:
        return Skipped(cause=str(error))
    in_sidecars, added = sidecars.read_sidecars(path)
    in_text = read_text(path)
    embedded = read_embedded(loaded, data, [*in_sidecars.words, *in_text.words])
    if preparation.to_sidecar and embedded.problems and not sidecars.has_keywords(path):
        # Programs would read the sidecar's instead of the photograph's.
        return Skipped(cause=f"{embedded.problems[0]} in it: keywords in a sidecar would hide its own")
    ours = {normalise_tag(word) for word in added}
    embedded, in_sidecars = (without_keywords(part, ours) for part in (embedded, in_sidecars))
    if (times := min(picture.size) // least) > 1:  # what was no JPEG comes in its full size
        picture = picture.reduce(times)
    return Photo(
        resizing.resize_picture(picture, preparation.image_size),
        join_keywords([embedded, in_sidecars, in_text]),
        embedded.words,
        _make_thumbnail(picture) if preparation.thumbnail else b"",
        _read_words(path, loaded, data) if preparation.with_context else (),
    )


def _read_words(path: str, loaded: Image.Image, data: bytes) -> tuple[str, ...]:
    packets = [*sidecars.read_packets(path), *context.embedded_packets(loaded, data)]
    return context.read_context(path, loaded, data, packets).words


def _make_thumbnail(picture: Image.Image) -> bytes:
    """Returns JPEG bytes."""
    picture = picture.copy()
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    return images.encode(picture, THUMBNAIL_QUALITY)
