"""XMP packets of several programs, read and merged; ElementTree checks their content independently."""

import time
import xml.etree.ElementTree as ET

import pytest

from msmm.photos import xmp, xmp_merging

RDF, DC = f"{{{xmp.RDF}}}", f"{{{xmp.DC}}}"

EXIFTOOL = """<?xpacket begin='\ufeff' id='W5M0MpCehiHzreSzNTczkc9d'?>
<x:xmpmeta xmlns:x='adobe:ns:meta/' x:xmptk='Image::ExifTool 12.57'>
<rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'>

 <rdf:Description rdf:about=''
  xmlns:dc='http://purl.org/dc/elements/1.1/'>
  <dc:subject>
   <rdf:Bag>
    <rdf:li>Rome</rdf:li>
    <rdf:li>R&amp;B</rdf:li>
   </rdf:Bag>
  </dc:subject>
  <dc:title><rdf:Alt><rdf:li xml:lang='x-default'>A &lt;b&gt; &#169;</rdf:li></rdf:Alt></dc:title>
 </rdf:Description>
 <rdf:Description rdf:about='' xmlns:xmp='http://ns.adobe.com/xap/1.0/'><xmp:Rating>3</xmp:Rating></rdf:Description>
</rdf:RDF>
</x:xmpmeta>
<?xpacket end='w'?>"""
# One line, another prefix, attributes, comments, CDATA, a nested structure; rdf:about is not empty.
STRANGE = (
    '<r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><!-- <dc:subject> --><r:Description '
    'r:about="uuid:1" xmlns:d="http://purl.org/dc/elements/1.1/" xmlns:t="urn:t/" t:a="x > /&gt; y" '
    "t:b='\"'>"
    "<d:subject><r:Seq><r:li><![CDATA[Rome]]></r:li><r:li xml:lang='de'>R&#38;B</r:li></r:Seq></d:subject>"
    '<t:deep r:parseType="Resource"><t:subject><r:Bag><r:li>no keyword</r:li></r:Bag></t:subject></t:deep>'
    "</r:Description></r:RDF>"
)
EMPTY_BAG = EXIFTOOL.replace(
    EXIFTOOL[EXIFTOOL.index("<rdf:Bag>") : EXIFTOOL.index("</dc:subject>")], "<rdf:Bag />"
)
NO_SUBJECT = EXIFTOOL.replace(
    EXIFTOOL[EXIFTOOL.index("<dc:subject>") : EXIFTOOL.index("<dc:title>")], ""
).replace("\n", "\r\n")
PACKETS = {"exiftool": EXIFTOOL, "strange": STRANGE, "empty bag": EMPTY_BAG, "no subject": NO_SUBJECT,
           "BOM": "\ufeff" + STRANGE, "none": None}  # fmt: skip
EXISTING_KEYWORDS = {"exiftool": ["Rome", "R&B"], "strange": ["Rome", "R&B"], "BOM": ["Rome", "R&B"]}


def merge(old, labels, keywords=()):
    old = old.encode() if isinstance(old, str) else old
    return xmp_merging.merge_keywords(old, keywords, labels, "a model", str.casefold)


def read_subjects(data):
    """Returns the keywords, read by another parser."""
    return ["".join(li.itertext()) for li in ET.fromstring(data).iterfind(f".//{DC}subject/*/{RDF}li")]


def other_properties(data):
    """Returns all properties except keywords and our own, in canonical XML."""
    root = ET.fromstring(data)
    rdf = root if root.tag == f"{RDF}RDF" else root.find(f".//{RDF}RDF")
    for description in list(rdf):
        for child in list(description):
            if child.tag == f"{DC}subject" or child.tag.startswith(f"{{{xmp.OWN}}}"):
                description.remove(child)
        if not len(description) and set(description.attrib) <= {f"{RDF}about"}:
            rdf.remove(description)
    return ET.canonicalize(ET.tostring(root), strip_text=True)


