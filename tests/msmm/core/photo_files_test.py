"""File names against file contents; files and folders of other programs beside photographs."""

import struct

import pytest

from msmm.core import photo_files
from tests.msmm.core.packages import without_packages  # noqa: F401 - a fixture

JPEG = b"\xff\xd8\xff\xe0\0\x10JFIF\0"
PNG = b"\x89PNG\r\n\x1a\n"
WEBP = b"RIFF\0\0\0\0WEBPVP8 "
GIF = b"GIF89a"


def isobmff(major: bytes, *compatible: bytes) -> bytes:
    brands = b"".join(compatible)
    return struct.pack(">I", 16 + len(brands)) + b"ftyp" + major + b"\0\0\0\0" + brands


def tiff(*entries: tuple[int, int, int], order="<") -> bytes:
    """Returns a TIFF file of one directory; entries: tag, type (3: 16 bits, 4: 32 bits) and value."""
    magic = b"II*\0" if order == "<" else b"MM\0*"
    directory = struct.pack(f"{order}H", len(entries))
    for tag, kind, value in entries:
        padded = struct.pack(f"{order}{'HH' if kind == 3 else 'I'}", *([value, 0] if kind == 3 else [value]))
        directory += struct.pack(f"{order}HHI", tag, kind, 1) + padded
    return magic + struct.pack(f"{order}I", 8) + directory + b"\0\0\0\0"


HEIC = isobmff(b"heic", b"mif1", b"heic")
SCAN = tiff((254, 4, 0), (256, 3, 100), (262, 3, 2))
NEF = tiff((254, 4, 1), (262, 3, 2), (330, 4, 1000), order=">")
DNG = tiff((254, 4, 0), (262, 3, 34892), (50706, 4, 1025))
NO_HEIC, NO_AVIF, NO_RAW = (
    f"{form} is not read without {package}: pip install 'msmm[photos]', or export it as JPEG"
    for form, package in (
        ("HEIC", "the package pillow-heif"),
        ("AVIF", "Pillow 11.3 or later"),
        ("camera raw", "the package rawpy"),
    )
)
CR2 = b"II*\0\x10\0\0\0CR\x02\0"


