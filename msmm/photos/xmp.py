"""Parses XMP packets: the keywords in them, and where in the bytes they are.

A packet is bounded by its bytes, by the time that it takes and by the elements that matter here. The
total number of elements is not bounded: Photoshop lists tens of thousands of ancestors of a picture.
"""

import codecs
import dataclasses
import html
import re
import time
import xml.parsers.expat
from collections.abc import Iterator

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
DC = "http://purl.org/dc/elements/1.1/"
OWN = "urn:x-msmm:annotate/"
MWG = "http://www.metadataworkinggroup.com/schemas/keywords/"
LR = "http://ns.adobe.com/lightroom/1.0/"
SUBJECT, LR_SUBJECT = f"{DC} subject", f"{LR} hierarchicalSubject"
ADDED, MODEL = f"{OWN} added", f"{OWN} model"
# Keywords with their place in a hierarchy -> what separates its levels.
HIERARCHIES = {
    LR_SUBJECT: "|",
    "http://www.digikam.org/ns/1.0/ TagsList": "/",
    "http://ns.microsoft.com/photo/1.0/ LastKeywordXMP": "/",
    "http://ns.microsoft.com/photo/1.0 LastKeywordXMP": "/",
    "http://ns.iview-multimedia.com/mediapro/1.0/ CatalogSets": "|",
    "http://ns.acdsee.com/iptc/1.0/ keywords": "|",
}
MWG_KEYWORDS = f"{MWG} Keywords"
ACDSEE_CATEGORIES = "http://ns.acdsee.com/iptc/1.0/ categories"  # a text with elements of its own
# Descriptions in several languages.
TITLE, DESCRIPTION = f"{DC} title", f"{DC} description"
EVENT = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/ Event"
_KEPT = {SUBJECT, MWG_KEYWORDS, *HIERARCHIES, TITLE, DESCRIPTION, EVENT}
CONTAINERS = (f"{RDF} Bag", f"{RDF} Seq", f"{RDF} Alt")
MAX_BYTES = 32 << 20  # a sidecar with years of edits has a few megabytes
MAX_SECONDS = 3.0  # of this thread's computing
MAX_KEPT = 200_000  # elements: descriptions, their properties and the items of keyword lists
MAX_DEPTH = 200
_CHECKED_EVERY = 4096  # events
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_CATEGORY = re.compile(r"""<Category\b[^<>]*?Assigned\s*=\s*["'](\d)["'][^<>]*>([^<>]*)|(</Category\s*>)""")
_EMPTY_META = re.compile(rb"(<[\w.-]+:x[am]pmeta\b[^>]*(/>|>\s*</[\w.-]+:x[am]pmeta\s*>))?")
_INSTRUCTIONS = re.compile(rb"<\?.*?\?>", re.DOTALL)
_BOMS = ((codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
         (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))  # fmt: skip


class BadPacket(Exception):
    """Raised for XMP that is not read, or not written to; the message is the cause, a fixed phrase."""


@dataclasses.dataclass(slots=True)
class Element:
    """An element of a packet: its bytes are [start, end), and its end tag begins at `inner`.

    name: "namespace local". pieces: of its own text. empty: written as <a/>.
    """

    name: str
    attributes: dict[str, str]
    start: int
    parent: "Element | None"
    inner: int = 0
    end: int = 0
    empty: bool = False
    pieces: list[str] = dataclasses.field(default_factory=list)
    children: list["Element"] = dataclasses.field(default_factory=list)

    @property
    def text(self) -> str:
        """Returns its own text, without the text of its children."""
        return "".join(self.pieces).strip()

    @property
    def value(self) -> str:
        """Returns the text of a list's item; where XMP describes it by further properties, its rdf:value."""
        return self.text or _find_value(self)


@dataclasses.dataclass(frozen=True)
class Packet:
    """A parsed packet.

    rdf: its rdf:RDF. properties: the elements that describe the photograph; only keywords, titles,
    descriptions, and this project's own, have children.
    """

    data: bytes
    rdf: Element
    properties: tuple[Element, ...]

    def items(self, name: str) -> list[Element]:
        """Returns the rdf:li of every list that is a property `name`."""
        lists = [c for p in self.properties if p.name == name for c in p.children if c.name in CONTAINERS]
        return [item for container in lists for item in container.children if item.name == f"{RDF} li"]

    def texts(self, name: str) -> list[str]:
        """Returns the items of a list, without blank ones; of an item with qualifiers, its value."""
        return [item.value for item in self.items(name) if item.value]

    @property
    def subjects(self) -> list[str]:
        """The keywords, the model's among them; also the keywords of a dc:subject that is no list."""
        return self.values(SUBJECT)

    @property
    def hierarchies(self) -> list[tuple[str, ...]]:
        """Keywords of other properties, each with the levels above it, the keyword last."""
        found = [
            tuple(level for part in text.split(separator) if (level := clean(part)))
            for name, separator in HIERARCHIES.items()
            for text in self.values(name)
        ]
        for element in self.properties:
            if element.name == MWG_KEYWORDS:
                found += _read_mwg(element, ())
        for text in self.values(ACDSEE_CATEGORIES):
            found += _read_acdsee(text)
        return [levels for levels in found if levels]

    def values(self, name: str) -> list[str]:
        """Returns the values of a property: the items of a list, an attribute, or a text."""
        values = self.texts(name)
        values += [d.attributes[name].strip() for d in self.rdf.children if name in d.attributes]
        values += [p.text for p in self.properties if p.name == name]
        return [value for value in values if value]


def _find_value(item: Element) -> str:
    """Returns the rdf:value of an item, or ""."""
    structures = [item, *(child for child in item.children if child.name == f"{RDF} Description")]
    for structure in structures:
        texts = [child.text for child in structure.children if child.name == f"{RDF} value"]
        texts.append(structure.attributes.get(f"{RDF} value", "").strip())
        if any(texts):
            return next(filter(None, texts))
    return ""


def _read_acdsee(text: str) -> Iterator[tuple[str, ...]]:
    """Yields the assigned categories of ACDSee, each with those above it: <Category Assigned="1">dog …"""
    path: list[tuple[str, bool]] = []
    for assigned, name, end in _CATEGORY.findall(text):
        if not end:
            path.append((clean(html.unescape(name)), assigned == "1"))
            if path[-1][1]:
                yield tuple(level for level, _ in path if level)
        elif path:
            path.pop()


def _read_mwg(element: Element, above: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yields the paths of the keywords without children below an element of the MWG's keyword tree."""
    for child in element.children:
        if child.name != f"{RDF} li":
            yield from _read_mwg(child, above)
            continue
        structure = next((c for c in child.children if c.name == f"{RDF} Description"), child)
        name = f"{MWG} Keyword"
        texts = [structure.attributes.get(name, ""), *(c.text for c in structure.children if c.name == name)]
        path = (*above, *filter(None, map(clean, texts)))
        below = list(_read_mwg(structure, path))
        yield from below or ([path] if path != above else [])


def is_blank(data: bytes) -> bool:
    """Returns whether a packet is empty: padding, marks of its beginning and end, or an empty x:xmpmeta."""
    return bool(_EMPTY_META.fullmatch(_INSTRUCTIONS.sub(b"", data).strip(b"\0 \t\r\n\xef\xbb\xbf")))


def parse_any(data: bytes) -> Packet:
    """Parses a packet that is not written to: in any Unicode encoding.

    Raises:
      BadPacket: see `parse`.
    """
    encoding = next((name for mark, name in _BOMS if data.startswith(mark)), None)
    if encoding is None and data[:2] in (b"<\0", b"\0<"):
        encoding = "utf-16-le" if data[0] else "utf-16-be"
    if encoding and len(data) <= MAX_BYTES:
        text = data.decode(encoding, "replace").lstrip("\ufeff")
        data = re.sub(r"\A\s*<\?xml\s.*?\?>", "", text, flags=re.DOTALL).encode("utf-8", "replace")
    return parse(data)


def parse(data: bytes) -> Packet:
    """Parses a packet.

    Raises:
      BadPacket: not well-formed, not XMP, entities declared, too large, or taking too long.
    """
    if len(data) > MAX_BYTES:
        raise BadPacket("XMP too large")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in data[:4]:
        raise BadPacket("XMP not in UTF-8")
    data = data.rstrip(b"\0")  # padding of packets in photographs
    parser = _Parser(data)
    rdf = parser.run()
    if rdf is None:
        raise BadPacket("XMP without rdf:RDF")
    return Packet(data, rdf, tuple(p for description in rdf.children for p in description.children))


class _Parser:
    """Keeps rdf:RDF, its descriptions, their properties, and what is in the properties of keywords.

    All else is passed over, so that memory depends on the bytes of what is kept.
    """

    def __init__(self, data: bytes):
        self._data = data
        self._rdf: Element | None = None
        self._current = Element("", {}, 0, None)
        self._last: Element | None = None
        self._level: int | None = None  # below rdf:RDF, which is 0; None outside
        self._depth = self._skipped = self._events = self._kept = 0
        self._deadline = time.thread_time() + MAX_SECONDS
        self._parser = parser = xml.parsers.expat.ParserCreate(namespace_separator=" ")
        parser.buffer_text = True
        parser.StartElementHandler, parser.EndElementHandler = self._start, self._end
        parser.CharacterDataHandler = self._text
        parser.CommentHandler = parser.ProcessingInstructionHandler = self._happened
        parser.StartCdataSectionHandler = self._happened
        parser.XmlDeclHandler = self._declared
        parser.StartDoctypeDeclHandler = self._refuse

    def run(self) -> Element | None:
        try:
            self._parser.Parse(self._data, True)
        except xml.parsers.expat.ExpatError:
            raise BadPacket("broken XMP") from None
        return self._rdf

    def _happened(self, *_) -> None:
        self._last = None
        self._events += 1
        if self._events % _CHECKED_EVERY == 0 and time.thread_time() > self._deadline:
            raise BadPacket("XMP that takes too long to read")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._happened()
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise BadPacket("XMP nested too deeply")
        if self._skipped or not self._is_kept(name):
            self._skipped += 1
            return
        element = Element(name, attributes, self._parser.CurrentByteIndex, self._current)
        if self._level is not None:
            self._kept += 1
            if self._kept > MAX_KEPT:
                raise BadPacket("XMP too large")
            self._current.children.append(element)
            self._level += 1
        elif name == f"{RDF} RDF":
            self._rdf, self._level = element, 0
        self._current = self._last = element

    def _is_kept(self, name: str) -> bool:
        if self._level is None:
            return self._rdf is None  # of several, the first counts
        if self._level < 2 or self._level > 2:  # descriptions, properties; below a kept property everything
            return True
        property_ = self._current.name
        return property_ in _KEPT or property_.startswith(f"{OWN} ")

    def _end(self, name: str) -> None:
        self._depth -= 1
        if self._skipped:
            self._skipped -= 1
            self._happened()
            return
        element, at = self._current, self._parser.CurrentByteIndex
        # Of <a/> expat reports the end, of <a></a> the place of its end tag.
        element.empty = self._last is element and self._data[at - 2 : at] == b"/>"
        element.inner = element.start if element.empty else at
        element.end = at if element.empty else self._data.index(b">", at) + 1
        self._current, self._last = element.parent or element, None
        if self._level is not None:
            self._level = self._level - 1 if self._level else None

    def _text(self, characters: str) -> None:
        self._happened()
        if not self._skipped and self._level is not None:
            self._current.pieces.append(characters)

    def _declared(self, version, encoding, standalone) -> None:
        if encoding and encoding.lower() not in ("utf-8", "us-ascii"):
            raise BadPacket("XMP not in UTF-8")

    def _refuse(self, *_) -> None:
        raise BadPacket("XMP that declares entities")


def last_level(keyword: str) -> str:
    """Returns `sky` of the keyword `Nature|sky`: no plain keyword has that character."""
    return clean(keyword.rpartition("|")[2]) or keyword


def clean(text: str) -> str:
    """Returns a text as XML can hold it: without control characters and halves of characters."""
    return " ".join(_NOT_XML.sub("", text).split())
