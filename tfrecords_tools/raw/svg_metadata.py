"""The licence and the keywords in the RDF of an SVG file.

Read with expat, the XML parser of Python's standard library, without a tree. Files come from
anywhere, so nothing outside of them is opened, and one that declares entities is refused.
"""

import dataclasses
import pathlib
import xml.parsers.expat


class Unreadable(Exception):
    """A file without metadata to read; the message is the cause, one of a few fixed phrases."""


@dataclasses.dataclass(frozen=True)
class Metadata:
    """Metadata of a drawing.

    licences: the URLs of cc:license. keywords: the rdf:li of dc:subject; may be blank.
    """

    licences: list[str]
    keywords: list[str]

    @property
    def public_domain(self) -> bool:
        """Returns whether there are licences and all are of the public domain."""
        licences = [licence.lower().replace(" ", "") for licence in self.licences]
        return bool(licences) and all("publicdomain" in licence for licence in licences)


def read(path: pathlib.Path) -> Metadata:
    """Reads the metadata of an SVG file. Raises Unreadable."""
    metadata, inside, texts = Metadata([], []), [], []

    def start(name, attributes):
        inside.append(_local(name))
        if inside[-1] == "license":
            metadata.licences.append(
                {_local(n): value for n, value in attributes.items()}.get("resource", "")
            )
        elif inside[-1] == "li":
            texts.clear()

    def end(name):
        if inside.pop() == "li" and "subject" in inside:
            metadata.keywords.append("".join(texts))

    def refuse(*_):
        raise Unreadable("XML that declares entities")

    parser = xml.parsers.expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = texts.append
    parser.EntityDeclHandler = refuse
    try:
        parser.Parse(path.read_bytes(), True)
    except xml.parsers.expat.ExpatError:
        raise Unreadable("broken XML") from None
    except OSError:
        raise Unreadable("unreadable file") from None
    return metadata


def _local(name: str) -> str:
    """Returns an XML name without its namespace."""
    return name.rpartition(" ")[2]
