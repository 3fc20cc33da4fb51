"""Extracts the picture that a camera has put into its raw file, with LibRaw (package rawpy).

A file without a picture is developed at half its size.
"""

import dataclasses
import io

import numpy as np

ORIENTATIONS = {0: 1, 3: 3, 5: 8, 6: 6}  # LibRaw's numbers of turns, and those of EXIF
MAX_DEVELOPED = 160_000_000  # pixels of the sensor


class Unreadable(Exception):
    """Raised for a file that LibRaw cannot read, or only at too great a cost; the message is the cause."""


@dataclasses.dataclass(frozen=True)
class Picture:
    """The picture of a camera raw file.

    content: JPEG bytes, or RGB uint8 [H, W, 3]. orientation: EXIF's number of how the sensor's picture is to
    be turned. is_wide: whether the sensor's picture is wider than high.
    """

    content: bytes | np.ndarray
    orientation: int
    is_wide: bool

    def find_turn(self, width: int, height: int, own: int) -> int:
        """Returns EXIF's number of how `content` is to be turned.

        Args:
          width: of `content`, pixels.
          height: of `content`, pixels.
          own: the number in the EXIF block of `content`; 1 where there is none.
        """
        if self.orientation == 1:
            return own
        is_quarter = self.orientation > 4
        # Some programs turn the pixels of the embedded picture, and leave the number of the sensor's.
        is_upright = is_quarter and width != height and (width > height) != self.is_wide
        return 1 if is_upright else self.orientation


def extract_picture(data: bytes) -> Picture:
    """Returns the largest embedded picture of a camera raw file, or a developed one where there is none.

    Raises:
      Unreadable: with the cause.
    """
    import rawpy

    try:
        with rawpy.imread(io.BytesIO(data)) as raw:
            turn, is_wide = ORIENTATIONS.get(raw.sizes.flip, 1), raw.sizes.width > raw.sizes.height
            try:
                content = raw.extract_thumb().data
            except (rawpy.LibRawNoThumbnailError, rawpy.LibRawUnsupportedThumbnailError):
                return Picture(_develop(raw), 1, is_wide)  # LibRaw turns it
            return Picture(content if isinstance(content, bytes) else _to_rgb(content), turn, is_wide)
    except rawpy.LibRawFileUnsupportedError:
        raise Unreadable("not an image of a known format") from None
    except Unreadable:
        raise
    except Exception:  # LibRaw's errors, and what rawpy makes of damaged values
        raise Unreadable("does not decode") from None


def _develop(raw) -> np.ndarray:
    if raw.sizes.raw_width * raw.sizes.raw_height > MAX_DEVELOPED:
        raise Unreadable("too many pixels")
    return _to_rgb(raw.postprocess(half_size=True, use_camera_wb=True, output_bps=8))


def _to_rgb(pixels: np.ndarray) -> np.ndarray:
    """Returns a copy of uint8 [H, W], [H, W, 1] or [H, W, 3] with three channels."""
    pixels = np.array(pixels, np.uint8)
    if pixels.ndim == 2 or pixels.shape[2] == 1:
        pixels = np.repeat(pixels.reshape(*pixels.shape[:2], 1), 3, axis=2)
    if not pixels.size or pixels.shape[2] != 3:
        raise Unreadable("does not decode")
    return pixels
