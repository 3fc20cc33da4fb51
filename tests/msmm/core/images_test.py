import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from msmm.core import images
from tests import conftest
from tests.tfrecords_tools.conftest import picture

SHARED = conftest.SHARED / "data"


def encode(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, **options)
    return buffer.getvalue()


def decode(data):
    image = Image.open(io.BytesIO(data))
    assert (image.format, image.mode) == ("JPEG", "RGB")
    return np.asarray(image).astype(int)


def assert_close(data, expected, tolerance=6):
    pixels = decode(data)
    assert pixels.shape == expected.shape
    assert np.abs(pixels - expected.astype(int)).max() <= tolerance


RGB = Image.fromarray(picture())
GREY = RGB.convert("L")


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"quality": 30, "subsampling": 2}, {"comment": b"!"}]
)
def test_upright_rgb_jpeg_is_kept_unchanged(options):
    data = encode(RGB, format="JPEG", **options)
    assert images.to_jpeg(data) == data


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF", "BMP", "PPM"])
def test_other_formats_become_jpeg(format):
    options = {"lossless": True} if format == "WEBP" else {}
    assert_close(images.to_jpeg(encode(RGB, format=format, **options)), picture())


def test_re_encoded_images_keep_full_chroma_resolution():
    data = images.to_jpeg(encode(RGB, format="PNG"))
    assert [layer[1:3] for layer in Image.open(io.BytesIO(data)).layer] == [(1, 1)] * 3


@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_greyscale_images_become_rgb(format):
    expected = np.repeat(np.asarray(GREY)[..., None], 3, axis=2)
    assert_close(images.to_jpeg(encode(GREY, format=format)), expected)


def test_bilevel_images_become_rgb():
    bits = np.zeros((16, 16), bool)
    bits[:, 8:] = True
    data = images.to_jpeg(encode(Image.fromarray(bits), format="PNG"))
    assert_close(data, np.repeat(bits[..., None] * 255, 3, axis=2))


def test_palette_images_become_rgb():
    data = images.to_jpeg(encode(RGB.quantize(256), format="PNG"))
    assert_close(data, np.asarray(RGB.quantize(256).convert("RGB")), tolerance=24)


def test_cmyk_jpeg_becomes_rgb():
    cmyk = Image.new("CMYK", (32, 24), (0, 255, 255, 0))  # red in ink
    assert_close(images.to_jpeg(encode(cmyk, format="JPEG", quality=95)), np.full((24, 32, 3), (255, 0, 0)))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_is_composited_on_white(mode):
    # Black, and on the left half fully transparent.
    if mode == "P":
        image = Image.new("P", (32, 16), 0)
        image.putpalette([255, 0, 0, 0, 0, 0])
        image.paste(1, (16, 0, 32, 16))
        options = {"transparency": 0}
    else:
        alpha = np.zeros((16, 32), np.uint8)
        alpha[:, 16:] = 255
        image = Image.new("RGB" if mode == "RGBA" else "L", (32, 16))
        image.putalpha(Image.fromarray(alpha))
        options = {}
    expected = np.zeros((16, 32, 3))
    expected[:, :16] = 255
    assert_close(images.to_jpeg(encode(image, format="PNG", **options)), expected)


