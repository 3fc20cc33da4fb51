"""Blocks of a Markdown page that are copied from reports, between two comments:

    <!-- results: scenes/table1/table1.md | Measured: the rows of Table I -->
    …
    <!-- end of results, sha256 0123456789abcdef -->

The first comment names a report below the directory of runs and the beginning of a heading in it. The second
one holds a hash of the block, so that a change by hand is found without the report.
"""

import dataclasses
import hashlib
import pathlib
import re

from msmm.core.errors import UserError

_BLOCK = re.compile(
    r"<!-- results: (?P<report>\S+) \| (?P<heading>.+?) -->\n"
    r"(?P<text>.*?)<!-- end of results(?:, sha256 (?P<hash>\w+))? -->",
    re.DOTALL,
)
_PICTURE = re.compile(r"!\[(?P<alt>[^\]]*)\]\((?P<file>[^)]+)\)")


@dataclasses.dataclass(frozen=True)
class RebuiltPage:
    """A page with new blocks. pictures: file name beside the page -> the report's file; missing: reports."""

    text: str
    pictures: dict[str, pathlib.Path]
    missing: tuple[str, ...]


def rebuild_page(page: str, runs: pathlib.Path) -> RebuiltPage:
    """Replaces every block of a page by what its report contains now; a block without a report stays.

    Raises UserError where a report has no such heading.
    """
    pictures: dict[str, pathlib.Path] = {}
    missing = []

    def replace(match: re.Match) -> str:
        path = runs / match["report"]
        if not path.exists():
            missing.append(match["report"])
            return match[0]
        section = _find_section(path, match["heading"])
        prefix = "_".join(path.relative_to(runs).parts[:-1])

        def link(picture: re.Match) -> str:
            name = f"{prefix}_{picture['file']}"
            pictures[name] = path.parent / picture["file"]
            return f"![{picture['alt']}]({name})"

        text = _PICTURE.sub(link, section)
        opening = f"<!-- results: {match['report']} | {match['heading']} -->\n"
        return f"{opening}{text}<!-- end of results, sha256 {_hash(text)} -->"

    return RebuiltPage(_BLOCK.sub(replace, page), pictures, tuple(missing))


def find_edited_blocks(page: str) -> list[str]:
    """Returns "report | heading" of each block that is not what a rebuild wrote."""
    return [
        f"{match['report']} | {match['heading']}"
        for match in _BLOCK.finditer(page)
        if match["hash"] != _hash(match["text"])
    ]


def count_blocks(page: str) -> int:
    """Returns the number of generated blocks of a page."""
    return sum(1 for _ in _BLOCK.finditer(page))


def _find_section(path: pathlib.Path, heading: str) -> str:
    """Returns the section of a report under the first heading that begins with `heading`, as a block."""
    sections = re.split(r"^## ", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    for section in sections:
        title, _, content = section.partition("\n")
        if re.sub(r"\\(.)", r"\1", title).startswith(heading):
            return f"\n**{title}**\n\n{content.strip()}\n\n"
    raise UserError(f"expected a heading that begins with {heading!r} in {path}. Received: none")


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
