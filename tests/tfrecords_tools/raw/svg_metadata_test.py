"""Licences and keywords of SVG files, including hostile files."""

import time

import pytest

from tfrecords_tools.raw import svg_metadata

PUBLIC = "http://web.resource.org/cc/PublicDomain"
SVG = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.0//EN" "http://www.w3.org/TR/2001/REC-SVG-20010904/DTD/svg10.dtd">
<svg xmlns="http://www.w3.org/2000/svg" xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#"
  xmlns:cc="http://web.resource.org/cc/" xmlns:dc="http://purl.org/dc/elements/1.1/">
<metadata><r:RDF><cc:Work r:about=""><dc:title>no keyword</dc:title>
<dc:subject><r:Bag><r:li/><r:li>insect</r:li><r:li>Grüne
 Käfer &amp; Co</r:li></r:Bag></dc:subject>
<dc:contributor><r:Bag><r:li>nor this</r:li></r:Bag></dc:contributor>
<cc:license r:resource="{licence}"/></cc:Work>{more}</r:RDF></metadata>
<text>neither this</text></svg>"""


@pytest.fixture
def read(tmp_path):
    def read(text, encoding="utf-8"):
        (tmp_path / "a.svg").write_bytes(text.encode(encoding))
        return svg_metadata.read(tmp_path / "a.svg")

    return read


def test_keywords_and_licence_are_read_from_svg_metadata(read):
    metadata = read(SVG.format(licence=PUBLIC, more=""))
    assert metadata.keywords == ["", "insect", "Grüne\n Käfer & Co"]
    assert metadata.licences == [PUBLIC]
    assert metadata.public_domain


@pytest.mark.parametrize(
    ("licence", "more", "free"),
    [
        ("http://creativecommons.org/licenses/publicdomain/", "", True),
        (PUBLIC, '<cc:license r:resource="Public Domain"/>', True),
        (PUBLIC, '<cc:license r:resource="http://creativecommons.org/licenses/GPL/2.0/"/>', False),
        (PUBLIC, "<cc:license/>", False),
        ("http://creativecommons.org/licenses/by/2.0/", "", False),
        ("", "", False),
    ],
)
def test_drawing_is_public_domain_only_if_all_its_licences_are(read, licence, more, free):
    assert read(SVG.format(licence=licence, more=more)).public_domain == free


def test_drawing_without_a_licence_is_not_public_domain(read):
    assert not read("<svg/>").public_domain


def test_svg_in_latin_1_is_read(read):
    text = SVG.format(licence=PUBLIC, more="").replace("UTF-8", "ISO-8859-1")
    assert read(text, "latin-1").keywords[2] == "Grüne\n Käfer & Co"


@pytest.mark.parametrize(
    "text", ["", "<svg>", "no XML", "<svg><metadata></svg>", "<svg>&unknown;</svg>", "\0"]
)
def test_broken_xml_is_unreadable(read, text):
    with pytest.raises(svg_metadata.Unreadable, match=r"^broken XML$"):
        read(text)


def test_xml_entities_are_refused_before_expansion(read, tmp_path):
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
    (tmp_path / "secret").write_text("secret")
    start = time.monotonic()
    for declared, used in (
        (f'<!ENTITY l0 "ha">{laughs}', "&l11;"),
        (f'<!ENTITY secret SYSTEM "{tmp_path}/secret">', "&secret;"),
        ('<!ENTITY % all SYSTEM "file:///dev/zero"> %all;', ""),
    ):
        with pytest.raises(svg_metadata.Unreadable, match=r"^XML that declares entities$"):
            read(f"<!DOCTYPE svg [{declared}]><svg><title>{used}</title></svg>")
    assert time.monotonic() - start < 1


def test_file_that_cannot_be_opened_is_unreadable(tmp_path):
    with pytest.raises(svg_metadata.Unreadable, match=r"^unreadable file$"):
        svg_metadata.read(tmp_path)