@pytest.mark.parametrize("name", PACKETS)
def test_labels_are_added_and_other_properties_stay(name):
    new = merge(PACKETS[name], ["sky", "a < b & c"], keywords=["existing"])
    # Programs read only the sidecar's keywords: a new list includes the photograph's.
    existing = EXISTING_KEYWORDS.get(name, [] if name == "empty bag" else ["existing"])
    assert read_subjects(new) == xmp.parse(new).subjects == [*existing, "sky", "a < b & c"]
    assert xmp.parse(new).texts(xmp.ADDED) == ["sky", "a < b & c"]
    assert xmp.parse(new).texts(xmp.MODEL) == ["a model"]
    if PACKETS[name]:
        assert other_properties(new) == other_properties(PACKETS[name].encode())


@pytest.mark.parametrize("name", ["exiftool", "strange", "no subject", "BOM"])
def test_bytes_of_the_old_packet_are_kept_in_order(name):
    """The old bytes are a subsequence of the new bytes."""
    new = iter(merge(PACKETS[name], ["sky"]))
    assert all(byte in new for byte in PACKETS[name].encode())


@pytest.mark.parametrize("name", PACKETS)
def test_a_second_merge_replaces_the_labels_of_the_first(name):
    first = merge(PACKETS[name], ["sky", "sea"], keywords=["existing"])
    assert merge(first, ["sky", "sea"], keywords=["existing"]) == first
    second = merge(first, ["sea", "dog"])
    assert read_subjects(second) == [*read_subjects(first)[:-2], "sea", "dog"]
    assert xmp.parse(second).texts(xmp.ADDED) == ["sea", "dog"]
    none = merge(second, [])
    if name in EXISTING_KEYWORDS:  # the packet had a list of keywords
        assert none == merge(PACKETS[name], [])
    assert read_subjects(none) == read_subjects(first)[:-2] and xmp.parse(none).texts(xmp.ADDED) == []
    assert other_properties(none) == other_properties(first)


def test_existing_keywords_are_neither_repeated_nor_removed():
    first = merge(EXIFTOOL, ["rome", "sky"])
    assert read_subjects(first) == ["Rome", "R&B", "sky"] and xmp.parse(first).texts(xmp.ADDED) == ["sky"]
    assert read_subjects(merge(first, [])) == ["Rome", "R&B"]


def test_characters_that_xml_forbids_are_removed_from_keywords():
    new = merge(None, ["ok\x00\x1b[31m", "\ud800", "</rdf:li><script>"], keywords=["\x00", "two\nlines"])
    assert read_subjects(new) == ["two lines", "ok[31m", "</rdf:li><script>"]


def test_own_properties_moved_by_other_programs_are_recognised():
    """exiv2 moves all properties into one description; our own are removed one by one."""
    first = merge(EXIFTOOL, ["sky"]).decode()
    start, end = first.index("<msmm:added>"), first.index("</msmm:model>") + len("</msmm:model>")
    own = first[start:end]
    block = first[first.rindex("<rdf:Description", 0, start) : first.index("</rdf:Description>", end) + 18]
    joined = first.replace(block, "").replace("<dc:title>", own + "<dc:title>")
    joined = joined.replace("xmlns:dc='http", "xmlns:msmm='urn:x-msmm:annotate/'\n xmlns:dc='http")
    second = merge(joined, ["sea"])
    assert read_subjects(second) == ["Rome", "R&B", "sea"] and other_properties(second) == other_properties(
        EXIFTOOL.encode()
    )
    assert second.count(b"<msmm:added>") == 1


