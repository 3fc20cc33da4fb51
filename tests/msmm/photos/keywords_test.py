import codecs
import io
import struct

import pytest

from msmm.core import images
from msmm.photos import keywords
from tests.msmm.conftest import picture

VOCABULARY = ("beach", "holidays", "goldengate", "café", "city", "new york", "bus", "c++", "Blue Sky", "leaf")


@pytest.mark.parametrize(
    ("word", "tag"),
    [
        ("beach", "beach"),
        ("  BEACH ", "beach"),
        ("Beaches", "beach"),
        ("holiday", "holidays"),
        ("Cities", "city"),
        ("leaves", "leaf"),
        ("cafe\u0301", "café"),  # decomposed
        ("ＣＡＦÉ", "café"),  # full width
        ("Golden Gate", "goldengate"),
        ("golden-gates", None),  # both changes at once are not tried
        ("New  York", "new york"),
        ("newyork", "new york"),
        ("new_york", "new york"),
        ("blue sky", "Blue Sky"),
        ("buses", "bus"),
        ("bu", None),
        ("c++", "c++"),
        ("c", None),
        ("#Beaches", "beach"),
        ("#", None),
        ("beachside", None),
        ("", None),
        ("日本", None),
    ],
)
def test_words_match_tags_up_to_case_plural_spaces_and_unicode_form(word, tag):
    assert keywords.Tags(VOCABULARY).find(word) == tag


def test_exact_words_precede_plurals_and_frequent_tags_precede_rare_ones():
    tags = keywords.Tags(("birds", "bird", "Nikon", "nikon"))
    assert (tags.find("bird"), tags.find("Birds"), tags.find("NIKON")) == ("bird", "birds", "Nikon")


def test_tags_and_unknown_words_are_listed_once():
    words = ["Beaches", "nikon", "beach", "nikon", "cities"]
    assert keywords.Tags(VOCABULARY).split(words) == (["beach", "city"], ["nikon"])


@pytest.mark.parametrize(
    ("words", "paths", "known", "unknown"),
    [
        (["Nature|sea"], (), [], ["sea"]),
        (["Nature|beach"], (), ["beach"], []),
        (["Nature/beach"], (), ["beach"], []),
        (["Places|Italy|Cafe\u0301"], (), ["café"], []),
        (["AC/DC"], (), [], ["AC/DC"]),
        (["black/white"], (), ["black/white"], []),  # the whole keyword is a tag
        (["Animals|Bus"], (), ["animals|bus", "bus"], []),  # the path and its last level are tags
        (["bus"], [("Animals", "bus")], ["bus", "animals|bus"], []),
        (["beach"], [("Places", "beach")], ["beach"], []),
        (["sea"], [("Nature", "sea")], [], ["sea"]),
        (["|", "/", "beach|"], (), ["beach"], ["|", "/"]),
    ],
)
def test_the_last_level_of_a_path_is_a_keyword_and_a_known_path_is_a_tag(words, paths, known, unknown):
    tags = keywords.Tags((*VOCABULARY, "black/white", "animals|bus"))
    assert tags.split(words, paths) == (known, unknown)


def iptc(*records) -> bytes:
    """Returns a Photoshop block with IPTC records (record, data set, value), as in a JPEG's APP13 marker."""
    data = b"".join(struct.pack(">BBBH", 0x1C, r, d, len(value)) + value for r, d, value in records)
    block = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(data)) + data + b"\0" * (len(data) % 2)
    content = b"Photoshop 3.0\0" + block
    return b"\xff\xed" + struct.pack(">H", len(content) + 2) + content


def read(data: bytes) -> keywords.Keywords:
    return keywords.read_embedded(images.load(data), data)


def jpeg(after_start: bytes = b"", **options) -> bytes:
    buffer = io.BytesIO()
    picture().save(buffer, "JPEG", **options)
    data = buffer.getvalue()
    return data[:2] + after_start + data[2:]


@pytest.mark.parametrize(
    ("records", "words"),
    [
        ([(2, 25, b"beach")], ["beach"]),
        ([(2, 25, b"beach"), (2, 120, b"a caption"), (2, 25, b"sea"), (2, 25, b"beach")], ["beach", "sea"]),
        ([(1, 90, b"\x1b%G"), (2, 25, "Bäume".encode())], ["Bäume"]),
        ([(2, 25, "Bäume".encode("latin-1"))], ["Bäume"]),
        ([(1, 90, b"\x1b%G"), (2, 25, b"B\xe4ume")], ["Bäume"]),
        ([(2, 25, b"\x8akoda 10 \x80")], ["Škoda 10 €"]),
        ([(2, 25, b" \0\x07")], []),
        ([(2, 25, b"x" * 5000)], ["x" * 5000]),
    ],
)
def test_iptc_keywords_are_decoded(records, words):
    assert list(read(jpeg(iptc(*records))).words) == words


