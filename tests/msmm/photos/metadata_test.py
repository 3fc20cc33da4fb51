"""Keywords in every metadata location, built byte by byte, and by exiftool where it is installed."""

import io
import shutil
import struct
import subprocess

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from msmm.core import images
from msmm.photos import keywords, xmp
from msmm.photos.keywords import Keywords
from tests.msmm.conftest import picture

needs_exiftool = pytest.mark.skipif(
    not shutil.which("exiftool"), reason="exiftool is not installed (Debian has it: libimage-exiftool-perl)"
)
NAMESPACES = {
    "dc": xmp.DC,
    "lr": "http://ns.adobe.com/lightroom/1.0/",
    "digiKam": "http://www.digikam.org/ns/1.0/",
    "MicrosoftPhoto": "http://ns.microsoft.com/photo/1.0/",
    "mediapro": "http://ns.iview-multimedia.com/mediapro/1.0/",
    "acdsee": "http://ns.acdsee.com/iptc/1.0/",
    "mwg-kw": xmp.MWG,
    "mwg-rs": "http://www.metadataworkinggroup.com/schemas/regions/",
    "MP": "http://ns.microsoft.com/photo/1.2/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "xmpNote": "http://ns.adobe.com/xmp/note/",
}


def bag(name: str, *items: str, kind="Bag") -> str:
    lines = "".join(f"<rdf:li>{item}</rdf:li>\n" for item in items)
    return f"<{name}><rdf:{kind}>{lines}</rdf:{kind}></{name}>"


def packet(*properties: str, attributes: str = "") -> bytes:
    declared = "".join(f' xmlns:{prefix}="{uri}"' for prefix, uri in NAMESPACES.items())
    return (
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{xmp.RDF}"><rdf:Description rdf:about=""'
        f"{declared} {attributes}>{''.join(properties)}</rdf:Description></rdf:RDF></x:xmpmeta>"
    ).encode()


def iptc(*words: bytes) -> bytes:
    return b"".join(struct.pack(">BBBH", 0x1C, 2, 25, len(word)) + word for word in words)


def resources(content: bytes) -> bytes:
    """Returns Photoshop blocks: the digest of a caption before the IPTC block."""
    digest = b"8BIM\x04\x25\0\0" + struct.pack(">I", 16) + bytes(16)
    return (
        digest + b"8BIM\x04\x04\0\0" + struct.pack(">I", len(content)) + content + b"\0" * (len(content) % 2)
    )


def segment(marker: int, content: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(content) + 2) + content


def encode(format="JPEG", **options) -> bytes:
    buffer = io.BytesIO()
    picture().save(buffer, format, **options)
    return buffer.getvalue()


def jpeg(*segments: bytes) -> bytes:
    data = encode()
    return data[:2] + b"".join(segments) + data[2:]


def xmp_segment(content: bytes) -> bytes:
    return segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + content)


def extended(guid: bytes, content: bytes, size: int = 60_000, total: int | None = None) -> list[bytes]:
    head = b"http://ns.adobe.com/xmp/extension/\0" + guid
    total = len(content) if total is None else total
    return [
        segment(0xE1, head + struct.pack(">II", total, at) + content[at : at + size])
        for at in range(0, len(content), size)
    ]


def exif_with_a_number() -> Image.Exif:
    """Returns EXIF data whose keywords are a number instead of text."""
    exif = Image.Exif()
    exif[0x9C9E] = 4_000_000_000
    return exif


def read(data: bytes, *others: str) -> Keywords:
    return keywords.read_embedded(images.load(data), data, others)


def raw_profile(kind: str, content: bytes) -> str:
    """Returns a raw profile as ImageMagick and exiftool write it: 72 digits per line."""
    digits = content.hex()
    lines = "\n".join(digits[at : at + 72] for at in range(0, len(digits), 72))
    return f"\n{kind}\n{len(content):8d}\n{lines}\n"


def png(*texts: tuple[str, str], zip=False) -> bytes:
    info = PngInfo()
    for name, text in texts:
        info.add_text(name, text, zip=zip)
    return encode("PNG", pnginfo=info)


def gif(content: bytes) -> bytes:
    """Returns a GIF file with XMP in an application extension, and the "magic trailer" after it."""
    data = encode("GIF")
    trailer = b"\x01" + bytes(range(255, -1, -1)) + b"\0"
    return data[:-1] + b"\x21\xff\x0bXMP DataXMP" + content + trailer + b";"