@pytest.mark.parametrize(
    ("name", "head", "cause"),
    [
        # Readable content under the extension of an unreadable format.
        ("a.heic", JPEG, None),
        ("A.HEIC", PNG, None),
        ("a.avif", WEBP, None),
        ("a.dng", JPEG, None),  # as some telephones name their pictures
        ("a.psd", GIF, None),
        ("a.jxl", SCAN, None),
        # Unreadable content under the extension of a photograph.
        ("IMG_0001.jpg", HEIC, NO_HEIC),
        ("a.jpeg", isobmff(b"mif1", b"heic", b"miaf"), NO_HEIC),
        ("a.png", isobmff(b"avif", b"mif1", b"miaf"), NO_AVIF),
        ("a.jpg", isobmff(b"crx ", b"isom"), NO_RAW),
        ("a.jpg", b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL is not read: export it as JPEG"),
        ("a.jpg", b"\xff\x0a\xfa\x1f", "JPEG XL is not read: export it as JPEG"),
        ("a.jpg", b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000 is not read: export it as JPEG"),
        ("a.jpg", b"8BPS\0\x01", "PSD is not read: export it as JPEG"),
        ("a.tif", DNG, NO_RAW),
        ("a.tif", NEF, NO_RAW),
        ("a.tif", CR2, NO_RAW),
        ("a.jpg", b"FUJIFILMCCD-RAW 0201", NO_RAW),
        # The extension decides where the content does not.
        ("a.heic", b"x", NO_HEIC),
        ("a.NEF", NEF, NO_RAW),
        ("a.nef", SCAN, NO_RAW),  # Pillow would read the small preview
        ("a.3fr", SCAN, NO_RAW),
        ("a.crw", b"II\x1a\0\0\0HEAPCCDR", NO_RAW),
        ("a.heic", isobmff(b"qt  "), "videos are not annotated"),
        ("a.jpg", isobmff(b"mp42", b"isom"), "videos are not annotated"),  # a motion picture's film
        ("a.mov", b"", "videos are not annotated"),
        ("a.mp4", JPEG, None),
        ("a.svg", b"<svg>", ".svg is not read: export it as JPEG"),
        ("a.tif", SCAN, None),
        ("a.tif", b"MM\0+\0\x08\0\0", None),  # BigTIFF
        ("", JPEG, None),
        ("", HEIC, NO_HEIC),
        ("a.jpg", b"<html>", None),  # detected by decoding
    ],
)
def test_file_content_overrides_the_extension(name, head, cause, without_packages):  # noqa: F811
    assert photo_files.explain_unreadable(name, head) == cause


@pytest.mark.parametrize(
    ("name", "head", "expected"),
    [
        ("a.MOV", b"", True),
        ("a.avi", b"RIFF\0\0\0\0AVI ", True),
        ("PXL_1.MP", isobmff(b"isom"), True),
        ("a.mp4", JPEG, False),
        ("IMG_1.heic", HEIC, False),
        ("IMG_1.heic", b"", False),
        ("a.jpg", JPEG, False),
        ("song.m4a", isobmff(b"M4A "), False),
        ("a.ts", b"import", False),  # a program
    ],
)
def test_videos_are_recognised_by_content_and_name(name, head, expected):
    assert photo_files.is_video(name, head) == expected
    assert not (expected and photo_files.is_photograph(name, head))


@pytest.mark.parametrize(
    ("name", "head", "expected"),
    [
        ("a.jpg", b"", True),
        ("a.JPG ", JPEG, True),
        ("IMG_1", JPEG, True),
        ("IMG_1", HEIC, True),
        ("a.bin", isobmff(b"avif", b"mif1"), True),
        ("scan", SCAN, True),
        ("scan.raw", SCAN, False),
        ("map.lsm", SCAN, False),
        ("film.mov", isobmff(b"qt  "), False),
        ("film.mp4", isobmff(b"mp42", b"mif1", b"isom"), False),
        ("layers.dat", b"8BPS\0\x01", False),
        ("film.avi", b"RIFF\0\0\0\0AVI ", False),
        ("notes.txt", b"text", False),
    ],
)
def test_is_photograph_by_extension_and_content(name, head, expected):
    assert photo_files.is_photograph(name, head) == expected


@pytest.mark.parametrize(
    "name",
    ["a.jpg_original", "a.jpg~", "a.jpg.~2~", "a.jpg.bak", "A.JPG.BAK", "a.jpg (copy)",
     "a.png (another copy)", "a.jpg (3rd copy)", "a.heic copy 2", "a.jpg.orig", "a.jpg_exiftool_tmp",
     "a.jpg.part", "a.jpeg.crdownload", "a.jpg.tmp", "a.tif_backup", "SYNOPHOTO_THUMB_XL.jpg",
     "AlbumArt_{1-2}_Large.jpg", "AlbumArtSmall.jpg"],
)  # fmt: skip
def test_backup_and_temporary_copies_are_leftovers(name):
    assert photo_files.is_leftover(name)


@pytest.mark.parametrize(
    "name",
    ["a.jpg", "copy.jpg", "a (copy).jpg", "original.jpg", "IMG_E1234.JPG", "a.jpg.1", "tmp.png",
     "Dr.Smith copy", "a.sync-conflict-20240101.jpg", "a (Ana's conflicted copy 2024-01-01).jpg", "old.jpg",
     "backup of a.jpg"],
)  # fmt: skip
def test_photographs_with_similar_names_are_not_leftovers(name):
    assert not photo_files.is_leftover(name)


@pytest.mark.parametrize(
    ("name", "original"),
    [
        ("a (copy).jpg", "a.jpg"),
        ("a (another copy).jpg", "a.jpg"),
        ("a - Copy.jpg", "a.jpg"),
        ("a - Kopie (2).jpg", "a.jpg"),
        ("a copy 2.JPG", "a.JPG"),
        ("a(1).jpg", "a.jpg"),
        ("a - Copia.jpg", "a.jpg"),
        ("a.jpg", None),
        ("photocopy.jpg", None),
        ("(1).jpg", None),
        ("a (copy)", None),
    ],
)
def test_original_of_copy_by_file_name(name, original):
    assert photo_files.original_of_copy(name) == original


@pytest.mark.parametrize(
    ("name", "parent", "owner"),
    [
        ("@eaDir", "photos", "Synology"),
        ("#recycle", "photos", "Synology"),
        (".@__thumb", "", "QNAP"),
        ("@Recycle", "", "QNAP"),
        (".thumbnails", "DCIM", "thumbnails"),
        ("Thumbs", "", "thumbnails"),
        (".stversions", "", "Syncthing"),
        (".dtrash", "", "digiKam"),
        ("Catalog Previews.lrdata", "Lightroom", "Lightroom"),
        ("Photos Library.photoslibrary", "Pictures", "Apple Photos"),
        ("derivatives", "Photos Library.photoslibrary", "Apple Photos"),
        ("originals", "Photos Library.photoslibrary", None),
        ("Masters", "Old.aplibrary", None),
        (".picasaoriginals", "", "Picasa"),
        ("mipmaps-0123456789abcdef.d", "darktable", "darktable"),
        ("appdata_oc1a2b3c", "data", "Nextcloud"),
        ("files_trashbin", "ana", "Nextcloud"),
        ("Cache", "CaptureOne", "Capture One"),
        ("Cache", "photos", None),
        ("$RECYCLE.BIN", "", "a recycle bin"),
        (".Trash-1000", "", "a recycle bin"),
        ("System Volume Information", "", "Windows"),
        ("__MACOSX", "", "macOS"),
        ("~snapshot", "", "a network store's snapshots"),
        ("2024 Rome", "", None),
        ("recycling", "", None),
        ("originals", "", None),
    ],
)
def test_folders_of_other_programs_are_recognised(name, parent, owner):
    assert photo_files.owner_of_folder(name, parent) == owner