def test_values_of_keywords_with_qualifiers_are_read():
    items = (
        '<rdf:li rdf:parseType="Resource"><rdf:value>sea</rdf:value><q:by xmlns:q="urn:q/">A</q:by></rdf:li>'
        "<rdf:li><rdf:Description><rdf:value>dog</rdf:value></rdf:Description></rdf:li>"
        '<rdf:li><rdf:Description rdf:value="cat"/></rdf:li><rdf:li>sky</rdf:li><rdf:li/>'
    )
    packet = EMPTY_BAG.replace("<rdf:Bag />", f"<rdf:Bag>{items}</rdf:Bag>")
    assert xmp.parse(packet.encode()).subjects == ["sea", "dog", "cat", "sky"]
    merged = xmp.parse(merge(packet, ["Dog", "lake"]))
    assert merged.subjects == ["sea", "dog", "cat", "sky", "lake"]


def test_a_label_among_joined_keywords_is_not_added():
    packet = EXIFTOOL.replace("R&amp;B", "dog; Sea")
    assert read_subjects(merge(packet, ["DOG", "sea", "lake"])) == ["Rome", "dog; Sea", "lake"]


def test_assigned_categories_of_acdsee_are_read():
    categories = (
        '<Categories><Category Assigned="0">Places<Category Assigned="1">R&amp;B<Category Assigned="0">x'
        '</Category></Category></Category><Category Assigned="1">dog</Category></Categories>'
    )
    text = categories.replace("&", "&amp;").replace("<", "&lt;")
    packet = NO_SUBJECT.replace(
        "<dc:title>",
        f"<a:categories xmlns:a='http://ns.acdsee.com/iptc/1.0/'>{text}</a:categories><dc:title>",
    )
    assert xmp.parse(packet.encode()).hierarchies == [("Places", "R&B"), ("dog",)]


def test_keywords_in_other_xmp_forms_are_read_but_not_extended():
    head = f'<r:RDF xmlns:r="{xmp.RDF}" xmlns:d="{xmp.DC}"><r:Description '
    for packet in (
        f'{head} d:subject="Rome"/></r:RDF>',
        f"{head}><d:subject>Rome</d:subject></r:Description></r:RDF>",
    ):
        assert xmp.parse(packet.encode()).subjects == ["Rome"]
        with pytest.raises(xmp.BadPacket, match="no list"):
            merge(packet, ["sky"])


SUBJECT = EXIFTOOL[EXIFTOOL.index("<dc:subject>") : EXIFTOOL.index("<dc:title>")]
EMPTIES = {
    "an empty element": EXIFTOOL.replace(SUBJECT, "<dc:subject/>\n  "),
    "two tags": EXIFTOOL.replace(SUBJECT, "<dc:subject></dc:subject>\n  "),
    "space": EXIFTOOL.replace(SUBJECT, "<dc:subject >\n  </dc:subject>\n  "),
    "an attribute": EXIFTOOL.replace(SUBJECT, "").replace("rdf:about=''", "rdf:about='' dc:subject=''", 1),
    "a blank attribute": EXIFTOOL.replace(SUBJECT, "").replace(
        "rdf:about=''", 'dc:subject = " "\n rdf:about=""', 1
    ),
    "an empty list": EXIFTOOL.replace(SUBJECT, "<dc:subject><rdf:Seq></rdf:Seq></dc:subject>\n  "),
    "an empty list element": EXIFTOOL.replace(SUBJECT, "<dc:subject><rdf:Alt/></dc:subject>\n  "),
}


@pytest.mark.parametrize("name", EMPTIES)
def test_labels_are_added_to_empty_keyword_lists(name):
    """Packets as programs leave them after the last keyword was removed."""
    old = EMPTIES[name]
    new = merge(old, ["sky"])
    assert read_subjects(new) == xmp.parse(new).subjects == ["sky"]
    assert ET.fromstring(new).find(f".//{DC}title") is not None
    assert b"Rating>3<" in new
    assert merge(new, ["sky"]) == new
    again = merge(new, ["sea"])
    assert read_subjects(again) == ["sea"] and read_subjects(merge(again, [])) == []
    # After a person removed all keywords, those of the photograph must not come back.
    written = read_subjects(merge(old, ["sky"], keywords=["existing"]))
    assert written == (["existing", "sky"] if "attribute" in name else ["sky"])


