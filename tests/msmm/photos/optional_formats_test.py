"""HEIC, AVIF and camera raw: read by annotate, pack and the page as JPEG is, or refused with a cause."""

import importlib.util
import io
import shutil
import struct
import subprocess
import time

import numpy as np
import pytest
from PIL import Image

from msmm.core import images, isobmff, photo_files
from msmm.photos import keywords, reading
from msmm.photos.outputs import Sidecars
from tests.camera_raw_files import encode_jpeg, make_dng
from tests.msmm.conftest import bright_above, picture
from tests.msmm.core.packages import needs, without_packages  # noqa: F401 - a fixture
from tests.msmm.photos.metadata_test import bag, iptc, packet

TURNS = {1: None, 3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}


def encode(form: str, image: Image.Image | None = None, **options) -> bytes:
    """Encodes a picture as HEIC or AVIF."""
    if form == "HEIC":
        images._register_heif()
    buffer = io.BytesIO()
    (image or picture()).save(buffer, {"HEIC": "HEIF"}.get(form, form), **options)
    return buffer.getvalue()


def exif(orientation: int = 1, windows: str = "") -> Image.Exif:
    made = Image.Exif()
    made[images.ORIENTATION] = orientation
    if windows:
        made[0x9C9E] = windows.encode("utf-16-le")
    return made


def turned(orientation: int) -> Image.Image:
    """Returns the pixels of "bright above" as a camera stores them under an orientation."""
    turn = TURNS[orientation]
    return bright_above() if turn is None else bright_above().transpose(turn)


def make_file(form: str, orientation: int = 1) -> bytes:
    """Returns a file of "bright above" under an orientation."""
    stored = turned(orientation)
    if form == "camera raw":
        sensor = np.full((stored.height, stored.width), 500)
        return make_dng(encode_jpeg(stored, quality=95), orientation, sensor)
    return encode(form, stored, exif=exif(orientation).tobytes())


FORMATS = [pytest.param(form, marks=needs(form)) for form in photo_files.OPTIONAL_FORMATS]
NAMES = {"HEIC": "a.heic", "AVIF": "a.avif", "camera raw": "a.dng"}


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("form", FORMATS)
def test_annotate_pack_and_page_read_the_format_upright(form, orientation, tmp_path, annotate, model):
    path = tmp_path / NAMES[form]
    path.write_bytes(make_file(form, orientation))
    before = path.read_bytes()
    annotated, summary = annotate(tmp_path)
    assert annotated[str(path)].labels[0] == "bright above" and not summary.skipped
    packed = Image.open(io.BytesIO(images.convert_or_explain(path)))
    assert (packed.format, packed.size) == ("JPEG", (60, 40))
    assert np.abs(np.asarray(packed).astype(int) - np.asarray(bright_above())).mean() < 12
    smaller = Image.open(io.BytesIO(images.convert_or_explain(path, 20)))
    assert smaller.size == (30, 20)
    if importlib.util.find_spec("gradio"):
        from msmm.photos import page

        assert page.annotate_upload(model, str(path), "")["labels"][0] == "bright above"
    assert path.read_bytes() == before


@pytest.mark.parametrize("form", FORMATS)
def test_the_content_decides_and_packages_that_are_missing_are_named(form, tmp_path, without_packages):  # noqa: F811
    for name in (NAMES[form], "a.jpg", "a"):
        (tmp_path / name).write_bytes(make_file_before(form))
        needed = f"{photo_files.OPTIONAL_FORMATS[form][1]}: {photo_files.INSTALL}"
        cause = f"{form} is not read without {needed}, or export it as JPEG"
        assert images.convert_or_explain(tmp_path / name) == cause


def make_file_before(form: str) -> bytes:
    """Returns the beginning of a file, which needs no package."""
    brand = {"HEIC": b"heic", "AVIF": b"avif", "camera raw": b"crx "}[form]
    return struct.pack(">I", 20) + b"ftyp" + brand + bytes(4) + b"mif1"


