import re
import xml.etree.ElementTree as ElementTree

import pytest

from experiments.reporting.plots import LINES, add_tooltip, render_svg, use_log_scale
from experiments.reporting.rendering import clean
from tests.experiments.reporting.report_test import HOSTILE

SVG = "{http://www.w3.org/2000/svg}"


def draw(drawing, text="a name"):
    axes = drawing.subplots()
    (line,) = axes.plot([1, 2, 3], [5, 8, 6], color=LINES[1], label=clean(text))
    add_tooltip(line, text)
    axes.set_title(clean(text))
    axes.set_xlabel(clean(text))
    axes.legend()


def test_rendered_svg_is_deterministic():
    first = render_svg(draw, 300, 200, "a picture")
    assert first == render_svg(draw, 300, 200, "a picture")
    assert not re.search(r"20\d\d-\d\d|matplotlib v", first), "no date, no version"


def test_rendered_svg_is_well_formed_and_escapes_hostile_names():
    picture = render_svg(lambda drawing: draw(drawing, HOSTILE + " $x$"), 900, 600, HOSTILE)
    root = ElementTree.fromstring(picture)
    tags = {element.tag.removeprefix(SVG) for element in root.iter()}
    assert tags <= {"svg", "style", "text", "tspan", "path", "use", "g", "title", "defs", "clipPath", "rect"}
    shown = clean(HOSTILE + " $x$")
    assert [e.text for e in root.iter(f"{SVG}title")] == [shown]
    assert sum(e.text == shown for e in root.iter(f"{SVG}text")) == 3, "labels are SVG text, also with $"
    assert root.attrib["aria-label"] == clean(HOSTILE)
    assert "\x1b" not in picture and "http://www.w3.org/2000/svg" in picture[:100]


def test_svg_colours_are_variables_with_a_light_and_a_dark_value():
    picture = render_svg(draw, 300, 200, "a picture")
    theme, drawing = picture.split("</style>", 1)
    light, dark = theme.split("prefers-color-scheme: dark")
    used = set(re.findall(r"var\((--\w+)\)", drawing))
    assert {"--paper", "--ink", "--soft", "--grid", "--line1"} <= used
    for name in used:
        values = [re.search(rf"{name}: (#\w+)", part)[1] for part in (light, dark)]
        assert values[0] != values[1]
    fixed = set(re.findall(r"#[0-9a-f]{6}\b", re.sub(r"url\(#\w+\)|href=\"#\w+\"", "", drawing)))
    assert not fixed, "every colour follows the reader's system"


def test_svg_pictures_on_one_page_do_not_interfere():
    """No style applies to all elements, and equal identifiers have equal definitions."""
    first, second = (render_svg(lambda d, n=n: draw(d, n), 300, 200, n) for n in ("one", "two"))
    definitions = {}
    for picture in (first, second):
        root = ElementTree.fromstring(picture)
        assert not re.search(r"(^|[^.\w ] ?)\*\s*{", root.find(f"{SVG}defs/{SVG}style").text)
        for element in root.iter():
            if name := element.get("id"):
                text = ElementTree.tostring(element)
                assert definitions.setdefault(name, text) == text


@pytest.mark.parametrize(
    ("limits", "expected"),
    [((4, 300), [5, 10, 20, 50, 100, 200]), ((0.5, 2e5), [1, 10, 100, 1000, 1e4, 1e5])],
)
def test_logarithmic_ticks_are_round_numbers(limits, expected):
    def draw_scale(drawing):
        axes = drawing.subplots()
        axes.set_xlim(limits)
        use_log_scale(axes, "x")
        low, high = axes.get_xlim()
        ticks = [v for v in axes.get_xticks() if low <= v <= high]
        assert ticks == pytest.approx(expected)

    picture = render_svg(draw_scale, 300, 200, "a scale")
    assert f">{expected[-1]:,.0f}</text>" in picture