def test_partial_transparency_is_blended_with_white():
    image = Image.new("RGBA", (16, 16), (0, 0, 0, 102))  # 40 % black
    assert_close(images.to_jpeg(encode(image, format="PNG")), np.full((16, 16, 3), 153))


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_not_clipped(format):
    deep = np.tile(np.linspace(0, 65535, 64).astype(np.uint16), (16, 1))
    data = images.to_jpeg(encode(Image.fromarray(deep), format=format))
    assert_close(data, np.repeat((deep // 256)[..., None], 3, axis=2))


def test_float_tiff_is_scaled_to_its_brightest_pixel():
    values = np.tile(np.linspace(0, 2, 64, dtype=np.float32), (16, 1))
    data = images.to_jpeg(encode(Image.fromarray(values), format="TIFF"))
    assert_close(data, np.repeat((values * 127.5)[..., None], 3, axis=2))


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG"])
def test_first_frame_of_an_animation_is_used(format):
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue", "green")]
    data = encode(frames[0], format=format, save_all=True, append_images=frames[1:], duration=50)
    assert Image.open(io.BytesIO(data)).n_frames == 3
    assert_close(images.to_jpeg(data), np.full((16, 16, 3), (255, 0, 0)), tolerance=12)


def orient(stored, orientation):
    """Orients pixels by the EXIF standard: where row 0 and column 0 of the stored pixels are displayed."""
    return {
        1: stored,  # top, left
        2: stored[:, ::-1],  # top, right
        3: stored[::-1, ::-1],  # bottom, right
        4: stored[::-1],  # bottom, left
        5: stored.swapaxes(0, 1),  # left, top
        6: np.rot90(stored, -1),  # right, top: a quarter turn clockwise
        7: stored.swapaxes(0, 1)[::-1, ::-1],  # right, bottom
        8: np.rot90(stored, 1),  # left, bottom
    }[orientation]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF"])
def test_exif_orientation_is_applied(orientation, format):
    exif = Image.Exif()
    exif[images.ORIENTATION] = orientation
    data = encode(RGB, format=format, exif=exif, **({"quality": 95} if format == "JPEG" else {}))
    result = images.to_jpeg(data)
    assert_close(result, orient(picture(), orientation), tolerance=10)
    assert Image.open(io.BytesIO(result)).getexif().get(images.ORIENTATION, 1) == 1
    assert (result == data) == (format == "JPEG" and orientation == 1)


@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\x7f", b"Exif\0\0"])
def test_damaged_exif_is_ignored(exif):
    data = encode(RGB, format="JPEG", exif=exif)
    assert images.to_jpeg(data) == data


def test_resize_bounds_the_short_side():
    tall, wide = Image.fromarray(picture(90, 60)), Image.fromarray(picture(60, 91))
    assert decode(images.to_jpeg(encode(tall, format="JPEG"), 30)).shape == (45, 30, 3)
    assert decode(images.to_jpeg(encode(wide, format="PNG"), 30)).shape == (30, 46, 3)
    assert_close(images.to_jpeg(encode(tall, format="JPEG"), 30), picture(45, 30), tolerance=10)


def test_resize_never_enlarges():
    data = encode(RGB, format="JPEG")
    assert images.to_jpeg(data, 24) == data
    assert images.to_jpeg(data, 200) == data
    assert images.to_jpeg(data, 23) != data


def test_a_much_larger_photograph_keeps_its_proportions_and_colours():
    """Pillow decodes a JPEG at a fraction of its size where that is enough."""
    large, small = (np.asarray(Image.fromarray(picture(h, w))) for h, w in ((801, 1203), (100, 150)))
    data = images.to_jpeg(encode(Image.fromarray(large), format="JPEG", quality=95), 100)
    assert_close(data, small, tolerance=8)
    small = np.random.default_rng(0).integers(60, 196, (60, 80, 3)).astype(np.uint8)
    large = small.repeat(9, axis=0).repeat(9, axis=1)
    data = images.to_jpeg(encode(Image.fromarray(large), format="JPEG", quality=95, subsampling=0), 60)
    assert np.abs(decode(data) - small).mean() < 12  # decoded at 90 x 68 it would be off by 17


def test_resize_follows_the_exif_orientation():
    exif = Image.Exif()
    exif[images.ORIENTATION] = 6
    data = encode(Image.fromarray(picture(40, 80)), format="JPEG", exif=exif)
    assert decode(images.to_jpeg(data, 20)).shape == (40, 20, 3)


def find_cause(image):
    with pytest.raises(images.BrokenImage) as caught:
        images.to_jpeg(image)
    return str(caught.value)


def test_broken_images_are_refused_with_a_cause(tmp_path):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    jpeg, png = encode(noise, format="JPEG"), encode(noise, format="PNG")
    assert find_cause(b"") == "empty file"
    assert find_cause(b"<html><body>This photo is no longer available") == "not an image of a known format"
    assert (
        find_cause(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n") == "not an image of a known format"
    )
    for data in (jpeg, png):
        for size in (20, len(data) // 2, len(data) - 100):
            assert find_cause(data[:size]) == "does not decode"
    assert find_cause(tmp_path / "nowhere.jpg") == "missing file"
    assert find_cause(tmp_path) == "unreadable file"


def test_checked_returns_bytes_none_or_a_cause(tmp_path):
    jpeg, png = encode(RGB, format="JPEG"), encode(RGB, format="PNG")
    (tmp_path / "a.jpg").write_bytes(jpeg)
    assert images.convert_or_explain(jpeg) is None
    assert images.convert_or_explain(tmp_path / "a.jpg", 24) is None
    assert images.convert_or_explain(tmp_path / "a.jpg", 12) == images.to_jpeg(jpeg, 12)
    assert images.convert_or_explain(png) == images.to_jpeg(png)
    assert images.convert_or_explain(b"<html>") == "not an image of a known format"
    missing = tmp_path / "b.jpg"
    assert images.convert_or_explain(missing) == images.read_or_explain(missing) == "missing file"
    assert images.read_or_explain(tmp_path / "a.jpg") == images.read_or_explain(jpeg) == jpeg


def png_with_size(width, height):
    """Returns a PNG file of one pixel whose header states a larger size."""
    data = encode(Image.new("1", (1, 1)), format="PNG")
    header = b"IHDR" + struct.pack(">II", width, height) + data[24:29]
    return data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]


def test_too_many_pixels_are_refused_without_a_warning(recwarn):
    for side in (12_650, 14_492, 30_000):  # over the limit of PNG, and over both of Pillow's own
        assert find_cause(png_with_size(side, side)) == "too many pixels"
    assert find_cause(png_with_size(70_000, 2)) == "too many pixels"  # JPEG cannot hold it
    assert find_cause(png_with_size(12_649, 12_649)) == "does not decode"
    assert not recwarn.list


def test_tensorflow_decodes_every_accepted_image():
    """Real files, some of them truncated, empty, HTML, GIF, greyscale, CMYK or progressive."""
    import tensorflow as tf

    paths = sorted(SHARED.glob("nus_wide_sample/Flickr/*/*.jpg")) + sorted(SHARED.glob("coco_tiny/*/*.jpg"))
    if not paths:
        pytest.skip("the sample photographs are missing")
    accepted, causes = 0, set()
    for path in paths:
        try:
            data = images.to_jpeg(path)
        except images.BrokenImage as error:
            causes.add(str(error))
            with pytest.raises(tf.errors.InvalidArgumentError):
                tf.io.decode_jpeg(path.read_bytes())
            continue
        accepted += 1
        assert tf.io.decode_jpeg(data).shape[-1] == 3
    assert causes == {"empty file", "not an image of a known format", "does not decode"}
    assert accepted == len(paths) - 27
