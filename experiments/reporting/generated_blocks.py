"""Blocks of a Markdown page that are copied from reports, between two comments:

    <!-- results: scenes/table1/table1.md | Measured: the rows of Table I -->
    …
    <!-- end of results, sha256 0123456789abcdef -->

The first comment names a report below the directory of runs and the beginning of a heading in it. The second
one holds a hash of the block, so that a change by hand is found without the report. One column of several
reports makes a table whose columns have names of their own:

    <!-- results: H-F1 (%)
    scenes: scenes/table1/table1.md | Measured: the rows of Table I
    OpenClipart: openclipart/table1/table1.md | Measured: the rows of Table I
    -->
    <!-- end of results -->
"""

import dataclasses
import hashlib
import pathlib
import re

from msmm.core.errors import UserError

_BLOCK = re.compile(
    r"<!-- results: (?P<source>.+?)\s-->\n"
    r"(?P<text>.*?)<!-- end of results(?:, sha256 (?P<hash>\w+))? -->",
    re.DOTALL,
)
_SOURCE = re.compile(r"(?:(?P<name>[^:\n]+): )?(?P<report>\S+) \| (?P<heading>.+)")
_PICTURE = re.compile(r"!\[(?P<alt>[^\]]*)\]\((?P<file>[^)]+)\)")


@dataclasses.dataclass(frozen=True)
class RebuiltPage:
    """A page with new blocks. pictures: file name beside the page -> the report's file; missing: reports."""

    text: str
    pictures: dict[str, pathlib.Path]
    missing: tuple[str, ...]


def rebuild_page(page: str, runs: pathlib.Path) -> RebuiltPage:
    """Replaces every block of a page by what its reports contain now; a block without its reports stays.

    Raises UserError where a report has no such heading, or its table no such column.
    """
    pictures: dict[str, pathlib.Path] = {}
    missing = []

    def take_pictures(text: str, path: pathlib.Path) -> str:
        prefix = "_".join(path.relative_to(runs).parts[:-1])

        def link(picture: re.Match) -> str:
            name = f"{prefix}_{picture['file']}"
            pictures[name] = path.parent / picture["file"]
            return f"![{picture['alt']}]({name})"

        return _PICTURE.sub(link, text)

    def replace(block: re.Match) -> str:
        column, *lines = block["source"].split("\n")
        sources = [_parse_source(line, named=bool(lines)) for line in lines or [column]]
        absent = [source["report"] for source in sources if not (runs / source["report"]).exists()]
        missing.extend(absent)
        if absent:
            return block[0]
        sections = [_find_section(runs / source["report"], source["heading"]) for source in sources]
        if lines:
            names = [source["name"] for source in sources]
            text = _join_columns(names, [_read_column(section, column) for section in sections])
        else:
            text = take_pictures(sections[0], runs / sources[0]["report"])
        end = "\n-->" if lines else " -->"
        return f"<!-- results: {block['source']}{end}\n{text}<!-- end of results, sha256 {_hash(text)} -->"

    return RebuiltPage(_BLOCK.sub(replace, page), pictures, tuple(missing))


def find_edited_blocks(page: str) -> list[str]:
    """Returns the source ("report | heading") of each block that is not what a rebuild wrote."""
    return [block["source"] for block in _BLOCK.finditer(page) if block["hash"] != _hash(block["text"])]


def count_blocks(page: str) -> int:
    """Returns the number of generated blocks of a page."""
    return sum(1 for _ in _BLOCK.finditer(page))


def _parse_source(line: str, named: bool) -> re.Match:
    """Returns name, report and heading of a line "report | heading", "name: report | heading" if `named`."""
    source = _SOURCE.fullmatch(line)
    if source is None or bool(source["name"]) != named:
        form = f"{'name: ' if named else ''}report | heading"
        raise UserError(f"expected a block's source as '{form}'. Received: {line!r}")
    return source


def _read_column(section: str, column: str) -> dict[str, str]:
    """Returns row name -> cell of one column of the first table of a section."""
    table = [re.split(r"(?<!\\)\|", line)[1:-1] for line in section.splitlines() if line.startswith("|")]
    header, _, *rows = [[cell.strip() for cell in row] for row in table]
    if column not in header:
        raise UserError(f"expected a column {column!r}. Received: {', '.join(header)}")
    return {row[0]: row[header.index(column)] for row in rows}


def _join_columns(names: list[str], columns: list[dict[str, str]]) -> str:
    """Returns a table with one column per report, and the rows of all; "–" where a report lacks a row."""
    rows = dict.fromkeys(row for column in columns for row in column)
    lines = [["", *names], ["---", *["---:"] * len(names)]]
    lines += [[row, *(column.get(row, "–") for column in columns)] for row in rows]
    return "\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines) + "\n"


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