@pytest.mark.parametrize("form", FORMATS)
def test_the_format_is_read_under_any_name(form, tmp_path, annotate):
    for name in ("b.jpg", "c", "d.png"):
        (tmp_path / name).write_bytes(make_file(form))
    annotated, _ = annotate(tmp_path)
    assert {a.labels[0] for a in annotated.values()} == {"bright above"} and len(annotated) == 3


@pytest.mark.parametrize("form", FORMATS)
def test_keywords_in_the_file_are_read(form):
    content = packet(bag("dc:subject", "Rome", "sea"), bag("lr:hierarchicalSubject", "Places|Italy"))
    if form == "camera raw":
        data = make_dng(encode_jpeg(picture()), xmp=content, iptc=iptc(b"harbour"), windows="ship;Rome")
        expected = {"harbour", "Rome", "sea", "Italy", "ship"}
    else:
        data = encode(form, xmp=content, exif=exif(windows="ship;Rome").tobytes())
        expected = {"Rome", "sea", "Italy", "ship"}
    read = keywords.read_embedded(images.load(data), data)
    assert set(read.words) == expected and len(read.words) == len(expected) and not read.problems


@pytest.mark.skipif(not shutil.which("exiftool"), reason="exiftool is not installed")
@pytest.mark.parametrize("form", FORMATS)
def test_keywords_written_by_exiftool_are_read(form, tmp_path):
    path = tmp_path / NAMES[form]
    path.write_bytes(make_file(form))
    words = ["-XMP-dc:Subject=Rome", "-XMP-dc:Subject=Café", "-XMP-lr:HierarchicalSubject=Places|Italy"]
    subprocess.run(["exiftool", "-q", *words, path], check=True, timeout=60)
    photo = reading.prepare_photo(str(path), reading.Preparation(32))
    assert photo.embedded == ("Rome", "Café", "Italy")


@needs("camera raw")
def test_keywords_in_the_boxes_of_a_canon_file_are_read():
    """The box is read by itself: LibRaw accepts no CR3 file that could be made here."""
    content = packet(bag("dc:subject", "Rome"))
    kind = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
    boxes = struct.pack(">I4s", 8 + 16 + len(content), b"uuid") + kind + content
    data = struct.pack(">I", 20) + b"ftypcrx " + bytes(8) + boxes
    image = picture()
    image.info[images.RAW] = True
    assert keywords.read_embedded(image, data).words == ("Rome",)


@needs("camera raw")
def test_sidecars_of_raw_files_are_read_and_written_once(tmp_path, annotate):
    data = make_dng(encode_jpeg(picture("blue")))
    for name in ("a.nef", "b.nef", "a.jpg"):
        (tmp_path / name).write_bytes(data if name.endswith("nef") else encode_jpeg(picture("red")))
    (tmp_path / "b.nef.xmp").write_bytes(packet(bag("dc:subject", "beach")))
    (tmp_path / "b.xmp").write_bytes(packet(bag("dc:subject", "café")))
    files = {path: path.read_bytes() for path in tmp_path.iterdir()}
    annotated, _ = annotate(tmp_path)
    assert set(annotated[str(tmp_path / "b.nef")].tags) == {"beach", "café"}
    annotate(tmp_path, output=Sidecars("m"))
    new = {"a.xmp", "a.jpg.xmp"}
    assert {path.name for path in tmp_path.iterdir()} == new | {path.name for path in files}
    changed = {path.name for path, content in files.items() if path.read_bytes() != content}
    assert changed == {"b.nef.xmp"}
    assert keywords.read_packet(parse(tmp_path / "a.xmp")).words == ("blue",)
    assert keywords.read_packet(parse(tmp_path / "a.jpg.xmp")).words == ("red",)
    _, summary = annotate(tmp_path, output=Sidecars("m"))
    assert summary.annotated == 0 and summary.done_before.total() == 3


