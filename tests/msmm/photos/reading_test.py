"""Real photographs and unusual files: each is annotated correctly or skipped with a cause."""

import contextlib
import hashlib
import os
import pathlib
import shutil
import struct
import tempfile
import zlib

import numpy as np
import pytest
from PIL import Image

from msmm.core import images, photo_files
from msmm.inference import model_dir
from msmm.photos import reading, sidecars, xmp, xmp_merging
from tests.conftest import SHARED
from tests.msmm.conftest import bright_above, picture

COCO = SHARED / "data/coco_tiny/val2017"
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)  # nothing else
needs_coco = pytest.mark.skipif(not COCO.is_dir(), reason="the photographs of ../shared/data are missing")


def png_header(width, height) -> bytes:
    """Returns a PNG whose header states a size, with little data."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(b"\0" * 1000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def text_bomb() -> bytes:
    """Returns a PNG with 200 MB of compressed text."""
    data = png_header(8, 8)
    text = b"Comment\0\0" + zlib.compress(b" " * 200_000_000, 9)
    chunk = struct.pack(">I", len(text)) + b"zTXt" + text + struct.pack(">I", zlib.crc32(b"zTXt" + text))
    return data[:33] + chunk + data[33:]


def rotated(image, orientation) -> Image.Exif:
    exif = image.getexif()
    exif[images.ORIENTATION] = orientation
    return exif


def digests(folder) -> dict:
    """Returns the digest of every file below a folder, except for the endless files."""
    return {
        p: hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.name not in ("memory.jpg", "endless.jpg")
    }


def make_odd_files(folder, photo) -> dict:
    """Writes unusual files below folder `odd`; returns path -> expected label or cause."""
    sideways = bright_above((90, 120)).transpose(Image.Transpose.ROTATE_90)
    cmyk = picture("red", (50, 50)).convert("CMYK")
    frames = [picture("blue"), picture("red")]
    moving = {"save_all": True, "append_images": frames[1:]}
    expected = {
        "rotated.jpg": (photo("odd/rotated.jpg", sideways, exif=rotated(sideways, 6)), "bright above"),
        "cmyk.jpg": (photo("odd/cmyk.jpg", cmyk), "red"),
        "animated.gif": (photo("odd/animated.gif", frames[0], **moving), "blue"),
        "animated.webp": (photo("odd/animated.webp", frames[0], **moving), "blue"),
        "animated.png": (photo("odd/animated.png", frames[0], **moving), "blue"),
        "16 bit.png": (photo("odd/16 bit.png", Image.new("I;16", (9, 9), 65535)), "red"),  # white
        "see-through.png": (photo("odd/see-through.png", Image.new("RGBA", (9, 9), (0, 0, 0, 0))), "red"),
        "palette.gif": (photo("odd/palette.gif", picture("blue").quantize(4)), "blue"),
        "grey.jpg": (photo("odd/grey.jpg", Image.new("L", (30, 30), 255)), "red"),
        "one pixel.png": (photo("odd/one pixel.png", picture("blue", (1, 1))), "blue"),
        "a line.png": (photo("odd/a line.png", picture("blue", (3000, 1))), "blue"),
        "large.jpg": (photo("odd/large.jpg", picture("blue", (6000, 4000))), "blue"),
        "large.png": (photo("odd/large.png", picture("blue", (5000, 3000))), "blue"),
        "ünï cödé 日本 🏖.jpg": (photo("odd/ünï cödé 日本 🏖.jpg"), "red"),
        "  spaces and\nlines .jpg": (photo("odd/  spaces and\nlines .jpg"), "red"),
        "-dash.jpg": (photo("odd/-dash.jpg"), "red"),
        "a png.jpg": (photo("odd/a png.jpg", picture("blue"), format="PNG"), "blue"),
        "a jpg.txt": (photo("odd/a jpg.txt", picture("blue"), format="JPEG"), "blue"),
        "no extension": (photo("odd/no extension", picture("blue"), format="JPEG"), "blue"),
    }  # fmt: skip
    expected = {str(path): label for path, label in expected.values()}
    truncated = photo("odd/cut off.jpg", picture(size=(800, 600)))
    truncated.write_bytes(truncated.read_bytes()[:-2000])
    broken = {
        "zero bytes.jpg": (b"", "empty file"),
        "a page.jpg": (b"<!doctype html><title>404</title>", "not an image of a known format"),
        "drawing.svg": (b"<svg><script>alert(1)</script></svg>", ".svg is not read: export it as JPEG"),
        "drawing.png": (b"<svg><script>alert(1)</script></svg>", "not an image of a known format"),
        "phone.heic": (HEIC, photo_files.explain_unreadable("phone.heic", HEIC) or "does not decode"),
        "only a header.jpg": (b"\xff\xd8\xff\xe0\0\x10JFIF\0", "does not decode"),
        "50000x50000.png": (png_header(50_000, 50_000), "too many pixels"),
        "16000x12000.png": (png_header(16_000, 12_000), "too many pixels"),
        "text bomb.png": (text_bomb(), "does not decode"),
    }
    for name, (content, cause) in broken.items():
        (folder / "odd" / name).write_bytes(content)
        expected[str(folder / "odd" / name)] = cause
    expected[str(truncated)] = "does not decode"
    with open(folder / "odd/endless.jpg", "wb") as file:
        file.truncate(images.MAX_BYTES + 1)  # a hole, which takes no disk
    expected[str(folder / "odd/endless.jpg")] = "file too large"
    for name, target in {"loop": "..", "broken link.jpg": "nowhere", "memory.jpg": "/proc/self/mem"}.items():
        os.symlink(target, folder / "odd" / name)
    expected[str(folder / "odd/broken link.jpg")] = "missing file"
    expected[str(folder / "odd/memory.jpg")] = "unreadable file"  # reading it fails, even for root
    return expected


def test_unusual_files_are_annotated_or_skipped_with_a_cause(tmp_path, photo, annotate, capsys):
    expected = make_odd_files(tmp_path, photo)
    before = digests(tmp_path)
    annotated, summary = annotate(tmp_path / "odd")
    assert digests(tmp_path) == before
    causes = dict(
        line.removeprefix("skipped ").rsplit(": ", 1) if "is not read" not in line
        else line.removeprefix("skipped ").split(": ", 1)
        for line in capsys.readouterr().err.splitlines() if line.startswith("skipped ")
    )  # fmt: skip
    results = {path: a.labels[0] for path, a in annotated.items()} | causes
    assert results == expected
    assert summary.annotated == len(annotated) and summary.skipped.total() == len(causes)


def test_a_file_and_a_folder_without_permission_are_reported(annotate):
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = pathlib.Path(name)
        folder.chmod(0o755)
        (folder / "closed").mkdir()
        for file in ("a.jpg", "b.jpg", "closed/c.jpg"):
            picture().save(folder / file)
        (folder / "b.jpg").chmod(0)
        (folder / "closed").chmod(0)
        if os.geteuid() == 0:  # root may read everything
            os.seteuid(65534)
            stack.callback(os.seteuid, 0)
        annotated, summary = annotate(folder)
        stack.close()
        (folder / "closed").chmod(0o700)
    assert list(annotated) == [str(folder / "a.jpg")]
    assert sorted(summary.skipped) == ["unreadable file", "unreadable folder (Permission denied)"]


@needs_coco
def test_real_photographs_get_the_annotations_of_the_model(model, annotate):
    """Compares with `Model.annotate` on full-size pixels; most photographs are decoded at half size."""
    paths = sorted(COCO.glob("*.jpg"))
    annotated, _ = annotate(COCO, workers=2)
    assert list(annotated) == [str(path) for path in paths]
    pixels = [np.asarray(Image.open(path).convert("RGB")) for path in paths]
    for annotation, read in zip(model.annotate(pixels), annotated.values(), strict=True):
        for label, probability in zip(model.labels, annotation.probabilities, strict=True):
            assert read.probabilities[label] == pytest.approx(probability, abs=0.02)
        assert read.quantity == pytest.approx(annotation.quantity, abs=0.03)


def test_workers_and_batches_give_the_labels_of_the_python_api(tmp_path, photo, annotate, model_directory):
    """Compares one process with two, one batch with several, and the Python API with the command."""
    colours = ["red", "green", "blue", "black", "white", "#f0f", "#7f7f7f"]
    paths = [photo(f"{i:03d}.png", picture(colours[i % 7], (7 + i % 11, 9))) for i in range(70)]
    one, _ = annotate(tmp_path)
    many, _ = annotate(*paths, workers=2)
    assert one == many and len(one) == 70
    model = model_dir.load(model_directory)
    for path, annotation in zip(
        paths, model.annotate([np.asarray(Image.open(p)) for p in paths]), strict=True
    ):
        assert one[str(path)].labels == annotation.labels


def test_keywords_of_the_photographer_are_tags_but_added_labels_are_not(tmp_path, photo, annotate, model):
    from msmm.photos.outputs import Sidecars

    path = photo("a.jpg", picture("blue"))
    (tmp_path / "a.txt").write_text("Beaches, Rex")
    output = Sidecars("model 1")
    annotated, _ = annotate(path)
    assert annotated[str(path)].tags == ["beach"] and annotated[str(path)].unknown == ["Rex"]
    assert annotated[str(path)].labels == ("seaside", "blue")
    # "beach" comes from --tags; the labels written then are no tags of the next run.
    (tmp_path / "a.txt").unlink()
    annotate(path, output=output, words=["beach"])
    assert "seaside" in (tmp_path / "a.jpg.xmp").read_text()
    annotated, _ = annotate(path)
    assert annotated[str(path)].tags == [] and annotated[str(path)].unknown == []
    assert annotated[str(path)].labels == ("blue",)
    # Also where another program has put the sidecar's keywords into the photograph.
    keywords = (tmp_path / "a.jpg.xmp").read_bytes()
    photo("a.jpg", picture("blue"), xmp=keywords)
    assert annotate(path)[0][str(path)].unknown == []


def test_a_keyword_stays_the_photographers_where_a_model_added_it_to_the_raw_file_beside(tmp_path, photo):
    keywords = xmp_merging.merge_keywords(None, ["cat", "holiday"], [], "", str)
    path = photo("a.jpg", xmp=keywords.replace(b"urn:x-msmm", b"urn:other"))
    raw = tmp_path / "a.cr2"
    raw.write_bytes(b"II*\0\x10\0\0\0CR\x02\0")
    sidecars.write_labels(str(raw), ["Rome"], ["cat", "dog"], "model 1", str.casefold)
    prepared = reading.prepare_photo(str(path), reading.Preparation(32, to_sidecar=True))
    assert prepared.embedded == ("cat", "holiday")
    assert prepared.keywords.words == ("cat", "holiday", "Rome")  # "dog" is the model's


def test_sidecars_are_written_once_unless_overwritten(tmp_path, photo, annotate):
    from msmm.photos.outputs import Sidecars

    photo("a.jpg"), photo("b.jpg")
    _, summary = annotate(tmp_path, output=Sidecars("model 1"))
    assert (summary.annotated, summary.done_before.total()) == (2, 0)
    before = digests(tmp_path)
    photo("c.jpg")
    _, summary = annotate(tmp_path, output=Sidecars("model 2"))
    assert (summary.annotated, summary.done_before) == (1, {"model 1": 2})
    assert digests(tmp_path).items() >= before.items()
    _, summary = annotate(tmp_path, output=Sidecars("model 2"), overwrite=True)
    assert (summary.annotated, summary.done_before.total()) == (3, 0)
    assert digests(tmp_path).keys() == {*before, tmp_path / "c.jpg", tmp_path / "c.jpg.xmp"}


def test_a_broken_sidecar_is_reported_before_the_photograph_is_decoded(tmp_path, photo, annotate):
    from msmm.photos.outputs import Sidecars

    photo("a.jpg")
    (tmp_path / "a.jpg.xmp").write_text("<broken")
    for overwrite in (False, True):
        _, summary = annotate(tmp_path, output=Sidecars("m"), overwrite=overwrite)
        assert summary.skipped == {"broken XMP in its sidecar": 1}
    assert (tmp_path / "a.jpg.xmp").read_text() == "<broken"
    assert len(annotate(tmp_path)[0]) == 1  # without keywords from the sidecar


@pytest.mark.parametrize(
    ("damage", "cause"),
    [
        ({"xmp": b"<x:xmpmeta>"}, "broken XMP"),
        ({"xmp": b"<html></html>"}, "XMP without rdf:RDF"),
        ({"xmp": b"<!DOCTYPE x []><x/>"}, "XMP that declares entities"),
    ],
)
def test_a_photograph_with_unreadable_keywords_is_reported(tmp_path, photo, annotate, capsys, damage, cause):
    from msmm.photos.outputs import Sidecars

    path = photo("a.jpg", picture("blue"), **damage)
    annotated, summary = annotate(path)
    assert annotated[str(path)].labels == ("blue",) and summary.unread == {cause: 1}
    assert f"keywords of {path} not read: {cause}" in capsys.readouterr().err
    # A new sidecar would hide them from other programs.
    _, summary = annotate(path, output=Sidecars("m"))
    assert summary.skipped == {f"{cause} in it: keywords in a sidecar would hide its own": 1}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.jpg"]
    # A sidecar with a list of keywords hides them already.
    packet = xmp_merging.merge_keywords(None, ["Rex"], [], "", str).replace(b"urn:x-msmm", b"urn:other")
    (tmp_path / "a.jpg.xmp").write_bytes(packet)
    _, summary = annotate(path, output=Sidecars("m"))
    assert summary.annotated == 1 and summary.unread == {cause: 1}
    assert xmp.parse((tmp_path / "a.jpg.xmp").read_bytes()).subjects == ["Rex", "blue"]


def test_unreadable_sidecars_and_text_files_are_reported(tmp_path, photo, annotate):
    photo("a.jpg"), photo("b.jpg"), photo("c.jpg")
    (tmp_path / "a.jpg.xmp").write_text("<broken")
    (tmp_path / "b.txt").write_bytes(b"word " * 100_000)
    (tmp_path / "c.xmp").mkdir()
    _, summary = annotate(tmp_path)
    assert summary.annotated == 3
    assert summary.unread == {
        "broken XMP in its sidecar": 1,
        "a text file of over 64 KiB beside it": 1,
        "unreadable sidecar (Is a directory)": 1,
    }


def test_keywords_are_neither_truncated_nor_repeated_in_a_new_sidecar(tmp_path, photo, annotate):
    from msmm.photos.outputs import Sidecars

    long = "x" * 70 + " and more"
    packet = xmp_merging.merge_keywords(None, [long, "Nature|sky", "Cafe\u0301"], [], "", str)
    packet = packet.replace(b"urn:x-msmm", b"urn:other")
    path = photo("a.jpg", picture("blue"), xmp=packet)
    data = path.read_bytes()
    records = b"".join(
        b"\x1c\x02\x19" + struct.pack(">H", len(word)) + word
        for word in (long.encode()[:64], "Café".encode())
    )
    block = b"Photoshop 3.0\x008BIM\x04\x04\0\0" + struct.pack(">I", len(records)) + records
    path.write_bytes(data[:2] + b"\xff\xed" + struct.pack(">H", len(block) + 2) + block + data[2:])
    before = path.read_bytes()
    annotate(path, output=Sidecars("m"))
    written = xmp.parse((tmp_path / "a.jpg.xmp").read_bytes()).subjects
    assert written == ["Café", long, "Nature|sky", "blue"]
    assert path.read_bytes() == before


def test_annotate_pack_and_page_accept_the_same_files(tmp_path, photo, annotate, model):
    """All three decide by name and content in the same way."""
    tiff = photo("scan.tif", picture("blue")).read_bytes()
    cases = {
        "a.heic": (photo("x.jpg", picture("blue")).read_bytes(), None),
        "b.jpg": (HEIC, photo_files.explain_unreadable("b.jpg", HEIC) or "does not decode"),
        "c.nef": (tiff, photo_files.explain_unreadable("c.nef", tiff) or "not an image of a known format"),
        "d.jpg": (tiff, None),
        "e.webp": (b"<html>", "not an image of a known format"),
    }
    gradio = pytest.importorskip("gradio", reason="gradio is missing: pip install 'msmm[app-test]'")
    from msmm.photos import page

    for name, (data, cause) in cases.items():
        path = tmp_path / "odd" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        annotated, summary = annotate(path.parent if cause is None else path)
        packed = images.convert_or_explain(path)
        if cause is None:
            assert annotated[str(path)].labels == ("blue",) and not isinstance(packed, str)
            assert page.annotate_upload(model, str(path), "")["labels"] == ["blue"]
        else:
            assert summary.skipped == {cause: 1} and packed == cause
            with pytest.raises(gradio.Error) as error:
                page.annotate_upload(model, str(path), "")
            assert error.value.message == page.REASONS.get(cause, cause)
        path.unlink()


@pytest.mark.parametrize(
    ("quantity", "labels"),
    [("predicted", ("seaside", "red")), ("threshold", ("seaside",)), ("top_k", ("seaside", "red"))],
)
def test_number_of_labels_follows_the_counting_rule(tmp_path, photo, annotate, quantity, labels):
    """Red and green are just under a half, blue and "bright above" near 0: 1.98 labels are predicted."""
    path = photo("a.png", picture((127, 127, 0)))
    annotated, _ = annotate(path, words=["beach"], quantity=quantity)
    assert annotated[str(path)].labels == labels
    dark, _ = annotate(photo("b.png", picture("black")), quantity=quantity)
    (annotation,) = dark.values()
    assert len(annotation.labels) == {"predicted": 1, "threshold": 0, "top_k": 2}[quantity]


def test_thumbnails_are_small_and_follow_the_exif_orientation(tmp_path, photo, model):
    sideways = bright_above((900, 1200)).transpose(Image.Transpose.ROTATE_90)
    path = photo("a.jpg", sideways, exif=rotated(sideways, 6))
    prepared = reading.prepare_photo(str(path), reading.Preparation(model.image_size, thumbnail=True))
    small = images.upright(images.load(prepared.thumbnail))
    assert small.size == (192, 256) and not small.getexif()
    assert small.getpixel((96, 10))[0] > 200 > 60 > small.getpixel((96, 245))[0]


def test_a_copied_model_directory_can_be_loaded(model_directory, tmp_path):
    """Loads a copy of the model directory in another folder."""
    shutil.copytree(model_directory, tmp_path / "copied")
    assert model_dir.load(tmp_path / "copied").annotate([np.zeros((5, 5, 3), np.uint8)])[0].labels