def test_keywords_that_a_program_has_joined_are_separated():
    parts = [keywords.Keywords(("dog; Sea;", "sea")), keywords.Keywords(("Tom &amp; Jerry", "a|b"))]
    assert keywords.join_keywords(parts).words == ("dog", "Sea", "sea", "Tom &amp; Jerry", "a|b")


def test_tags_that_are_hashtags_are_found():
    tags = keywords.Tags(("#lake", "sea", "#"))
    assert (tags.find("Lakes"), tags.find("#SEA")) == ("#lake", "sea")
    assert (tags.find("#"), tags.find("")) == ("#", None)


def test_broken_metadata_has_no_keywords():
    assert read(jpeg(b"\xff\xed\0\x12Photoshop 3.0\0\xff\xff")) == keywords.Keywords()
    assert read(jpeg(xmp=b"<x:xmpmeta>")) == keywords.Keywords(problems=("broken XMP",))


XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:subject><rdf:Bag><rdf:li>sea</rdf:li>'
    b"</rdf:Bag></dc:subject></rdf:Description></rdf:RDF></x:xmpmeta>"
)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_xmp_keywords_are_read_from_every_format(format, tmp_path):
    options = {"xmp": XMP}
    if format == "PNG":
        from PIL.PngImagePlugin import PngInfo

        text = PngInfo()
        text.add_itxt("XML:com.adobe.xmp", XMP.decode())
        options = {"pnginfo": text}
    elif format == "TIFF":
        options = {"tiffinfo": {700: XMP}}
    picture().save(tmp_path / "photo", format, **options)
    assert read((tmp_path / "photo").read_bytes()) == keywords.Keywords(("sea",))


@pytest.mark.parametrize(
    ("encoding", "words"),
    [
        ("utf-8", ["Straße", "日本"]),
        ("utf-8-sig", ["Straße", "日本"]),
        ("utf-16", ["Straße", "日本"]),  # with a byte order mark, as Notepad's "Unicode"
        ("latin-1", ["Straße", "Köln"]),
        ("cp1252", ["Straße", "Škoda", "10 €"]),
    ],
)
@pytest.mark.parametrize("separator", ["\n", "\r\n", "\r", ";"])
def test_text_files_in_other_encodings_are_read(encoding, words, separator, tmp_path):
    (tmp_path / "a.txt").write_bytes(separator.join([*words, ""]).encode(encoding))
    assert list(keywords.read_text(str(tmp_path / "a.jpg")).words) == words
    if encoding == "utf-16":
        (tmp_path / "a.txt").write_bytes(codecs.BOM_UTF16_BE + separator.join(words).encode("utf-16-be"))
        assert list(keywords.read_text(str(tmp_path / "a.jpg")).words) == words


@pytest.mark.parametrize("data", [b"\x81\x8d", b"\xff\xfe", b"\xff\xfea", b"\xff\xfe\x00\xd8", b"\xef\xbb"])
def test_damaged_text_files_are_no_error(data, tmp_path):
    (tmp_path / "a.txt").write_bytes(data)
    assert len(keywords.read_text(str(tmp_path / "a.jpg")).words) <= 1


def test_keywords_in_one_string_are_separated():
    assert keywords.separate(" sky;nikon , sky,, Golden Gate;\n") == ["sky", "nikon", "Golden Gate"]
    assert keywords.separate("") == []


def test_keywords_in_text_files_beside_a_photograph(tmp_path):
    photo = str(tmp_path / "a.jpg")
    assert list(keywords.read_text(photo).words) == []
    (tmp_path / "a.txt").write_bytes("\ufeffbeach, Golden Gate;sea\r\n\r\nBäume\n".encode())
    assert list(keywords.read_text(photo).words) == ["beach", "Golden Gate", "sea", "Bäume"]
    (tmp_path / "a.jpg.txt").write_text("dog")
    assert list(keywords.read_text(photo).words) == ["dog", "beach", "Golden Gate", "sea", "Bäume"]
    (tmp_path / "a.txt").write_bytes(b"word " * 100_000)  # as large as a book
    assert list(keywords.read_text(photo).words) == ["dog"]
    # A photograph with this name is not read as a text file.
    assert list(keywords.read_text(str(tmp_path / "a.txt")).words) == []
