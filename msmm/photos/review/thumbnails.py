"""Small JPEGs of photographs, kept in memory up to a number of bytes."""

import collections
import pathlib
import threading

from msmm.core import images

SIZES = {"small": 360, "large": 1600}  # pixels, the longer side
MAX_BYTES = 96 << 20
QUALITY = 82
_AT_ONCE = 2  # photographs that are decoded at the same time: each takes its pixels of memory


class Thumbnails:
    """Makes and keeps small JPEGs, for several threads.

    Args:
      max_bytes: of all JPEGs that are kept; the one used longest ago goes first.
    """

    def __init__(self, max_bytes: int = MAX_BYTES):
        self._max_bytes, self._bytes = max_bytes, 0
        self._kept: collections.OrderedDict[tuple[str, str], bytes] = collections.OrderedDict()
        self._lock, self._decoding = threading.Lock(), threading.Semaphore(_AT_ONCE)

    def make(self, path: str, size: str) -> bytes:
        """Returns the JPEG bytes of a photograph, upright, no side longer than SIZES[size].

        Raises:
          images.BrokenImage: the photograph cannot be read.
        """
        key = path, size
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        with self._decoding:
            side = SIZES[size]
            picture = images.upright(images.load(images.read_bytes(pathlib.Path(path)), path, side))
            picture.thumbnail((side, side))
            jpeg = images.encode(picture, QUALITY)
        with self._lock:
            if key not in self._kept:
                self._kept[key] = jpeg
                self._bytes += len(jpeg)
            while self._bytes > self._max_bytes:
                self._bytes -= len(self._kept.popitem(last=False)[1])
        return jpeg