XMP_MARK = b"http://ns.adobe.com/xap/1.0/\0"
GUID = b"0123456789ABCDEF0123456789ABCDEF"
MAIN = packet(bag("dc:subject", "Rome"), attributes=f'xmpNote:HasExtendedXMP="{GUID.decode()}"')
ANCESTORS = bag("photoshop:DocumentAncestors", *(f"xmp.did:{i:036x}" for i in range(60_000)))
LARGE = packet(ANCESTORS, bag("dc:subject", "sea"))
SEA = packet(bag("dc:subject", "sea"))
XP = Image.Exif()
XP[0x9C9E] = "Käse;Rome\0".encode("utf-16-le")
XP_ODD = Image.Exif()
XP_ODD[0x9C9E] = "Käse;Rome".encode("utf-16-le") + b"\0"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (jpeg(segment(0xED, b"Photoshop 3.0\0" + resources(iptc(b"Rome", b"sea")))), ("Rome", "sea")),
        # A block that is continued in a second segment.
        (
            jpeg(
                segment(0xED, b"Photoshop 3.0\0" + resources(iptc(b"Rome", b"x" * 9))[:50]),
                segment(0xED, b"Photoshop 3.0\0" + resources(iptc(b"Rome", b"x" * 9))[50:]),
            ),
            ("Rome", "x" * 9),
        ),
        (jpeg(xmp_segment(MAIN), *extended(GUID, LARGE)), ("Rome", "sea")),
        (jpeg(xmp_segment(MAIN), *reversed(extended(GUID, SEA, 300))), ("Rome", "sea")),
        (jpeg(xmp_segment(MAIN), *extended(GUID[::-1], SEA)), ("Rome",)),  # of an earlier state of the file
        (jpeg(xmp_segment(MAIN), xmp_segment(SEA)), ("Rome", "sea")),
        (png(("Raw profile type iptc", raw_profile("iptc", resources(iptc(b"Rome"))))), ("Rome",)),
        (png(("Raw profile type iptc", raw_profile("iptc", iptc(b"Rome"))), zip=True), ("Rome",)),
        (png(("Raw profile type 8bim", raw_profile("8bim", resources(iptc(b"Rome"))))), ("Rome",)),
        (png(("Raw profile type APP13", raw_profile("app13", b"Photoshop 3.0\0" + resources(iptc(b"Rome"))))),
         ("Rome",)),
        (png(("Raw profile type xmp", raw_profile("xmp", SEA))), ("sea",)),
        (png(("Raw profile type APP1", raw_profile("app1", XMP_MARK + SEA))), ("sea",)),
        (png(("XML:com.adobe.xmp", LARGE.decode()), zip=True), ("sea",)),
        (gif(SEA), ("sea",)),
        (gif(b"<?xpacket begin='' id=''?>" + SEA + b"<?xpacket end='w'?>"), ("sea",)),
        (encode("WEBP", xmp=SEA), ("sea",)),
        (encode("TIFF", tiffinfo={700: SEA}), ("sea",)),
        (encode("TIFF", tiffinfo={700: LARGE}), ("sea",)),
        (encode("TIFF", tiffinfo={34377: resources(iptc(b"Rome"))}), ("Rome",)),
        (encode(exif=XP), ("Käse", "Rome")),
        (encode(exif=XP_ODD), ("Käse", "Rome")),
        (encode("MPO", save_all=True, append_images=[picture("red")], exif=XP), ("Käse", "Rome")),
        (encode("JPEG", exif=exif_with_a_number()), ()),
        (encode("PNG", exif=XP), ("Käse", "Rome")),
        (encode("WEBP", exif=XP), ("Käse", "Rome")),
        (jpeg(xmp_segment(SEA.decode().encode("utf-16"))), ("sea",)),
        (jpeg(xmp_segment(SEA.decode().encode("utf-16-be"))), ("sea",)),
    ],
)  # fmt: skip
def test_keywords_are_read_from_every_metadata_location(data, words):
    assert read(data) == Keywords(words)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (jpeg(xmp_segment(b"<x:xmpmeta>")), "broken XMP"),
        (jpeg(xmp_segment(SEA[:-9])), "broken XMP"),
        (jpeg(xmp_segment(b"<html></html>")), "XMP without rdf:RDF"),
        (jpeg(xmp_segment(MAIN), *extended(GUID, LARGE)[1:]), "incomplete XMP"),
        (jpeg(segment(0xED, b"Photoshop 3.0\0" + resources(iptc(b"Rome"))[:-6])), "damaged IPTC"),
        (jpeg(segment(0xED, b"Photoshop 3.0\0" + resources(iptc(b"Rome") + b"junk"))), "damaged IPTC"),
        (png(("Raw profile type iptc", "\niptc\n 4\nxyz")), "damaged raw profile"),
        (png(("Raw profile type iptc", "\niptc\n 4\n1c0\n")), "damaged raw profile"),
        (gif(b"<x:xmpmeta"), "broken XMP"),
        (encode("TIFF", tiffinfo={700: b"<!DOCTYPE x []>" + SEA}), "XMP that declares entities"),
        (encode("WEBP", xmp=packet(bag("dc:subject", "a" * (1 << 20), "b"))),
         "more than a million characters of keywords"),
    ],
)  # fmt: skip
def test_unreadable_metadata_is_reported(data, problem):
    assert read(data).problems == (problem,)


