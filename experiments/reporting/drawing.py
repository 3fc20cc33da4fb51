"""Plots as small SVG texts: panels with axes, lines, dots and cells. No library, no script.

Colours are CSS variables, light or dark as the reader's system is. A mark says its values in a
<title>, which browsers show as a tooltip. Every string may hold anything: it is escaped here.
"""

import dataclasses
import html
import math
from collections.abc import Iterable, Sequence

from experiments.reporting.rendering import clean

LEAST_WIDTH = 640  # pixels; on a narrower screen a picture scrolls
SERIES = 5  # colours of lines: classes s0 … s4

_SVG = """<svg xmlns="http://www.w3.org/2000/svg" class="plot" viewBox="0 0 {width:g} {height:g}" \
width="{width:g}" height="{height:g}" style="min-width: {least:g}px" role="img" aria-label="{alt}">
<style>
.plot {{ --paper: #fff; --ink: #1c1e21; --soft: #666c75; --grid: #e3e6ea; --cell: #4a90e2;
  --s0: #1f5fd0; --s1: #c2570c; --s2: #15803d; --s3: #8b3fc4; --s4: #0e7c86;
  font: 12px system-ui, sans-serif; background: var(--paper); }}
@media (prefers-color-scheme: dark) {{
  .plot {{ --paper: #16181c; --ink: #e4e6ea; --soft: #9aa1ab; --grid: #30353c; --cell: #2f6fc4;
    --s0: #79a9ff; --s1: #f2a35e; --s2: #6fcf8e; --s3: #c79bf2; --s4: #5cc8d2; }}
}}
.plot text {{ fill: var(--ink); }}
.plot .soft {{ fill: var(--soft); }}
.plot .head {{ font-weight: 600; font-size: 13px; }}
.plot .grid {{ stroke: var(--grid); fill: none; }}
.plot .frame {{ stroke: var(--soft); fill: none; }}
.plot .ideal {{ stroke: var(--soft); stroke-dasharray: 2 4; fill: none; }}
.plot .line {{ fill: none; stroke-width: 1.7; stroke-linejoin: round; }}
.plot .thin {{ fill: none; stroke-width: 1.1; stroke-dasharray: 4 3; opacity: .75; }}
.plot .spread {{ stroke: var(--s0); opacity: .3; }}
.plot .cell {{ fill: var(--cell); }}
{series}
</style>
{content}
</svg>"""
_COLOURS = "\n".join(
    f".plot .s{i} {{ stroke: var(--s{i}); }} .plot circle.s{i}, .plot rect.s{i} {{ fill: var(--s{i}); }}"
    for i in range(SERIES)
)


def svg(width: float, height: float, alt: str, content: Iterable[str]) -> str:
    """A whole picture of `width` by `height` pixels; `alt` says in words what it shows."""
    return _SVG.format(
        width=width,
        height=height,
        least=min(width, LEAST_WIDTH),
        alt=escape(alt),
        series=_COLOURS,
        content="\n".join(content),
    )


def escape(string: str) -> str:
    return html.escape(clean(string))


def text(
    x: float, y: float, string: str, style: str = "", anchor: str = "start", turned: bool = False
) -> str:
    """A line of text at its base line; `anchor`: start, middle or end."""
    turn = f' transform="rotate(-90 {x:.1f} {y:.1f})"' if turned else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" class="{style}" text-anchor="{anchor}"{turn}>{escape(string)}</text>'
    )


@dataclasses.dataclass(frozen=True)
class Axis:
    """From `low` to `high`, in steps of 1, 2 or 5 times a power of ten, or in powers if `log`."""

    low: float
    high: float
    label: str
    log: bool = False
    whole: bool = False  # ticks at whole numbers only

    def place(self, value: float) -> float:
        """Where a value lies, 0 … 1."""
        low, high, value = (math.log(v) if self.log else v for v in (self.low, self.high, value))
        return (value - low) / (high - low)

    def ticks(self) -> list[float]:
        """Three to seven round values within the axis."""
        if self.log:
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            found = [m * 10.0**p for p in powers for m in (1, 2, 5)]
            found = [v for v in found if self.low <= v <= self.high]
            return found if len(found) < 8 else [v for v in found if math.log10(v) % 1 == 0]
        span = self.high - self.low
        power = 10.0 ** math.floor(math.log10(span / 3))
        step = next(m * power for m in (5, 2, 1) if span / (m * power) >= 3)
        step = max(1.0, step) if self.whole else step
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [i * step for i in range(first, last + 1)]


