"""The public API of `msmm`: a finished model that reads photographs itself."""

import concurrent.futures
import itertools
import os
import pathlib
from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image

from msmm.core import images as image_files
from msmm.core import resizing, workers
from msmm.core.errors import UserError
from msmm.inference import engines, starter
from msmm.inference.model import Annotation, Model, pair_with_tags
from msmm.photos import keywords, reading
from msmm.quantities.counting_rules import CountingRule

Photo = str | os.PathLike | np.ndarray


def load(path=None, engine: str = engines.AUTO, precision: str = "float32") -> "PhotoModel":
    """Loads a finished model.

    Args:
      path: a model directory, such as runs/scenes/seed0/model; None: the starter model of the package.
      engine: the runtime of the network: "openvino", "onnxruntime", "keras", or "auto" for the fastest one
        that is installed.
      precision: "float32"; "mixed" or "bfloat16" are faster where the processor computes in bfloat16.

    Returns:
      The model, ready to annotate.

    Raises:
      UserError: the directory or one of its files is missing or damaged, or the engine is not installed.
    """
    directory = starter.find_starter_model() if path is None else path
    return PhotoModel(engines.load(directory, engine, precision))


def read_photo(path) -> np.ndarray:
    """Reads a photograph: JPEG, PNG, WebP, GIF, TIFF, BMP or PPM; with `msmm[photos]` HEIC, AVIF and raw.

    Args:
      path: the file.

    Returns:
      RGB uint8 [H, W, 3], upright as its EXIF orientation asks; transparency over white.

    Raises:
      UserError: the file is missing, damaged or no photograph.
    """
    try:
        data = image_files.read_bytes(pathlib.Path(path))
        return np.asarray(image_files.upright(image_files.load(data, os.fspath(path))))
    except image_files.BrokenImage as error:
        raise UserError(f"cannot read the photograph {path}: {error}") from error


class PhotoModel:
    """A finished model that annotates photographs, given as files or as arrays.

    Attributes:
      labels: the C class names, in the order of the probabilities.
      tags: the T tags that the model knows.
      info: settings, data set and measured figures of the model.
      image_size: side of the network's input, pixels; photographs of any size are resized.

    Example:
      >>> model = msmm.load("runs/scenes/seed0/model")
      >>> annotation, = model.annotate(["photo.jpg"])
      >>> annotation.labels
      ('beach', 'sea')
    """

    def __init__(self, model: Model):
        self._model = model
        self.labels, self.tags, self.info = model.labels, model.tags, model.info
        self.image_size = model.image_size
        self._vocabulary = keywords.Tags(model.tags)

    def annotate(
        self,
        photos: Iterable[Photo],
        tags: Iterable[Sequence[str]] | None = None,
        batch_size: int = 32,
        quantity: str | CountingRule | None = None,
    ) -> list[Annotation]:
        """Annotates photographs, batch by batch, so that memory does not grow with their pixels.

        Args:
          photos: paths of files, or arrays RGB uint8 [H, W, 3] of any size; any iterable.
          tags: one collection of tags per photograph; tags that the model does not know are left out. Without
            it, a file has its own keywords, as in `python -m msmm.annotate`, and an array has none.
          batch_size: number of photographs that are read and computed at a time.
          quantity: the counting rule; see `msmm.inference.model.Model.annotate`.

        Returns:
          One annotation per photograph: labels, probabilities, quantity, rule.

        Raises:
          UserError: a photograph cannot be read, or an array is no image; the message names it.
        """
        if isinstance(photos, str | os.PathLike) or getattr(photos, "ndim", 4) != 4:
            raise UserError(
                f"expected several photographs, as [photo]. Received: one {type(photos).__name__}"
            )
        rows, annotations = pair_with_tags(photos, tags), []
        with concurrent.futures.ThreadPoolExecutor(workers.cores()) as threads:
            while batch := list(itertools.islice(rows, batch_size)):
                prepared = list(threads.map(self._prepare, *zip(*batch, strict=True)))
                pixels, words = zip(*prepared, strict=True)
                annotations += self._model.annotate(pixels, words, quantity, batch_size)
        return annotations

    def _prepare(self, photo: Photo, tags: Sequence[str] | None) -> tuple[np.ndarray, Sequence[str]]:
        """Returns the network's pixels of a photograph, and its known tags."""
        if isinstance(photo, str | os.PathLike):
            preparation = reading.Preparation(self.image_size, with_context=self._model.reads_context)
            prepared = reading.prepare_photo(os.fspath(photo), preparation)
            if not isinstance(prepared, reading.Photo):
                raise UserError(f"cannot read the photograph {photo}: {prepared.cause}")
            pixels, own, context = prepared.pixels, prepared.keywords, prepared.context
        else:
            pixels = resizing.resize_picture(Image.fromarray(_checked(photo)), self.image_size)
            own, context = keywords.Keywords(), ()
        words = ((*own.words, *context), own.paths) if tags is None else (tags,)
        return pixels, self._vocabulary.split(*words)[0]


def _checked(image) -> np.ndarray:
    array = np.asarray(image)
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8 or not array.size:
        raise UserError(
            "expected an image as RGB uint8 [H, W, 3] with values from 0 to 255. "
            f"Received: {array.dtype} {list(array.shape)}"
        )
    return array
