import math
import xml.etree.ElementTree as ElementTree

import pytest

from experiments.reporting import drawing
from experiments.reporting.drawing import Axis, Panel
from tests.experiments.reporting.report_test import HOSTILE


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (-4, 104, [0, 20, 40, 60, 80, 100]),
        (0.12, 0.31, [0.15, 0.2, 0.25, 0.3]),
    ],
)
def test_ticks_are_round(low, high, expected):
    assert Axis(low, high, "").ticks() == pytest.approx(expected)


def test_ticks_are_few_on_any_axis():
    for low, high in ((0, 3), (0, 7.3), (1e-3, 2e-3), (-5, 17), (0, 999)):
        assert 3 <= len(Axis(low, high, "").ticks()) <= 7, (low, high)
    assert Axis(0, 3, "", whole=True).ticks() == [0, 1, 2, 3]
    assert Axis(4, 300, "", log=True).ticks() == [5, 10, 20, 50, 100, 200]
    assert Axis(0.5, 2e5, "", log=True).ticks() == [1, 10, 100, 1000, 1e4, 1e5]


def test_places_are_linear_or_logarithmic():
    assert Axis(2, 6, "").place(3) == 0.25
    assert Axis(1, 100, "", log=True).place(10) == pytest.approx(0.5)
    panel = Panel(10, 20, 100, 50, Axis(0, 1, ""), Axis(0, 10, ""))
    assert panel.at(0, 0) == (10, 70) and panel.at(1, 10) == (110, 20)


def test_a_picture_is_well_formed_and_hostile_names_do_nothing():
    panel = Panel(10, 20, 100, 50, Axis(0, 1, HOSTILE), Axis(0, 10, HOSTILE), HOSTILE)
    panel.line([(0, 1), (1, 2)], "line s0", HOSTILE)
    panel.dot(0.5, 3, "s1", HOSTILE)
    panel.bar(0.1, 0.2, 4, "cell", HOSTILE)
    grid = drawing.grid([HOSTILE], [HOSTILE], [[(HOSTILE, 0.5)]], [[HOSTILE]], HOSTILE, HOSTILE)
    picture = drawing.svg(200, 100, HOSTILE, [panel.draw(), *grid[2]])
    root = ElementTree.fromstring(picture)
    tags = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert tags == {"svg", "style", "text", "path", "polyline", "circle", "rect", "title"}
    shown = drawing.clean(HOSTILE)
    assert shown in [e.text for e in root.iter("{http://www.w3.org/2000/svg}title")]
    assert root.attrib["aria-label"] == shown
    assert "prefers-color-scheme: dark" in picture


def test_a_bar_stands_on_the_floor():
    panel = Panel(0, 0, 100, 100, Axis(0, 1, ""), Axis(1, 100, "", log=True))
    panel.bar(0.2, 0.4, 10, "cell")
    bar = ElementTree.fromstring(panel.marks[0])
    assert float(bar.attrib["y"]) == 50 and float(bar.attrib["height"]) == 50
    assert math.isclose(float(bar.attrib["width"]), 18)