def parse(path):
    from msmm.photos import xmp

    return xmp.parse(path.read_bytes())


@needs("camera raw")
def test_a_raw_file_without_a_picture_is_developed():
    sensor = np.zeros((64, 96), int)
    sensor[:32, :] = 900  # bright above
    for orientation, size in ((1, (48, 32)), (3, (48, 32)), (6, (32, 48))):
        loaded = images.upright(images.load(make_dng(None, orientation, sensor)))
        pixels = np.asarray(loaded).astype(int)
        assert loaded.size == size
        edges = {1: (pixels[:12], pixels[-12:]), 3: (pixels[-12:], pixels[:12]),
                 6: (pixels[:, -12:], pixels[:, :12])}  # fmt: skip
        bright, dark = edges[orientation]
        assert bright.mean() > dark.mean() + 100


@needs("camera raw")
def test_a_raw_file_of_a_sensor_without_colours_is_developed():
    """The value that says three filters of colour stand in a mosaic becomes one that says brightness."""
    data = make_dng(None)
    mosaic = struct.pack("<HHIHH", 262, 3, 1, 32803, 0)
    grey = data.replace(mosaic, struct.pack("<HHIHH", 262, 3, 1, 34892, 0))
    assert grey != data
    assert images.upright(images.load(grey)).getbands() == ("R", "G", "B")


@needs("camera raw")
def test_a_picture_that_is_upright_already_is_not_turned():
    upright = bright_above((40, 60))  # a portrait, which the sensor saw lying
    data = make_dng(encode_jpeg(upright), 6)
    read = images.upright(images.load(data, "a.nef"))
    assert read.size == (40, 60) and np.asarray(read)[:20].mean() > 100 > np.asarray(read)[-20:].mean()