@dataclasses.dataclass
class Panel:
    """Axes at (left, top) with a drawing area of `width` by `height`; marks are added in data units."""

    left: float
    top: float
    width: float
    height: float
    x: Axis
    y: Axis
    title: str = ""
    marks: list[str] = dataclasses.field(default_factory=list)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Pixels of a point."""
        return self.left + self.x.place(x) * self.width, self.top + (1 - self.y.place(y)) * self.height

    def line(self, points: Sequence[tuple[float, float]], style: str, title: str = "") -> None:
        drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in (self.at(*point) for point in points))
        self.marks.append(f'<polyline points="{drawn}" class="{style}">{_title(title)}</polyline>')

    def dot(self, x: float, y: float, style: str, title: str = "", radius: float = 3.5) -> None:
        cx, cy = self.at(x, y)
        self.marks.append(
            f'<circle cx="{cx:.1f}" cy="{cy:.1f}" r="{radius:g}" class="{style}">{_title(title)}</circle>'
        )

    def bar(self, low: float, high: float, y: float, style: str, title: str = "") -> None:
        """A bar from the floor up to `y`, over low … high."""
        (x1, y1), (x2, _) = self.at(low, y), self.at(high, y)
        height = self.top + self.height - y1
        self.marks.append(
            f'<rect x="{x1 + 1:.1f}" y="{y1:.1f}" width="{x2 - x1 - 2:.1f}" height="{height:.1f}" '
            f'class="{style}">{_title(title)}</rect>'
        )

    def draw(self, y_ticks: bool = True) -> str:
        """The panel as SVG elements; without `y_ticks` its left side is left to the caller."""
        bottom, right = self.top + self.height, self.left + self.width
        parts = [text(self.left, self.top - 10, self.title, "head")] if self.title else []
        for value in self.x.ticks():
            x = self.left + self.x.place(value) * self.width
            parts.append(f'<path d="M{x:.1f} {self.top:g}V{bottom:g}" class="grid"/>')
            parts.append(text(x, bottom + 16, _number(value), "soft", "middle"))
        for value in self.y.ticks() if y_ticks else ():
            y = bottom - self.y.place(value) * self.height
            parts.append(f'<path d="M{self.left:g} {y:.1f}H{right:g}" class="grid"/>')
            parts.append(text(self.left - 6, y + 4, _number(value), "soft", "end"))
        parts.append(f'<path d="M{self.left:g} {self.top:g}V{bottom:g}H{right:g}" class="frame"/>')
        parts.append(text((self.left + right) / 2, bottom + 34, self.x.label, "", "middle"))
        parts.append(text(self.left - 44, (self.top + bottom) / 2, self.y.label, "", "middle", turned=True))
        return "\n".join(parts + self.marks)


def grid(rows: Sequence[str], columns: Sequence[str], cells, titles, x_label: str, y_label: str) -> tuple:
    """A grid of numbers: (width, height, elements).

    cells: [R][K] (text, shade 0 … 1) each; titles: [R][K], what a cell's tooltip says.
    """
    side, left, top = 44, 78, 60
    parts = [
        text(left + side * len(columns) / 2, 20, x_label, "", "middle"),
        text(18, top + side * len(rows) / 2, y_label, "", "middle", turned=True),
    ]
    for k, name in enumerate(columns):
        parts.append(text(left + side * (k + 0.5), top - 10, name, "soft", "middle"))
    for r, name in enumerate(rows):
        y = top + side * r
        parts.append(text(left - 12, y + side / 2 + 4, name, "soft", "end"))
        for k, (said, shade) in enumerate(cells[r]):
            x = left + side * k
            parts.append(
                f'<rect x="{x}" y="{y}" width="{side - 2}" height="{side - 2}" class="grid"/>'
                f'<rect x="{x}" y="{y}" width="{side - 2}" height="{side - 2}" class="cell" '
                f'fill-opacity="{shade:.3f}">{_title(titles[r][k])}</rect>'
            )
            parts.append(text(x + side / 2 - 1, y + side / 2 + 3, said, "", "middle"))
    return left + side * len(columns) + 16, top + side * len(rows) + 14, parts


def _title(string: str) -> str:
    return f"<title>{escape(string)}</title>" if string else ""


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.6g}"
