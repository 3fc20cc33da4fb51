"""Adds keywords to XMP packets without touching anything else.

A packet is never written again from a tree: expat finds its elements, and bytes are cut out
of it and put into it there. So everything else stays, comments, prefixes and spaces included.

Two properties in a namespace of this project record what was added, as RDF lists, which every XMP tool keeps:

    msmm:added   the keywords in dc:subject that are the model's and not the photographer's
    msmm:model   which model chose them; its presence marks the photograph as done
"""

import re
from collections.abc import Iterable, Sequence
from xml.sax.saxutils import escape, quoteattr

from msmm.photos.xmp import (
    ADDED,
    CONTAINERS,
    DC,
    OWN,
    RDF,
    SUBJECT,
    BadPacket,
    Element,
    Packet,
    clean,
    last_level,
    parse,
)

EMPTY = f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="{RDF}">
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>
""".encode()


def merge_keywords(
    old: bytes | None, keywords: Sequence[str], labels: Iterable[str], model: str, same
) -> bytes:
    """Returns the packet `old`, or a new one, with `labels` among its keywords and marked as done.

    What was added before and is not among the labels is taken out.

    Args:
      old: the packet, or None.
      keywords: the photograph's own; a dc:subject that did not exist begins with them, because programs read
        the dc:subject of a sidecar instead of the photograph's.
      labels: those that the photographer has among the keywords already are not added.
      model: who chose the labels.
      same: a function of a keyword; two are the same where it returns the same for them.

    Raises:
      BadPacket: `old` is no packet, or its keywords have a form that cannot be added to.
    """
    packet = _opened(parse(EMPTY if old is None else old))
    labels = [label for label in map(clean, labels) if label]
    before = {same(word) for word in packet.texts(ADDED)}
    items = packet.items(SUBJECT)
    lists = [p for p in packet.properties if p.name == SUBJECT]
    written = [word for word in map(clean, keywords) if word] if not lists else []
    own_words = [item.text for item in items if same(item.text) not in before] + written
    theirs = {same(form) for word in own_words for form in (word, last_level(word))}
    added = [label for label in labels if same(label) not in theirs]
    edits = [_cut(packet, item) for item in items if same(item.text) in before - set(map(same, added))]
    present = {same(item.text) for item in items}
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


def _opened(packet: Packet) -> Packet:
    """Returns a packet whose empty rdf:RDF or dc:subject, where it has one, is ready to be added to.

    Empty is not malformed: `<rdf:RDF/>`, `<dc:subject/>`, `<dc:subject></dc:subject>` and `dc:subject=""` are
    what programs leave when a person takes the last keyword away.
    """
    data = packet.data
    if packet.rdf.empty:
        return parse(_edited(data, [_open_tag(data, packet.rdf, b"\n")]))
    edits = []
    for element in packet.properties:
        if element.name == SUBJECT and not element.children and not element.text and not element.attributes:
            bag = f'<rdf:Bag xmlns:rdf="{RDF}"></rdf:Bag>'.encode()
            opened = (element.inner, element.inner, bag)
            edits.append(_open_tag(data, element, bag) if element.empty else opened)
            break
    for description in packet.rdf.children:
        if SUBJECT in description.attributes and not description.attributes[SUBJECT].strip():
            tag = data[description.start : data.index(b">", description.start)]
            found = re.findall(rb"\s+[\w.-]+:subject\s*=\s*(?:\"\s*\"|'\s*')", tag)
            if len(found) == 1:
                at = description.start + tag.index(found[0])
                edits.append((at, at + len(found[0]), b""))
    return parse(_edited(data, edits)) if edits else packet


def _open_tag(data: bytes, element: Element, inner: bytes) -> tuple[int, int, bytes]:
    """Returns the edit that makes <a>inner</a> of <a/>."""
    name = _name_of_tag(data, element)
    whole = data[element.start : element.end - 2].rstrip()
    return element.start, element.end, whole + b">" + inner + b"</" + name + b">"


def _property(name: str, items: Sequence[str]) -> str:
    lines = "".join(f"     <rdf:li>{escape(item)}</rdf:li>\n" for item in items)
    return f"   <{name}>\n    <rdf:Bag>\n{lines}    </rdf:Bag>\n   </{name}>\n"


def _insert(packet: Packet, subject: Element, new: Sequence[str]) -> list[tuple[int, int, bytes]]:
    """Returns the edits that put `new` at the end of a list."""
    containers = [child for child in subject.children if child.name in CONTAINERS]
    if not containers:
        raise BadPacket("XMP with a dc:subject that is no list")
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
        space = _space_before(packet.data, container.children[-1].start)
    return [(at, at, b"".join(space + item for item in items))]


def _without_own(packet: Packet) -> list[tuple[int, int, bytes]]:
    """Returns the edits that take our own properties out, and the descriptions that hold nothing else."""
    edits = []
    for description in packet.rdf.children:
        own = [p for p in description.children if p.name.startswith(f"{OWN} ")]
        only_own = own and len(own) == len(description.children)
        if only_own and description.attributes.keys() <= {f"{RDF} about"}:
            own = [description]
        edits += [_cut(packet, element) for element in own]
    return edits


def _cut(packet: Packet, element: Element) -> tuple[int, int, bytes]:
    """Returns the edit that takes an element out, with the space before it."""
    return element.start - len(_space_before(packet.data, element.start)), element.end, b""


def _space_before(data: bytes, at: int) -> bytes:
    before = data[max(0, at - 200) : at]
    return before[len(before.rstrip(b" \t\r\n")) :]


def _name_of_tag(data: bytes, element: Element) -> bytes:
    return re.split(rb"[\s/>]", data[element.start + 1 : element.end], maxsplit=1)[0]


def _edited(data: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    pieces, done = [], 0
    for start, end, instead in sorted(edits):
        pieces += [data[done:start], instead]
        done = end
    return b"".join([*pieces, data[done:]])