@needs("camera raw")
def test_the_picture_in_a_raw_file_has_the_limits_of_a_jpeg():
    plain = encode_jpeg(picture("red", (64, 48)))
    size = plain.index(b"\xff\xc0") + 5
    claimed = plain[:size] + struct.pack(">HH", 20_000, 20_000) + plain[size + 4 :]
    assert images.convert_or_explain(make_dng(claimed, size=(20_000, 20_000))) == "too many pixels"
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    large = encode_jpeg(Image.fromarray(noise))
    assert images.convert_or_explain(make_dng(large[: len(large) // 2], size=(400, 300))) == "does not decode"


@needs("camera raw")
def test_raw_files_written_by_pidng_are_read(tmp_path):
    pidng = pytest.importorskip("pidng.core", reason="PiDNG is missing: pip install PiDNG")
    from pidng.defs import CFAPattern, Orientation, PhotometricInterpretation
    from pidng.dng import DNGTags, Tag

    sensor = np.zeros((64, 96), np.uint16)
    sensor[:32] = 3600
    tags = DNGTags()
    for tag, value in (
        (Tag.ImageWidth, 96),
        (Tag.ImageLength, 64),
        (Tag.TileWidth, 96),
        (Tag.TileLength, 64),
        (Tag.Orientation, Orientation.Horizontal),
        (Tag.PhotometricInterpretation, PhotometricInterpretation.Color_Filter_Array),
        (Tag.SamplesPerPixel, 1),
        (Tag.BitsPerSample, 12),
        (Tag.CFARepeatPatternDim, [2, 2]),
        (Tag.CFAPattern, CFAPattern.RGGB),
        (Tag.BlackLevel, 0),
        (Tag.WhiteLevel, 4095),
        (Tag.ColorMatrix1, [[1, 1], [0, 1], [0, 1], [0, 1], [1, 1], [0, 1], [0, 1], [0, 1], [1, 1]]),
        (Tag.CalibrationIlluminant1, 21),
        (Tag.AsShotNeutral, [[1, 1], [1, 1], [1, 1]]),
        (Tag.Make, "Maker"),
        (Tag.Model, "Model"),
        (Tag.DNGVersion, [1, 4, 0, 0]),
        (Tag.DNGBackwardVersion, [1, 2, 0, 0]),
    ):
        tags.set(tag, value)
    converter = pidng.RAW2DNG()
    converter.options(tags, path=f"{tmp_path}/", compress=False)
    converter.convert(sensor, filename="a.dng")
    photo = reading.prepare_photo(str(tmp_path / "a.dng"), reading.Preparation(32))
    assert photo.pixels[:12].mean() > photo.pixels[-12:].mean() + 100


@needs("HEIC")
def test_a_file_of_many_derived_images_is_refused_quickly():
    """Each image made of others is a pass over all pixels: 2,000 of them would take minutes."""
    data = encode("HEIC", picture("red", (3000, 2000)))
    assert isobmff.measure_decoding(data) == (6_000_000, 0)
    hostile = with_references(data, b"".join(reference(b"dimg", number, 1) for number in range(2, 2002)))
    assert isobmff.measure_decoding(hostile) == (6_000_000, 2000)
    started = time.perf_counter()
    assert images.convert_or_explain(hostile) == "too many layers"
    assert time.perf_counter() - started < 1
    honest = with_references(data, reference(b"thmb", 2, 1) + reference(b"dimg", 3, 1))
    assert isobmff.measure_decoding(honest) == (6_000_000, 1)


@needs("HEIC")
def test_a_grid_of_tiles_is_read_as_telephones_write_it(monkeypatch):
    images._register_heif()
    options = pytest.importorskip("pillow_heif").options
    if not hasattr(options, "GRID_TILE_SIZE"):
        pytest.skip("this pillow-heif writes no grids: 1.8 does")
    monkeypatch.setattr(options, "GRID_TILE_SIZE", 256)
    data = encode("HEIC", bright_above((900, 700)))
    assert isobmff.measure_decoding(data) == (900 * 700, 1)
    assert np.asarray(images.upright(images.load(data)))[:300].mean() > 100


def reference(kind: bytes, of: int, to: int) -> bytes:
    return struct.pack(">I4sHHH", 14, kind, of, 1, to)


def with_references(data: bytes, content: bytes) -> bytes:
    """Adds a box of references to the box "meta" of a HEIC file."""
    box = struct.pack(">I4sI", 12 + len(content), b"iref", 0) + content
    (start, end) = next((s, e) for kind, s, e in isobmff.find_boxes(data) if kind == b"meta")
    size = struct.pack(">I", end - start + 8 + len(box))
    return data[: start - 8] + size + data[start - 4 : end] + box + data[end:]


@needs("HEIC")
def test_a_claimed_size_over_the_limit_is_refused():
    data = encode("HEIC", picture("red", (128, 128)))
    claimed = data.replace(struct.pack(">II", 128, 128), struct.pack(">II", 20_000, 10_000))
    assert claimed != data
    assert images.convert_or_explain(claimed) == "too many pixels"
    other = encode("HEIC", picture("red", (128, 128)), thumbnails=[64])  # another image in the file
    claimed = other.replace(struct.pack(">II", 64, 64), struct.pack(">II", 20_000, 10_000))
    assert claimed != other and images.convert_or_explain(claimed) == "too many pixels"


def test_boxes_end_at_the_first_damaged_one():
    def box(size, kind=b"free", content=b""):
        return struct.pack(">I4s", size, kind) + content

    large = box(1, b"mdat", struct.pack(">Q", 18) + b"xy")  # a size of eight bytes
    data = box(10, content=b"ab") + large + box(0, b"meta", b"rest")
    assert list(isobmff.find_boxes(data)) == [(b"free", 8, 10), (b"mdat", 26, 28), (b"meta", 36, 40)]
    for damaged in (box(4), box(100), box(1, content=bytes(3)), b"abc"):
        assert list(isobmff.find_boxes(box(10, content=b"ab") + damaged)) == [(b"free", 8, 10)]
