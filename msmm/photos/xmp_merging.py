"""Adds keywords to XMP packets without touching anything else, and takes them out again.

A packet is never written again from a tree: expat finds its elements, and bytes are cut out
of it and put into it there. So everything else stays, comments, prefixes and spaces included.
What was added is recorded in the packet (`xmp_record`).
"""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from xml.sax.saxutils import quoteattr

from msmm.core.text import split_joined
from msmm.photos.xmp import (
    DC,
    LR,
    LR_SUBJECT,
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
from msmm.photos.xmp_edits import (
    NAMES,
    Edit,
    apply_edits,
    cut_element,
    format_property,
    insert_items,
    open_list,
    open_tag,
    space_before,
)
from msmm.photos.xmp_record import Record, list_properties, read_record

EMPTY = f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="{RDF}">
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>
""".encode()
_NAMESPACES = {SUBJECT: ("dc", DC), LR_SUBJECT: ("lr", LR)}


def merge_keywords(
    old: bytes | None,
    keywords: Sequence[str],
    labels: Iterable[str],
    model: str,
    key: Callable[[str], object],
    hierarchy: str = "",
) -> bytes:
    """Returns the packet `old`, or a new one, with `labels` among its keywords and marked as done.

    Takes out keywords that were added before and are not among the labels. Adds neither labels that a person
    has rejected nor labels that the photographer has among the keywords already.

    Args:
      old: the packet, or None.
      keywords: see `apply_change`.
      labels: the keywords that a model has chosen.
      model: who chose the labels.
      key: see `apply_change`.
      hierarchy: the parent below which each added label is written to lr:hierarchicalSubject as well.

    Raises:
      BadPacket: see `apply_change`.
    """
    labels = tuple(labels)

    def change(record: Record) -> Record:
        rejected = {key(word) for word in record.rejected}
        added = [label for label in map(clean, labels) if label and key(label) not in rejected]
        paths = [f"{hierarchy}|{label.replace('|', ' ')}" for label in added] if hierarchy else []
        return dataclasses.replace(record, added=tuple(added), model=clean(model), paths=tuple(paths))

    return apply_change(old, keywords, change, key)


def apply_change(
    old: bytes | None,
    keywords: Sequence[str],
    change: Callable[[Record], Record],
    key: Callable[[str], object],
) -> bytes:
    """Returns the packet `old`, or a new one, in which the keywords of msmm follow a changed record.

    Args:
      old: the packet, or None.
      keywords: the photograph's own; a dc:subject that did not exist begins with them, because programs read
        the dc:subject of a sidecar instead of the photograph's.
      change: returns the wanted record, given the one in the packet. Keywords in `added` and `confirmed` that
        are the photographer's already are not recorded; `copied`, `beside` and `created` are set here.
      key: a function of a keyword; two keywords are the same if it returns equal values for them.

    Raises:
      BadPacket: `old` is no packet, or its keywords have a form that cannot be added to.
    """
    packet = _opened(parse(EMPTY if old is None else old))
    before = read_record(packet)
    wanted = change(before)
    has_list = any(p.name == SUBJECT for p in packet.properties)
    copied = [word for word in map(clean, keywords) if word] if not has_list else []
    record = _exclude_present_keywords(packet, before, wanted, copied, key)
    # The two lists, each extended, shortened, created or taken out.
    subjects = _List(
        packet, SUBJECT, (*before.added, *before.confirmed), (*record.confirmed, *record.added), key
    )
    tree = _List(packet, LR_SUBJECT, (*before.paths, *before.beside), (*record.beside, *record.paths), key)
    blocks, edits, cut = [], [], []
    for words, first in ((subjects, copied), (tree, [])):
        name = NAMES[words.name]
        if words.is_removable(record, before.copied):
            cut += words.elements
            record = dataclasses.replace(record, created=tuple(n for n in record.created if n != name))
        elif words.elements:
            edits += words.edit()
        elif words.new or first:
            words.refuse_attribute()
            prefix, uri = _NAMESPACES[words.name]
            blocks.append((f"xmlns:{prefix}={quoteattr(uri)}", format_property(name, [*first, *words.new])))
            record = dataclasses.replace(
                record, created=(*record.created, name), copied=tuple(first) or record.copied
            )
    if own := list_properties(record):
        content = "".join(format_property(name, values) for name, values in own)
        blocks.append(("xmlns:msmm=" + quoteattr(OWN), content))
    edits += _cut_properties(packet, cut)
    return apply_edits(packet.data, [*edits, _append(packet, blocks)])


def _exclude_present_keywords(
    packet: Packet, before: Record, wanted: Record, copied: Sequence[str], key: Callable[[str], object]
) -> Record:
    """Returns the wanted record without keywords that the photographer already wrote.

    copied: keywords of the photograph with which dc:subject will begin.
    """
    ours = {key(word) for word in (*before.added, *before.confirmed)}
    own_words = [*(i.value for i in packet.items(SUBJECT) if key(i.value) not in ours), *copied]
    theirs = {key(form) for word in own_words for form in (word, last_level(word), *split_joined(word))}
    confirmed = _distinct(wanted.confirmed, theirs, key)
    added = _distinct(wanted.added, theirs | set(map(key, confirmed)), key)
    left_out = {key(word) for word in wanted.added} - set(map(key, added))
    foreign = {key(item.value) for item in packet.items(LR_SUBJECT)}
    foreign -= set(map(key, (*before.paths, *before.beside)))
    paths = _distinct(wanted.paths, foreign, key)
    paths = [path for path in paths if key(path.rpartition("|")[2]) not in left_out]
    has_tree = any(p.name == LR_SUBJECT for p in packet.properties)
    beside = (
        [*own_words, *confirmed] if paths and (not has_tree or NAMES[LR_SUBJECT] in before.created) else []
    )
    return dataclasses.replace(
        wanted,
        added=tuple(added),
        confirmed=tuple(confirmed),
        paths=tuple(paths),
        beside=tuple(_distinct(beside, foreign, key)),
        copied=before.copied,
        created=before.created,
    )


def _distinct(words: Iterable[str], excluded: set, key: Callable[[str], object]) -> list[str]:
    """Returns cleaned words, each once, without those that are the same as an excluded one."""
    kept: dict[object, str] = {}
    for word in map(clean, words):
        if word and key(word) not in excluded:
            kept.setdefault(key(word), word)
    return list(kept.values())


class _List:
    """A property that is a list of keywords, and what becomes of it.

    Args:
      packet: the packet.
      name: of the property.
      before: the items that are ours now.
      wanted: the items that are to be ours.
      key: see `apply_change`.
    """

    def __init__(self, packet: Packet, name: str, before: Iterable[str], wanted: Sequence[str], key):
        self._packet, self.name = packet, name
        self.elements = [p for p in packet.properties if p.name == name]
        items = packet.items(name)
        present, keys = {key(item.value) for item in items}, set(map(key, wanted))
        ours = set(map(key, before))
        self._gone = [item for item in items if key(item.value) in ours - keys]
        self._left = [item.value for item in items if item not in self._gone]
        self._key = key
        self.new = [word for word in wanted if key(word) not in present]

    def is_removable(self, record: Record, copied: Sequence[str]) -> bool:
        """Returns whether msmm created the property, and nothing but copies would be left in it."""
        if not self.elements or self.new or NAMES[self.name] not in record.created:
            return False
        keys = set(map(self._key, copied)) if record.is_blank else set()
        return all(self._key(word) in keys for word in self._left)

    def edit(self) -> list[Edit]:
        """Returns the edits that take items out and put new ones in."""
        edits = [cut_element(self._packet, item) for item in self._gone]
        return edits + (insert_items(self._packet, self.elements[0], self.new) if self.new else [])

    def refuse_attribute(self) -> None:
        """Raises BadPacket where the property exists as an attribute."""
        if any(self.name in description.attributes for description in self._packet.rdf.children):
            raise BadPacket(f"XMP with a {NAMES[self.name]} that is no list")


def _append(packet: Packet, blocks: Sequence[tuple[str, str]]) -> Edit:
    """Returns the edit that adds descriptions at the end of rdf:RDF."""
    abouts = [d.attributes.get(f"{RDF} about", d.attributes.get("about")) for d in packet.rdf.children]
    about = next(filter(None, abouts), "")
    text = "".join(
        f"\n  <rdf:Description xmlns:rdf={quoteattr(RDF)} rdf:about={quoteattr(about)} {namespace}>\n"
        f"{content}  </rdf:Description>"
        for namespace, content in blocks
    )
    # Before the space that ends the list, so that taking it out again leaves that as it was.
    at = packet.rdf.inner - len(space_before(packet.data, packet.rdf.inner))
    return at, at, text.encode()


def _opened(packet: Packet) -> Packet:
    """Returns a packet whose empty rdf:RDF or keyword list, where it has one, is ready to be added to.

    Empty is not malformed: `<rdf:RDF/>`, `<dc:subject/>`, `<dc:subject></dc:subject>` and `dc:subject=""` are
    what programs leave when a person takes the last keyword away.
    """
    data = packet.data
    if packet.rdf.empty:
        return parse(apply_edits(data, [open_tag(data, packet.rdf, b"\n")]))
    for name in NAMES:
        edits = open_list(packet, name)
        if edits:
            packet = parse(apply_edits(packet.data, edits))
    return packet


def _cut_properties(packet: Packet, properties: Sequence[Element]) -> list[Edit]:
    """Returns the edits that take out our own and given properties, and descriptions of nothing else."""
    edits = []
    for description in packet.rdf.children:
        cut = [p for p in description.children if p.name.startswith(f"{OWN} ") or p in properties]
        only_about = description.attributes.keys() <= {f"{RDF} about"}
        if cut and len(cut) == len(description.children) and only_about:
            cut = [description]
        edits += [cut_element(packet, element) for element in cut]
    return edits
