"""The record that msmm keeps in an XMP packet of what it has written there and what a person has decided.

Its properties are RDF lists in a namespace of this project, which every XMP tool keeps:

    msmm:added      keywords in dc:subject that are a model's and not the photographer's
    msmm:model      the model that chose them; its presence marks the photograph as done
    msmm:paths      entries of lr:hierarchicalSubject that stand for keywords in msmm:added
    msmm:confirmed  keywords in dc:subject that a person accepted or added in a review; they are the person's
    msmm:rejected   keywords that a person rejected in a review; `annotate` never adds them again
    msmm:copied     the photograph's own keywords, with which a new dc:subject began
    msmm:beside     entries of a new lr:hierarchicalSubject for the person's keywords, because darktable reads
                    that list in place of dc:subject
    msmm:created    properties that did not exist before: dc:subject, lr:hierarchicalSubject
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from msmm.photos import xmp

_FIELDS = ("added", "model", "paths", "confirmed", "rejected", "copied", "beside", "created")


@dataclasses.dataclass(frozen=True)
class Record:
    """The record of a packet; see the module. All fields are empty where msmm has written nothing."""

    added: tuple[str, ...] = ()
    model: str = ""
    paths: tuple[str, ...] = ()
    confirmed: tuple[str, ...] = ()
    rejected: tuple[str, ...] = ()
    copied: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    created: tuple[str, ...] = ()

    @property
    def is_blank(self) -> bool:
        """Returns whether nothing is left to remember."""
        return not (self.added or self.model or self.paths or self.confirmed or self.rejected)

    def without_machine(self) -> "Record":
        """Returns the record without what a model chose; a person's decisions stay."""
        return dataclasses.replace(self, added=(), model="", paths=())

    def to_json(self) -> dict[str, Any]:
        """Returns the fields that are not empty."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Record":
        """Returns the record that `to_json` wrote."""
        values = {name: content[name] for name in _FIELDS if name in content}
        return cls(**{name: v if name == "model" else tuple(v) for name, v in values.items()})  # type: ignore


def read_record(packet: xmp.Packet) -> Record:
    """Returns the record in a packet, blank where it has none."""
    lists = {name: packet.texts(f"{xmp.OWN} {name}") for name in _FIELDS}
    return Record.from_json(lists | {"model": " ".join(lists["model"])})


def list_properties(record: Record) -> list[tuple[str, Sequence[str]]]:
    """Returns the properties that hold a record, and their items; none for a blank one."""
    if record.is_blank:
        return []
    properties: list[tuple[str, Sequence[str]]] = [("msmm:added", record.added)]
    if record.model:
        properties.append(("msmm:model", [record.model]))
    for name in _FIELDS[2:]:
        if items := getattr(record, name):
            properties.append((f"msmm:{name}", items))
    return properties


def machine_words(packet: xmp.Packet) -> list[str]:
    """Returns the keywords of a packet that a model has added, and the levels above them."""
    record = read_record(packet)
    levels = [level for path in record.paths for level in path.split("|")]
    return [*record.added, *levels]