@pytest.mark.parametrize(
    "content",
    [b"", b" \n", bytes(100), b"<?xpacket begin='' id='x'?>  <?xpacket end='w'?>",
     b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>', b'<x:xmpmeta xmlns:x="adobe:ns:meta/"> </x:xmpmeta>',
     packet(), packet("<dc:subject/>"), packet("<dc:subject></dc:subject>"),
     packet(bag("dc:subject", "", " ")), packet(attributes='dc:subject=""'),
     f'<rdf:RDF xmlns:rdf="{xmp.RDF}"/>'.encode()],
)  # fmt: skip
def test_empty_packets_are_not_reported_as_broken(content):
    assert read(jpeg(xmp_segment(content))) == Keywords()


LONG = "a photograph of the old harbour at dawn, seen from the lighthouse on the hill"
GREEK = "το παλιό λιμάνι την αυγή, από τον φάρο"  # 64 bytes end within a letter
assert len(LONG) > 64 and len(GREEK[:34].encode()) < 64 < len(GREEK.encode())


@pytest.mark.parametrize(
    ("word", "raw"),
    [
        (LONG, LONG.encode()[:64]),
        (LONG, LONG.encode()[:62]),  # a space at the end was removed, or a terminator counted
        (GREEK, GREEK.encode()[:64]),
        (GREEK, GREEK.encode()[:63]),
        ("é" * 70, ("é" * 64).encode()),  # cut after 64 characters
        ("Škoda", "Škoda".encode("cp1252")),
        ("Москва", "Москва".encode("cp1251")),
        ("Москва", "Москва".encode("koi8-r")),
        ("日本", "日本".encode("shift-jis")),
        ("München", "München".encode("mac-roman")),
        ("München", b"M?nchen"),
        ("Москва" * 12, ("Москва" * 12).encode("cp1251")[:64]),
        ("Café", "Cafe\u0301".encode()),
    ],
)
def test_truncated_or_re_encoded_iptc_keywords_are_merged_with_xmp(word, raw):
    block = segment(0xED, b"Photoshop 3.0\0" + resources(iptc(raw, b"Rome")))
    expected = Keywords(("Rome", word)) if word != "Café" else Keywords(("Cafe\u0301", "Rome"))
    assert read(jpeg(block, xmp_segment(packet(bag("dc:subject", word, "Rome"))))) == expected
    if word != "Café":
        assert read(jpeg(block), word).words == ("Rome",)  # the sidecar has the whole keyword


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (LONG.encode()[:64], (LONG[:64], "Rome")),  # no whole keyword exists
        (LONG.encode()[:40], (LONG[:40], LONG, "Rome")),  # a separate keyword
        (b"Rom", ("Rom", LONG, "Rome")),
        (GREEK.encode()[:64], (GREEK.encode()[:64].decode(errors="ignore"), "Rome")),
        (b"rome", ("rome", LONG, "Rome")),
    ],
)
def test_keywords_only_in_iptc_are_kept(raw, words):
    others = [word for word in (LONG, "Rome") if word in words]
    block = segment(0xED, b"Photoshop 3.0\0" + resources(iptc(raw)))
    assert read(jpeg(block, xmp_segment(packet(bag("dc:subject", *others))))).words == words


HIERARCHY = (
    '<mwg-kw:Keywords rdf:parseType="Resource"><mwg-kw:Hierarchy><rdf:Bag>'
    '<rdf:li rdf:parseType="Resource"><mwg-kw:Keyword>Animal</mwg-kw:Keyword><mwg-kw:Children><rdf:Bag>'
    '<rdf:li rdf:parseType="Resource"><mwg-kw:Keyword>Dog</mwg-kw:Keyword></rdf:li>'
    '<rdf:li><rdf:Description mwg-kw:Keyword="Cat"/></rdf:li>'
    "</rdf:Bag></mwg-kw:Children></rdf:li></rdf:Bag></mwg-kw:Hierarchy></mwg-kw:Keywords>"
)
FACES = (
    '<mwg-rs:Regions rdf:parseType="Resource"><mwg-rs:RegionList><rdf:Bag><rdf:li rdf:parseType="Resource">'
    "<mwg-rs:Name>Ana</mwg-rs:Name><mwg-rs:Type>Face</mwg-rs:Type>"
    f"{bag('dc:subject', 'Ana')}</rdf:li></rdf:Bag></mwg-rs:RegionList></mwg-rs:Regions>"
    '<MP:RegionInfo rdf:parseType="Resource"><MP:Regions><rdf:Bag>'
    '<rdf:li MP:PersonDisplayName="Ben"/></rdf:Bag></MP:Regions></MP:RegionInfo>'
)


