"""Renders pages of tables and pictures as plain text, Markdown, one self-contained HTML file, and CSV.

`report` builds the blocks. Every string may contain anything: it is escaped here.
"""

import base64
import csv
import dataclasses
import html
import io
import re
import textwrap
import urllib.parse
from collections.abc import Sequence

TEXT_WIDTH = 80

_HTML = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --paper: #fff; --ink: #1c1e21; --soft: #666c75; --line: #d9dce1; }}
@media (prefers-color-scheme: dark) {{
  :root {{ --paper: #16181c; --ink: #e4e6ea; --soft: #9aa1ab; --line: #363b43; }}
}}
body {{ margin: 0 auto; padding: 1rem; max-width: 66rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }}
h1 {{ font-size: 1.45rem; line-height: 1.25; }}
h2 {{ font-size: 1.05rem; margin: 2rem 0 .4rem; }}
.scroll {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; }}
th, td {{ padding: .3rem .65rem; text-align: right; vertical-align: top; white-space: nowrap;
  border-bottom: 1px solid var(--line); font-weight: normal; }}
thead th {{ border-bottom: 2px solid var(--soft); font-weight: 600; vertical-align: bottom; }}
th:first-child {{ position: sticky; left: 0; background: var(--paper); padding-left: 0; }}
.left {{ text-align: left; }}
.wrap {{ white-space: normal; min-width: 9rem; }}
small, li {{ color: var(--soft); font-size: .82rem; }}
small {{ font-weight: normal; }}
sup {{ position: absolute; line-height: 1; }}
@media (max-width: 40rem) {{
  th, td {{ padding: .3rem .4rem; }}
  th:first-child {{ white-space: normal; }}
}}
ul {{ margin: .5rem 0; padding-left: 1.1rem; max-width: 48rem; }}
img, svg {{ display: block; max-width: 100%; height: auto; }}
pre {{ padding: .6rem .8rem; border: 1px solid var(--line); border-radius: 4px; overflow-x: auto; }}
</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""


@dataclasses.dataclass(frozen=True)
class Cell:
    """A cell of a table. under: a second line where the format has one; mark: refers to a footnote."""

    text: str
    under: str = ""
    best: bool = False
    mark: str = ""


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture: SVG text that is safe within a page (from `plots.render_svg`), or the bytes of a PNG.

    name: of its file beside the Markdown, without ending; alt: the content in words.
    """

    name: str
    alt: str
    content: str | bytes

    @property
    def file_name(self) -> str:
        return self.name + (".svg" if isinstance(self.content, str) else ".png")

    def as_bytes(self) -> bytes:
        return self.content.encode() if isinstance(self.content, str) else self.content


@dataclasses.dataclass(frozen=True)
class Block:
    """A part of a page with a heading: a table (header and rows), a picture, notes, code; each is optional.

    The first `left` columns contain words, the others numbers.
    """

    heading: str
    header: Sequence[Cell] = ()
    rows: Sequence[Sequence[Cell]] = ()
    left: int = 1
    notes: Sequence[str] = ()
    code: str = ""
    picture: Picture | None = None


def text(title: str, blocks: Sequence[Block]) -> str:
    """Returns plain text for a terminal. The best of a column has a `*` before it."""
    lines = [clean(title), "=" * len(clean(title)), ""]
    for block in blocks:
        lines += [clean(block.heading), "-" * min(len(clean(block.heading)), TEXT_WIDTH)]
        columns = [
            _text_column(column, left=i < block.left)
            for i, column in enumerate(zip(block.header, *block.rows, strict=True))
        ]
        for row in zip(*columns, strict=True):
            upper, lower = (" ".join(part).rstrip() for part in zip(*row, strict=True))
            lines += [upper, lower] if lower else [upper]
        for note in block.notes:
            lines += textwrap.wrap(clean(note), TEXT_WIDTH, subsequent_indent="  ")
        lines += [f"  {clean(line)}" for line in block.code.splitlines()] + [""]
    return "\n".join(lines)


def _text_column(cells: Sequence[Cell], left: bool) -> list[tuple[str, str]]:
    """Returns the two lines of each cell, all of one width; digits stay aligned beside stars and marks."""
    pad = " " * (any(cell.mark for cell in cells) and not left)
    upper = ["*" * cell.best + clean(cell.text) + (cell.mark or pad) for cell in cells]
    lower = [clean(cell.under) + pad * bool(cell.under) for cell in cells]
    width = max(map(len, upper + lower))
    align = str.ljust if left else str.rjust
    return [(align(u, width), align(v, width)) for u, v in zip(upper, lower, strict=True)]


def markdown(title: str, blocks: Sequence[Block]) -> str:
    """Returns GitHub's Markdown. The best of a column is bold."""
    lines = [f"# {_escape_markdown(title)}", ""]
    for block in blocks:
        lines += [f"## {_escape_markdown(block.heading)}", ""]
        if block.header:
            rule = ["---" if i < block.left else "---:" for i in range(len(block.header))]
            rows = [[_markdown_cell(cell) for cell in row] for row in (block.header, *block.rows)]
            lines += ["| " + " | ".join(row) + " |" for row in (rows[0], rule, *rows[1:])] + [""]
        if block.picture:
            alt = _escape_markdown(block.picture.alt)
            lines += [f"![{alt}]({urllib.parse.quote(block.picture.file_name)})", ""]
        lines += [f"- {_escape_markdown(note)}" for note in block.notes] + [""] * bool(block.notes)
        lines += [f"    {clean(line)}" for line in block.code.splitlines()] + [""] * bool(block.code)
    return "\n".join(lines)


def _markdown_cell(cell: Cell) -> str:
    main = _escape_markdown(cell.text)
    main = (f"**{main}**" if cell.best else main) + cell.mark
    return f"{main} {_escape_markdown(cell.under)}" if cell.under else main


def _escape_markdown(string: str) -> str:
    return re.sub(r"([\\`*_|\[\]<>#&~])", r"\\\1", clean(string))


def page(title: str, blocks: Sequence[Block]) -> str:
    """Returns one HTML file that loads nothing, light or dark like the reader's system."""
    body = "\n".join(_html_block(block) for block in blocks)
    return _HTML.format(title=_escape_html(title), body=body)


def _html_block(block: Block) -> str:
    parts = [f"<h2>{_escape_html(block.heading)}</h2>"]
    if block.header:
        head, *rows = (
            "<tr>" + "".join(_html_cell(cell, i, block.left, not n) for i, cell in enumerate(row)) + "</tr>"
            for n, row in enumerate((block.header, *block.rows))
        )
        parts.append('<div class="scroll"><table>')
        parts += [f"<thead>{head}</thead>", "<tbody>", *rows, "</tbody></table></div>"]
    if block.picture:
        parts.append(_html_picture(block.picture))
    if block.notes:
        parts += ["<ul>", *(f"<li>{_escape_html(note)}</li>" for note in block.notes), "</ul>"]
    if block.code:
        parts.append(f"<pre>{html.escape(block.code)}</pre>")
    return "\n".join(parts)


def _html_picture(picture: Picture) -> str:
    """Returns a picture; SVG stays part of the page, so that it follows its colours and shows tooltips."""
    if isinstance(picture.content, str):
        return f'<div class="scroll">{picture.content}</div>'
    encoded = base64.b64encode(picture.content).decode()
    return f'<img src="data:image/png;base64,{encoded}" alt="{_escape_html(picture.alt)}">'


def _html_cell(cell: Cell, column: int, left: int, in_head: bool) -> str:
    content = _escape_html(cell.text)
    content = f"<b>{content}</b>" if cell.best else content
    content += f"<sup>{_escape_html(cell.mark)}</sup>" if cell.mark else ""
    content += f"<br><small>{_escape_html(cell.under)}</small>" if cell.under else ""
    words = ' class="left"' if column == 0 else ' class="left wrap"' if column < left else ""
    if in_head:
        return f'<th scope="col"{words}>{content}</th>'
    return f'<th scope="row"{words}>{content}</th>' if column == 0 else f"<td{words}>{content}</td>"


def _escape_html(string: str) -> str:
    return html.escape(clean(string))


def comma_separated(lines: Sequence[Sequence]) -> str:
    """Returns CSV: every cell as it is, nothing escaped beyond CSV's own rules."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(lines)
    return out.getvalue()


def clean(string: str) -> str:
    """Returns one line without control characters, so that no name can move a cursor or break a table."""
    return "".join(c for c in " ".join(str(string).split()) if c.isprintable())
