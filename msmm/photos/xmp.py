"""XMP packets: the keywords (dc:subject) in them, and more keywords put in without touching anything else.

A packet is never written anew from a tree: expat says where its elements are, and bytes are cut out
of it and put into it there. So all that is not ours stays, comments, prefixes and spaces included.

What we put in is remembered in a property of our own, as an RDF list, which every XMP tool keeps:

    msmm:added   the keywords in dc:subject that are ours and not the photographer's
    msmm:model   which model said them; that it is there says that the photograph is done
"""

import dataclasses
import re
import xml.parsers.expat
from collections.abc import Iterable, Sequence
from xml.sax.saxutils import escape, quoteattr

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
DC = "http://purl.org/dc/elements/1.1/"
OWN = "urn:x-msmm:annotate/"
SUBJECT = f"{DC} subject"
ADDED, MODEL = f"{OWN} added", f"{OWN} model"
CONTAINERS = (f"{RDF} Bag", f"{RDF} Seq", f"{RDF} Alt")
MAX_BYTES = 32 << 20  # a sidecar with years of edits has a few megabytes
MAX_EVENTS = 100_000  # elements, texts and comments
MAX_DEPTH = 200
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

EMPTY = f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="{RDF}">
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>
""".encode()


class BadPacket(Exception):
    """XMP that is not read, or not written to; the message is the cause, one of a few fixed phrases."""


@dataclasses.dataclass(slots=True)
class Element:
    """An element of a packet: its bytes are [start, end), of which those of its end tag are from `inner`.

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
        """Its own text, without that of its children."""
        return "".join(self.pieces).strip()


@dataclasses.dataclass(frozen=True)
class Packet:
    """A parsed packet. rdf: its rdf:RDF; properties: the elements that say something of the photograph."""

    data: bytes
    rdf: Element
    properties: tuple[Element, ...]

    def items(self, name: str) -> list[Element]:
        """The rdf:li of every list that is a property `name`."""
        lists = [c for p in self.properties if p.name == name for c in p.children if c.name in CONTAINERS]
        return [item for container in lists for item in container.children if item.name == f"{RDF} li"]

    def texts(self, name: str) -> list[str]:
        """The items of a list, without those that are blank."""
        return [item.text for item in self.items(name) if item.text]

    @property
    def subjects(self) -> list[str]:
        """The keywords, ours among them; also those of a dc:subject that is no list, as it should be."""
        found = self.texts(SUBJECT)
        for element in self.rdf.children:
            found += filter(None, [element.attributes.get(SUBJECT, "").strip()])
        return found + [p.text for p in self.properties if p.name == SUBJECT and p.text]


def parse(data: bytes) -> Packet:
    """Reads a packet. Raises BadPacket: not well-formed, not XMP, entities declared, too large."""
    if len(data) > MAX_BYTES:
        raise BadPacket("XMP too large")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in data[:4]:
        raise BadPacket("XMP not in UTF-8")
    data = data.rstrip(b"\0")  # padding of packets in photographs
    root = Element("", {}, 0, None)
    current, depth, events, last = root, 0, 0, root
    parser = xml.parsers.expat.ParserCreate(namespace_separator=" ")

    def happened(*_):
        nonlocal events, last
        events, last = events + 1, None
        if events > MAX_EVENTS:
            raise BadPacket("XMP too large")

    def start(name, attributes):
        nonlocal current, depth, last
        happened()
        depth += 1
        if depth > MAX_DEPTH:
            raise BadPacket("XMP nested too deeply")
        current = last = Element(name, attributes, parser.CurrentByteIndex, current)
        current.parent.children.append(current)

    def end(name):
        nonlocal current, depth, last
        element, at = current, parser.CurrentByteIndex
        # Of <a/> expat says where it ends, of <a></a> where its end tag begins.
        element.empty = last is element and data[at - 2 : at] == b"/>"
        element.inner = element.start if element.empty else at
        element.end = at if element.empty else data.index(b">", at) + 1
        current, depth, last = element.parent, depth - 1, None

    def text(characters):
        happened()
        current.pieces.append(characters)

    def declared(version, encoding, standalone):
        if encoding and encoding.lower() not in ("utf-8", "us-ascii"):
            raise BadPacket("XMP not in UTF-8")

    def refuse(*_):
        raise BadPacket("XMP that declares entities")

    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = text
    parser.CommentHandler = parser.ProcessingInstructionHandler = parser.StartCdataSectionHandler = happened
    parser.XmlDeclHandler = declared
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(data, True)
    except xml.parsers.expat.ExpatError:
        raise BadPacket("broken XMP") from None
    rdf = next((e for e in _below(root) if e.name == f"{RDF} RDF"), None)
    if rdf is None or rdf.empty:
        raise BadPacket("XMP without rdf:RDF")
    return Packet(data, rdf, tuple(p for description in rdf.children for p in description.children))


