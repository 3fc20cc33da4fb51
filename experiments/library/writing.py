"""Writes a planned library with the tools that people's photographs come from: exiftool, libheif, PiDNG."""

import collections
import importlib.util
import pathlib
import shutil
import subprocess
from collections.abc import Sequence

import numpy as np
from PIL import Image

from experiments.library.planning import HIERARCHY, IPTC, MIXED, SIDECAR, XMP, PlannedPhoto
from msmm.core.errors import UserError

_UPPER = "Things"  # the parent of all keywords in the hierarchy
_COMMON = ("-q", "-m", "-overwrite_original", "-codedcharacterset=utf8")


def list_formats() -> tuple[str, ...]:
    """Returns the formats that can be written on this machine, keys of `planning.FORMATS`."""
    needed = {"heic": "pillow_heif", "dng": "pidng"}
    extra = [name for name, package in needed.items() if importlib.util.find_spec(package)]
    return ("jpg", "png", *extra)


def write_library(plans: Sequence[PlannedPhoto], folder: pathlib.Path) -> collections.Counter[str]:
    """Writes all photographs and sidecars into a new folder, and returns the number of each kind.

    Raises:
        UserError: exiftool is missing, or fails.
    """
    if not shutil.which("exiftool"):
        raise UserError("expected exiftool, which writes the keywords: install libimage-exiftool-perl")
    kinds = collections.Counter[str]()
    arguments: list[str] = []
    for plan in plans:
        path = folder / plan.path
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_pixels(plan, path)
        kinds[plan.format] += 1
        kinds[f"keywords in {plan.place}" if plan.keywords else "without keywords"] += 1
        for target, tags in _metadata(plan, path):
            arguments += ["-execute", *tags, str(target)]
    listed = folder.parent / f"{folder.name}.args"
    listed.write_text("\n".join(arguments[1:]) + "\n", encoding="utf-8")
    command = ["exiftool", "-@", str(listed), "-common_args", *_COMMON]
    result = subprocess.run(command, capture_output=True, text=True)
    listed.unlink()
    if result.returncode:
        lines = result.stderr.strip().splitlines() or [f"status {result.returncode}"]
        raise UserError(f"exiftool could not write the library: {lines[-1]}")
    return kinds


def copy_bare(plans: Sequence[PlannedPhoto], folder: pathlib.Path) -> None:
    """Copies the photographs as they are in MSCOCO, under numbers as names: pixels and no words."""
    folder.mkdir(parents=True)
    for plan in plans:
        shutil.copyfile(plan.source, folder / bare_name(plan))


def bare_name(plan: PlannedPhoto) -> str:
    """Returns the name that `copy_bare` gives a photograph."""
    return pathlib.PurePath(plan.path).stem + ".jpg"


def _write_pixels(plan: PlannedPhoto, path: pathlib.Path) -> None:
    if plan.format == "jpg":
        shutil.copyfile(plan.source, path)
        return
    with Image.open(plan.source) as image:
        picture = image.convert("RGB")
    if plan.format == "heic":
        import pillow_heif

        pillow_heif.from_pillow(picture).save(path, quality=90)
    elif plan.format == "png":
        picture.save(path)
    else:
        _write_dng(picture, path)


def _write_dng(picture: Image.Image, path: pathlib.Path) -> None:
    """Writes a photograph as a sensor behind red, green and blue filters would have recorded it.

    The sensor has twice the sides: without a preview, raw data is read at half size.
    """
    from pidng.core import RAW2DNG
    from pidng.defs import CFAPattern, Orientation, PhotometricInterpretation
    from pidng.dng import DNGTags, Tag

    rgb = np.asarray(picture, np.float64).repeat(2, axis=0).repeat(2, axis=1)
    linear = np.where(rgb <= 10.3, rgb / 255 / 12.92, ((rgb / 255 + 0.055) / 1.055) ** 2.4)
    sensor = linear[..., 1]
    sensor[0::2, 0::2], sensor[1::2, 1::2] = linear[0::2, 0::2, 0], linear[1::2, 1::2, 2]
    height, width = sensor.shape
    identity = [[int(row == column), 1] for row in range(3) for column in range(3)]
    values = {
        Tag.ImageWidth: width, Tag.ImageLength: height, Tag.TileWidth: width, Tag.TileLength: height,
        Tag.Orientation: Orientation.Horizontal, Tag.SamplesPerPixel: 1, Tag.BitsPerSample: 12,
        Tag.PhotometricInterpretation: PhotometricInterpretation.Color_Filter_Array,
        Tag.CFARepeatPatternDim: [2, 2], Tag.CFAPattern: CFAPattern.RGGB, Tag.BlackLevel: 0,
        Tag.WhiteLevel: 4095, Tag.ColorMatrix1: identity, Tag.CalibrationIlluminant1: 21,
        Tag.AsShotNeutral: [[1, 1]] * 3, Tag.Make: "Maker", Tag.Model: "Model",
        Tag.DNGVersion: [1, 4, 0, 0], Tag.DNGBackwardVersion: [1, 2, 0, 0],
    }  # fmt: skip
    tags = DNGTags()
    for tag, value in values.items():
        tags.set(tag, value)
    converter = RAW2DNG()
    converter.options(tags, path=f"{path.parent}/", compress=False)
    converter.convert((4095 * sensor).round().astype(np.uint16), filename=path.name)


def _metadata(plan: PlannedPhoto, path: pathlib.Path) -> list[tuple[pathlib.Path, list[str]]]:
    """Returns the files to write metadata into, each with exiftool's arguments."""
    make, model = plan.camera
    inside = [f"-EXIF:DateTimeOriginal={plan.taken}", f"-EXIF:Make={make}", f"-EXIF:Model={model}"]
    inside += [f"-XMP-photoshop:City={plan.city}"]
    if plan.caption:
        inside += [f"-XMP-dc:Description={plan.caption}"]
        inside += [f"-IPTC:Caption-Abstract={plan.caption}"] if plan.format == "jpg" else []
    iptc = [f"-IPTC:Keywords={word}" for word in plan.keywords]
    xmp = [f"-XMP-dc:Subject={word}" for word in plan.keywords]
    if plan.place in (IPTC, MIXED):
        inside += iptc
    if plan.place in (XMP, MIXED):
        inside += xmp
    if plan.place == HIERARCHY and plan.keywords:
        inside += [f"-XMP-lr:HierarchicalSubject={_UPPER}|{word}" for word in plan.keywords]
        inside += [*xmp, f"-XMP-dc:Subject={_UPPER}"]
    if plan.format == "dng":  # exiftool could write into it, but programs do not
        xmp += [f"-XMP-exif:DateTimeOriginal={plan.taken}"]
        return [(path.with_suffix(".xmp"), xmp)]
    written = [(path, inside)]
    if plan.place == SIDECAR and plan.keywords:
        written.append((pathlib.Path(f"{path}.xmp"), xmp))
    return written
