"""One photograph, on the way to the model: work for processes of their own, without TensorFlow."""

import dataclasses
import pathlib

import numpy as np
from PIL import Image

from msmm.core import images, resizing
from msmm.core.text import normalise_tag
from msmm.photos import keywords, sidecars

THUMBNAIL = 256  # pixels, the longer side
THUMBNAIL_QUALITY = 75


@dataclasses.dataclass(frozen=True)
class Photo:
    """A photograph that can be annotated.

    pixels: RGB uint8 [size, size, 3]. words: the photographer's keywords, in the photograph, its
    sidecars and its text file; embedded: those in the photograph itself. What we have added before is in
    neither. thumbnail: JPEG bytes, or b"" where none is wanted.
    """

    pixels: np.ndarray
    words: list[str]
    embedded: list[str]
    thumbnail: bytes


@dataclasses.dataclass(frozen=True)
class Passed:
    """One that is not annotated. cause: why it cannot be; done_by: the model that has done it before."""

    cause: str | None = None
    done_by: str | None = None


def prepare(path: str, size: int, thumbnail: bool, to_sidecar: bool, overwrite: bool) -> Photo | Passed:
    """Reads a photograph and its keywords.

    size: of the model's square input, pixels. to_sidecar: the answer goes into its sidecar, so one that
    has been annotated there is passed over unless `overwrite`.
    """
    try:
        if to_sidecar and (model := sidecars.done_by(path)) and not overwrite:
            return Passed(done_by=model)
        least = max(resizing.DETAIL * size, THUMBNAIL)
        loaded = images.load(pathlib.Path(path), least)
        picture = images.upright(loaded)
        in_sidecars, added = sidecars.read(path)
    except (images.BrokenImage, sidecars.CannotWrite) as error:
        return Passed(cause=str(error))
    ours = {normalise_tag(word) for word in added}
    embedded = [word for word in keywords.embedded(loaded) if normalise_tag(word) not in ours]
    beside = [word for word in in_sidecars if normalise_tag(word) not in ours]
    words = list(dict.fromkeys([*embedded, *beside, *keywords.in_text(path)]))
    if (times := min(picture.size) // least) > 1:  # what was no JPEG comes in its full size
        picture = picture.reduce(times)
    pixels = resizing.resize_picture(picture, size)
    return Photo(pixels, words, embedded, _thumbnail(picture) if thumbnail else b"")


def _thumbnail(picture: Image.Image) -> bytes:
    """Shrinks the picture itself."""
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    return images.encode(picture, THUMBNAIL_QUALITY)