@pytest.mark.parametrize(
    "packet",
    [
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{rdf}"/></x:xmpmeta>',
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{rdf}" /></x:xmpmeta>',
        '<rdf:RDF xmlns:rdf="{rdf}"></rdf:RDF>',
        '<rdf:RDF xmlns:rdf="{rdf}"><rdf:Description/></rdf:RDF>',
    ],
)
def test_labels_are_added_to_a_packet_without_properties(packet):
    new = merge(packet.format(rdf=xmp.RDF), ["sky"], keywords=["existing"])
    assert read_subjects(new) == ["existing", "sky"]
    assert read_subjects(merge(new, [])) == ["existing"]


def test_a_label_equal_to_the_last_level_of_a_path_is_not_added():
    old = EXIFTOOL.replace("<rdf:li>Rome</rdf:li>", "<rdf:li>Nature|Sky</rdf:li>")
    new = merge(old, ["sky", "nature"])
    assert read_subjects(new) == ["Nature|Sky", "R&B", "nature"]
    assert read_subjects(merge(new, [])) == ["Nature|Sky", "R&B"]


def test_sixty_thousand_ancestors_are_parsed_quickly():
    """Photoshop's list grows with every picture that is copied into another."""
    ancestors = "".join(f"<rdf:li>xmp.did:{i:036x}</rdf:li>\n" for i in range(60_000))
    name = "photoshop:DocumentAncestors xmlns:photoshop='http://ns.adobe.com/photoshop/1.0/'"
    block = f"<{name}><rdf:Bag>{ancestors}</rdf:Bag></photoshop:DocumentAncestors>"
    old = EXIFTOOL.replace("<dc:title>", f"{block}<dc:title>")
    assert len(old) > 3_000_000
    started = time.thread_time()
    assert xmp.parse(old.encode()).subjects == ["Rome", "R&B"]
    assert time.thread_time() - started < 2
    new = merge(old, ["sky"])
    assert read_subjects(new) == ["Rome", "R&B", "sky"] and other_properties(new) == other_properties(
        old.encode()
    )


def test_parsing_that_takes_too_long_is_refused(monkeypatch):
    monkeypatch.setattr(xmp, "MAX_SECONDS", 0.3)
    events = "<a/>" * ((xmp.MAX_BYTES - 2000) // 4)  # eight million elements
    started = time.thread_time()
    with pytest.raises(xmp.BadPacket, match="takes too long"):
        xmp.parse(EXIFTOOL.replace("<xmp:Rating>3", f"<xmp:Rating>{events}").encode())
    assert time.thread_time() - started < 1


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>' + STRANGE


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"", "broken XMP"),
        (b"\xff\xd8\xff\xe0 a photograph", "broken XMP"),
        (b"<html></html>", "XMP without rdf:RDF"),
        (STRANGE.encode()[:-3], "broken XMP"),
        (BOMB.encode(), "entities"),
        (STRANGE.encode("utf-16"), "not in UTF-8"),
        (b'<?xml version="1.0" encoding="latin-1"?>' + STRANGE.encode("latin-1"), "not in UTF-8"),
        (b"<a>" * 300, "nested too deeply"),
        (b"<a>" + b"<b/>" * 150_000 + b"</a>", "without rdf:RDF"),
        (EXIFTOOL.replace("<rdf:li>Rome</rdf:li>", "<rdf:li/>" * (xmp.MAX_KEPT + 1)).encode(), "too large"),
        (b" " * (xmp.MAX_BYTES + 1), "too large"),
    ],
)
def test_invalid_packets_are_refused(data, cause, monkeypatch):
    monkeypatch.setattr(xmp, "MAX_SECONDS", 60)  # a slow processor must not run out of time first
    with pytest.raises(xmp.BadPacket, match=cause):
        merge(data, ["sky"])