def merged(old: bytes | None, keywords: Sequence[str], labels: Iterable[str], model: str, same) -> bytes:
    """The packet `old`, or a new one, with `labels` among its keywords and as done by `model`.

    keywords: what the photograph says itself; a dc:subject that was not there begins with them, because
        programs read that of a sidecar instead of the photograph's.
    labels: those that the photographer has among the keywords already are not added.
    same: a function of a keyword; two are the same where it says the same of them.

    What was added before and is not among the labels goes. Raises BadPacket where `old` is none, or
    where its keywords have a form that cannot be added to.
    """
    packet = parse(EMPTY if old is None else old)
    labels = [label for label in map(clean, labels) if label]
    before = {same(word) for word in packet.texts(ADDED)}
    there = packet.items(SUBJECT)
    lists = [p for p in packet.properties if p.name == SUBJECT]
    written = [word for word in map(clean, keywords) if word] if not lists else []
    theirs = {same(item.text) for item in there} - before | {same(word) for word in written}
    added = [label for label in labels if same(label) not in theirs]
    edits = [_cut(packet, item) for item in there if same(item.text) in before - set(map(same, added))]
    present = {same(item.text) for item in there}
    new = [label for label in added if same(label) not in present]
    blocks = []
    if lists:
        edits += _insert(packet, lists[0], new) if new else []
    elif any(SUBJECT in description.attributes for description in packet.rdf.children):
        raise BadPacket("XMP with a dc:subject that is no list")
    elif written or new:
        blocks.append(("xmlns:dc=" + quoteattr(DC), _property("dc:subject", [*written, *new])))
    own = _property("msmm:added", added) + _property("msmm:model", [clean(model)])
    blocks.append(("xmlns:msmm=" + quoteattr(OWN), own))
    edits += _without_own(packet)
    abouts = [d.attributes.get(f"{RDF} about", d.attributes.get("about")) for d in packet.rdf.children]
    about = next(filter(None, abouts), "")
    text = "".join(
        f"\n  <rdf:Description xmlns:rdf={quoteattr(RDF)} rdf:about={quoteattr(about)} {namespace}>\n"
        f"{content}  </rdf:Description>"
        for namespace, content in blocks
    )
    # Before the space that ends the list, so that taking it out again leaves that as it was.
    at = packet.rdf.inner - len(_space_before(packet.data, packet.rdf.inner))
    edits.append((at, at, text.encode()))
    return _edited(packet.data, edits)


def clean(text: str) -> str:
    """A text as XML can hold it: without control characters and halves of characters."""
    return " ".join(_NOT_XML.sub("", text).split())


def _property(name: str, items: Sequence[str]) -> str:
    lines = "".join(f"     <rdf:li>{escape(item)}</rdf:li>\n" for item in items)
    return f"   <{name}>\n    <rdf:Bag>\n{lines}    </rdf:Bag>\n   </{name}>\n"


def _insert(packet: Packet, subject: Element, new: Sequence[str]) -> list[tuple[int, int, bytes]]:
    """The edits that put `new` at the end of a list."""
    containers = [child for child in subject.children if child.name in CONTAINERS]
    if not containers:
        raise BadPacket("XMP with a dc:subject that is no list")
    container = containers[0]
    name = re.match(rb"<([^\s/>]+)", packet.data[container.start :])[1]
    prefix = name[: name.index(b":") + 1] if b":" in name else b""
    items = [b"<%sli>%s</%sli>" % (prefix, escape(word).encode(), prefix) for word in new]
    if container.empty:
        whole = packet.data[container.start : container.end - 2].rstrip()
        return [(container.start, container.end, whole + b">" + b"".join(items) + b"</" + name + b">")]
    at, space = container.inner, b""
    if container.children:
        at = container.children[-1].end
        space = _space_before(packet.data, container.children[-1].start)
    return [(at, at, b"".join(space + item for item in items))]


def _without_own(packet: Packet) -> list[tuple[int, int, bytes]]:
    """The edits that take our own properties out, and the descriptions that hold nothing else."""
    edits = []
    for description in packet.rdf.children:
        own = [p for p in description.children if p.name.startswith(f"{OWN} ")]
        only_own = own and len(own) == len(description.children)
        if only_own and description.attributes.keys() <= {f"{RDF} about"}:
            own = [description]
        edits += [_cut(packet, element) for element in own]
    return edits


def _cut(packet: Packet, element: Element) -> tuple[int, int, bytes]:
    """The edit that takes an element out, with the space before it."""
    return element.start - len(_space_before(packet.data, element.start)), element.end, b""


def _space_before(data: bytes, at: int) -> bytes:
    return re.search(rb"[ \t\r\n]*\Z", data[max(0, at - 200) : at])[0]


def _edited(data: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    pieces, done = [], 0
    for start, end, instead in sorted(edits):
        pieces += [data[done:start], instead]
        done = end
    return b"".join([*pieces, data[done:]])


def _below(element: Element):
    for child in element.children:
        yield child
        yield from _below(child)
