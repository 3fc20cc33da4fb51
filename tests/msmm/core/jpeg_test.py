"""Scans are counted in the photograph alone, not in its segments or after its end."""

import io

import pytest
from PIL import Image

from msmm.core import images, jpeg
from tests.tfrecords_tools.conftest import picture


def encode(size=(64, 48), format="JPEG", **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture(size[1], size[0])).save(buffer, format, **options)
    return buffer.getvalue()


PLAIN, PROGRESSIVE = encode(), encode(progressive=True)
SCANS = PROGRESSIVE.count(b"\xff\xda")


def with_segment(content: bytes) -> bytes:
    return PLAIN[:2] + b"\xff\xe1" + (len(content) + 2).to_bytes(2, "big") + content + PLAIN[2:]


@pytest.mark.parametrize(
    ("data", "scans"),
    [
        (PLAIN, 1),
        (PROGRESSIVE, SCANS),
        (PLAIN + b"\0\0\0\x18ftypmp42" + b"\xff\xda" * 10_000, 1),  # a motion photo
        (PLAIN + PROGRESSIVE * 100, 1),  # several JPEG images in one file
        (with_segment(b"Exif\0\0" + PROGRESSIVE), 1),  # a thumbnail
        (with_segment(b"\xff\xda" * 100), 1),
        (PLAIN[:2] + b"\xff" * 30 + PLAIN[2:], 1),  # padding before a marker
        (PLAIN[:-2], 1),  # cut off
        (b"", 0),
        (b"\xff\xd8\xff\xe1\xff", 0),
    ],
)
def test_scans_are_counted_up_to_the_end_of_image_marker(data, scans):
    assert jpeg.count_scans(data) == scans


def test_restart_markers_do_not_end_a_scan():
    data = encode(restart_marker_rows=1, quality=95)
    assert data.count(b"\xff\xd0") and jpeg.count_scans(data) == 1
    kinds = [marker for marker, _ in jpeg.find_markers(data)]
    assert kinds[0] == 0xD8 and kinds[-2:] == [jpeg.SOS, jpeg.EOI]


def check_loads(data, size):
    assert images.load(data, least=32).size
    assert images.convert_or_explain(data) is None or isinstance(images.convert_or_explain(data), bytes)
    assert Image.open(io.BytesIO(data)).size == size


def test_a_motion_photo_of_50_megapixels_is_read():
    large = io.BytesIO()
    Image.new("RGB", (8165, 6124), "blue").save(large, "JPEG", quality=50)
    video = b"\0\0\0\x18ftypmp42\0\0\0\0" + (b"\xff\xda\0\x0c" + bytes(8188)) * 1024  # 8 MiB
    check_loads(large.getvalue() + video, (8165, 6124))


@pytest.mark.parametrize(
    "side", [(11_656, 8_742), (16_320, 12_240)], ids=["102 megapixels", "200 megapixels"]
)
def test_photographs_of_large_cameras_are_read(side):
    large = io.BytesIO()
    Image.new("L", side, 128).save(large, "JPEG", quality=30)
    assert images.load(large.getvalue(), least=224).size[0] >= 224


def test_a_tiff_file_of_many_jpeg_tiles_is_read():
    """Each tile is a JPEG stream with its own scan."""
    tiled = io.BytesIO()
    Image.new("RGB", (6000, 4000), "blue").save(tiled, "TIFF", compression="jpeg")
    data = tiled.getvalue()
    # By this measure, such files were refused before.
    assert data.count(b"\xff\xda") * 6000 * 4000 > images.MAX_SCANNED
    assert images.load(data).size == (6000, 4000)


def test_a_tiff_file_whose_tiles_have_many_scans_is_refused():
    small = encode((64, 64), progressive=True)
    last = small[small.rindex(b"\xff\xda") : -2]
    stream = small[:-2] + last * 4000 + b"\xff\xd9"
    side = 1024
    tags = [(256, 4, side), (257, 4, side), (258, 3, 8), (259, 3, 7), (262, 3, 6), (273, 4, 200),
            (277, 3, 3), (278, 4, side), (279, 4, len(stream))]  # fmt: skip
    directory = len(tags).to_bytes(2, "little")
    for tag, kind, value in tags:
        directory += b"".join(n.to_bytes(w, "little") for n, w in ((tag, 2), (kind, 2), (1, 4), (value, 4)))
    head = (b"II*\0\x08\0\0\0" + directory + bytes(4)).ljust(200, b"\0")
    assert images.convert_or_explain(head + stream) == "too many scans"