@pytest.mark.parametrize(
    ("properties", "words", "paths"),
    [
        (bag("lr:hierarchicalSubject", "Nature|sky"), ("sky",), (("Nature", "sky"),)),
        (bag("digiKam:TagsList", "Nature/sky", kind="Seq"), ("sky",), (("Nature", "sky"),)),
        (bag("MicrosoftPhoto:LastKeywordXMP", "Nature/sky"), ("sky",), (("Nature", "sky"),)),
        (bag("mediapro:CatalogSets", "Nature|sky"), ("sky",), (("Nature", "sky"),)),
        (bag("acdsee:keywords", "sky"), ("sky",), (("sky",),)),
        (HIERARCHY, ("Dog", "Cat"), (("Animal", "Dog"), ("Animal", "Cat"))),
        (bag("dc:subject", "Sky") + bag("lr:hierarchicalSubject", "Nature|sky", "sky"), ("Sky",),
         (("Nature", "sky"), ("sky",))),
        (bag("dc:subject", "Nature|sky") + bag("lr:hierarchicalSubject", "Nature|sky"), ("Nature|sky",),
         (("Nature", "sky"),)),
        (bag("lr:hierarchicalSubject", " Nature | | sky ", "|"), ("sky",), (("Nature", "sky"),)),
        (bag("lr:hierarchicalSubject"), (), ()),
        (FACES, (), ()),
    ],
)  # fmt: skip
def test_hierarchical_keywords_are_read(properties, words, paths):
    assert read(jpeg(xmp_segment(packet(properties)))) == Keywords(words, paths)


def exiftool(path, *arguments: str) -> None:
    command = ["exiftool", "-q", "-m", "-overwrite_original", *arguments, path]
    subprocess.run(command, check=True, timeout=60, stderr=subprocess.DEVNULL)


@needs_exiftool
@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "GIF", "WEBP"])
def test_keywords_written_by_exiftool_are_read(format, tmp_path):
    path = tmp_path / "photo"
    path.write_bytes(encode(format))
    in_iptc = ["-IPTC:Keywords=Rome", f"-IPTC:Keywords={LONG}", "-codedcharacterset=utf8"]
    exiftool(
        path,
        *(in_iptc if format in ("JPEG", "PNG", "TIFF") else []),
        f"-XMP-dc:Subject={LONG}",
        "-XMP-dc:Subject=Rome",
        "-XMP-lr:HierarchicalSubject=Nature|sky",
        "-XMP-digiKam:TagsList=Nature/sky",
        "-XMP-microsoft:LastKeywordXMP=Nature/sky",
        *(["-XPKeywords=Rome;Käse"] if format != "GIF" else []),
    )
    result = read(path.read_bytes())
    expected = {LONG, "Rome", "sky"} | ({"Käse"} if format != "GIF" else set())
    assert (len(result.words), set(result.words)) == (len(expected), expected)
    assert result.paths == (("Nature", "sky"),) and result.problems == ()


@needs_exiftool
@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF"])
def test_iptc_written_by_exiftool_is_read(format, tmp_path):
    path = tmp_path / "photo"
    path.write_bytes(encode(format))
    exiftool(path, "-IPTC:Keywords=Rome", "-IPTC:Keywords=Käse", "-codedcharacterset=utf8")
    assert read(path.read_bytes()) == Keywords(("Rome", "Käse"))


@needs_exiftool
def test_extended_xmp_written_by_exiftool_is_read(tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(encode())
    lines = "".join(f"-XMP-photoshop:DocumentAncestors=xmp.did:{i:036x}\n" for i in range(3000))
    (tmp_path / "arguments").write_text(f"-XMP-dc:Subject=Rome\n{lines}")
    exiftool(path, "-@", str(tmp_path / "arguments"))
    assert path.read_bytes().count(b"http://ns.adobe.com/xmp/extension/") > 1
    assert read(path.read_bytes()) == Keywords(("Rome",))
