"""Plots as SVG by matplotlib: the same text every time, light or dark as the reader's system is, tooltips.

Colours are CSS variables with a light and a dark value. Texts stay texts; no string is read as mathematics.
"""

import io
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable

import matplotlib
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from experiments.reporting.rendering import clean

LEAST_WIDTH = 640  # pixels; on a narrower screen a picture scrolls
_PIXELS_PER_INCH = 72  # of SVG's points, so sizes here are CSS pixels
_SVG = "http://www.w3.org/2000/svg"
_TOOLTIP = "tooltip:"
_NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))

# Name -> (light, dark). A drawing uses the light ones; `render_svg` makes CSS variables of them.
_PALETTE = {
    "paper": ("#fefefe", "#16181c"),
    "ink": ("#1c1e21", "#e4e6ea"),
    "soft": ("#666c75", "#9aa1ab"),
    "grid": ("#e3e6ea", "#30353c"),
    "cell": ("#4a90e2", "#2f6fc4"),
    "line0": ("#1f5fd0", "#79a9ff"),
    "line1": ("#c2570c", "#f2a35e"),
    "line2": ("#15803d", "#6fcf8e"),
    "line3": ("#8b3fc4", "#c79bf2"),
    "line4": ("#0e7c86", "#5cc8d2"),
}
INK, SOFT, CELL = (_PALETTE[name][0] for name in ("ink", "soft", "cell"))
LINES = tuple(light for name, (light, _) in _PALETTE.items() if name.startswith("line"))

_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "msmm",
    "text.parse_math": False,
    "axes.formatter.use_mathtext": False,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": _PALETTE["grid"][0],
    "figure.facecolor": _PALETTE["paper"][0],
    "axes.facecolor": _PALETTE["paper"][0],
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.edgecolor": SOFT,
    "legend.edgecolor": SOFT,
    "legend.facecolor": _PALETTE["paper"][0],
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "lines.linewidth": 1.7,
    "lines.markersize": 7,
    "figure.constrained_layout.use": True,
}
_CSS = """
.plot {{ {light} background: var(--paper); }}
@media (prefers-color-scheme: dark) {{ .plot {{ {dark} }} }}
"""


def render_svg(draw: Callable[[Figure], None], width: float, height: float, alt: str) -> str:
    """Returns a picture of `width` by `height` CSS pixels as SVG text.

    Args:
        draw: adds axes and artists to an empty figure.
        alt: the content of the picture in words, for screen readers.
    """
    with matplotlib.rc_context(_STYLE):
        size = width / _PIXELS_PER_INCH, height / _PIXELS_PER_INCH
        figure = Figure(size, dpi=_PIXELS_PER_INCH)
        draw(figure)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata=_NO_METADATA)
    return _themed(out.getvalue(), width, height, alt)


def add_tooltip(artist: Artist, text: str) -> None:
    """Makes browsers show a text over an artist."""
    artist.set_gid(_TOOLTIP + clean(text))


def use_log_scale(axes: Axes, axis: str) -> None:
    """Makes the "x" or "y" axis logarithmic, with ticks at 1, 2 and 5 or, over many decades, at 1."""
    getattr(axes, f"set_{axis}scale")("log")
    low, high = getattr(axes, f"get_{axis}lim")()
    ticks = getattr(axes, f"{axis}axis")
    ticks.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 1000 else (1,)))
    ticks.set_minor_locator(NullLocator())
    ticks.set_major_formatter(lambda value, _: f"{value:,.10g}")


def _themed(svg: str, width: float, height: float, alt: str) -> str:
    """Returns matplotlib's SVG with CSS variables as colours, tooltips and no needless identifiers."""
    for name, (light, _) in _PALETTE.items():
        svg = svg.replace(light, f"var(--{name})")
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")
    root = ElementTree.fromstring(svg.encode())
    for group in root.iter(f"{{{_SVG}}}g"):
        name = group.attrib.pop("id", "")  # would be there several times on a page with several pictures
        if name.startswith(_TOOLTIP):
            title = ElementTree.Element(f"{{{_SVG}}}title")
            title.text = name.removeprefix(_TOOLTIP)
            group.insert(0, title)
    for style in root.iter(f"{{{_SVG}}}style"):
        style.text = style.text.replace("*{", ".plot *{")  # not every element of the page
    light, dark = (" ".join(f"--{name}: {colours[i]};" for name, colours in _PALETTE.items()) for i in (0, 1))
    theme = ElementTree.Element(f"{{{_SVG}}}style")
    theme.text = _CSS.format(light=light, dark=dark)
    root.insert(0, theme)
    root.attrib |= {"class": "plot", "role": "img", "aria-label": clean(alt)}
    root.attrib |= {"width": f"{width:g}", "height": f"{height:g}"}
    root.attrib["style"] = f"min-width: {min(width, LEAST_WIDTH):g}px"
    return ElementTree.tostring(root, encoding="unicode")
