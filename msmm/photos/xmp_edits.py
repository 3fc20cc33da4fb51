"""Edits of the bytes of an XMP packet: items put into a list or cut out, elements opened, all else kept."""

import re
from collections.abc import Sequence
from xml.sax.saxutils import escape

from msmm.photos.xmp import CONTAINERS, LR_SUBJECT, RDF, SUBJECT, BadPacket, Element, Packet

NAMES = {SUBJECT: "dc:subject", LR_SUBJECT: "lr:hierarchicalSubject"}  # the lists that are edited
Edit = tuple[int, int, bytes]  # the bytes [start, end) are replaced


def open_list(packet: Packet, name: str) -> list[Edit]:
    """Returns the edits that open an empty list, or take out an empty attribute."""
    data, edits = packet.data, []
    for element in packet.properties:
        if element.name == name and not element.children and not element.text and not element.attributes:
            bag = f'<rdf:Bag xmlns:rdf="{RDF}"></rdf:Bag>'.encode()
            opened = (element.inner, element.inner, bag)
            edits.append(open_tag(data, element, bag) if element.empty else opened)
            break
    local = name.rpartition(" ")[2].encode()
    for description in packet.rdf.children:
        if name in description.attributes and not description.attributes[name].strip():
            tag = data[description.start : data.index(b">", description.start)]
            found = re.findall(rb"\s+[\w.-]+:" + local + rb"\s*=\s*(?:\"\s*\"|'\s*')", tag)
            if len(found) == 1:
                at = description.start + tag.index(found[0])
                edits.append((at, at + len(found[0]), b""))
    return edits


def open_tag(data: bytes, element: Element, inner: bytes) -> Edit:
    """Returns the edit that makes <a>inner</a> of <a/>."""
    name = _name_of_tag(data, element)
    whole = data[element.start : element.end - 2].rstrip()
    return element.start, element.end, whole + b">" + inner + b"</" + name + b">"


def format_property(name: str, items: Sequence[str]) -> str:
    """Returns a property that is a list, as XML."""
    lines = "".join(f"     <rdf:li>{escape(item)}</rdf:li>\n" for item in items)
    return f"   <{name}>\n    <rdf:Bag>\n{lines}    </rdf:Bag>\n   </{name}>\n"


def insert_items(packet: Packet, subject: Element, new: Sequence[str]) -> list[Edit]:
    """Returns the edits that put `new` at the end of a list."""
    containers = [child for child in subject.children if child.name in CONTAINERS]
    if not containers:
        raise BadPacket(f"XMP with a {NAMES[subject.name]} that is no list")
    container = containers[0]
    name = _name_of_tag(packet.data, container)
    prefix = name[: name.index(b":") + 1] if b":" in name else b""
    items = [b"<%sli>%s</%sli>" % (prefix, escape(word).encode(), prefix) for word in new]
    if container.empty:
        whole = packet.data[container.start : container.end - 2].rstrip()
        return [(container.start, container.end, whole + b">" + b"".join(items) + b"</" + name + b">")]
    at, space = container.inner, b""
    if container.children:
        at = container.children[-1].end
        space = space_before(packet.data, container.children[-1].start)
    return [(at, at, b"".join(space + item for item in items))]


def cut_element(packet: Packet, element: Element) -> Edit:
    """Returns the edit that takes an element out, with the space before it."""
    return element.start - len(space_before(packet.data, element.start)), element.end, b""


def space_before(data: bytes, at: int) -> bytes:
    """Returns the white space before a position."""
    before = data[max(0, at - 200) : at]
    return before[len(before.rstrip(b" \t\r\n")) :]


def _name_of_tag(data: bytes, element: Element) -> bytes:
    return re.split(rb"[\s/>]", data[element.start + 1 : element.end], maxsplit=1)[0]


def apply_edits(data: bytes, edits: list[Edit]) -> bytes:
    """Returns the data with edits, which do not overlap, applied."""
    pieces, done = [], 0
    for start, end, instead in sorted(edits):
        pieces += [data[done:start], instead]
        done = end
    return b"".join([*pieces, data[done:]])
