"""The review page in a real browser, by keyboard alone, by mouse, and at a telephone's width."""

import threading

import pytest

from msmm.photos import xmp
from msmm.photos.review import server
from msmm.photos.review.decisions import FILE, Decision, read_decisions
from tests.msmm.photos.review.conftest import digests

PHONE = {"width": 390, "height": 844}
# Elements without a name for assistive technology.
UNNAMED = """() => [...document.querySelectorAll('button, input, select, img')].filter(e => e.offsetParent &&
  !(e.textContent.trim() || e.ariaLabel || e.alt || e.title || (e.labels && e.labels.length)))
  .map(e => e.outerHTML)"""


@pytest.fixture
def served(session):
    served = server.ReviewServer(session, 0)
    thread = threading.Thread(target=served.serve_forever)
    thread.start()
    yield served
    served.shutdown()
    thread.join()
    served.server_close()


@pytest.fixture
def open_tab(browser, served):
    """Returns a function that opens the page; checks that nothing else is requested and nothing fails."""
    tabs, problems = [], []

    def open_tab(viewport=None):
        tab = browser.new_page(viewport=viewport or {"width": 1280, "height": 800})
        tab.set_default_timeout(20_000)
        origin = served.address.partition("/?")[0]
        tab.on("request", lambda r: None if r.url.startswith((origin, "data:")) else problems.append(r.url))
        tab.on("pageerror", lambda error: problems.append(str(error)))
        tab.on("dialog", lambda dialog: problems.append(dialog.message))
        tab.goto(served.address)
        tab.locator(".keyword").first.wait_for()
        tabs.append(tab)
        return tab

    yield open_tab
    for tab in tabs:
        tab.close()
    assert problems == []


def name(tab):
    return tab.inner_text("#name")


def ticked(tab):
    return tab.locator(".keyword[aria-pressed=true] bdi").all_inner_texts()


def wait_for(tab, text):
    tab.wait_for_function("text => document.getElementById('name').textContent === text", arg=text)


def subjects(folder, photo):
    return xmp.parse((folder / f"{photo}.xmp").read_bytes()).subjects


def test_a_review_by_keyboard_alone(open_tab, folder, session):
    originals = digests(folder)
    tab = open_tab()
    assert name(tab) == "blue.png" and ticked(tab) == ["blue"]
    assert tab.inner_text("#progress-text") == "0 of 5 reviewed"
    tab.keyboard.press("Enter")
    wait_for(tab, "a/green.png")  # what cannot be read is passed over
    tab.keyboard.press("1")
    assert ticked(tab) == []
    tab.keyboard.press("n")
    tab.keyboard.type("meadow <b>")
    tab.keyboard.press("Enter")
    tab.keyboard.press("Escape")
    assert ticked(tab) == ["meadow <b>"]
    assert tab.inner_text("#accept") == "Accept 1 keyword"
    tab.keyboard.press("a")
    wait_for(tab, "a/red.jpg")
    tab.keyboard.press("ArrowLeft")
    wait_for(tab, "a/green.png")
    assert tab.is_visible("#reviewed") and ticked(tab) == ["meadow <b>"]
    tab.keyboard.press("ArrowRight")
    wait_for(tab, "a/red.jpg")
    assert read_decisions(folder / FILE) == {
        "blue.png": Decision(True, ("blue",)),
        "a/green.png": Decision(True, ("meadow <b>",), (), ("green",)),
    }
    assert subjects(folder, "a/green.png") == ["meadow <b>"]
    tab.keyboard.press("u")
    wait_for(tab, "a/green.png")
    assert ticked(tab) == ["green"] and not (folder / "a/green.png.xmp").exists()
    tab.keyboard.press("?")
    assert tab.is_visible("dialog") and tab.inner_text("#keys-title") == "Keys"
    tab.keyboard.press("Escape")
    for photo in ("a/green.png", "a/red.jpg", "b/bright.png", "b/own.png"):
        wait_for(tab, photo)
        tab.locator("#accept:enabled").wait_for()
        tab.keyboard.press("a")
    tab.get_by_text("All photographs are reviewed.").wait_for()
    assert tab.inner_text("#progress-text") == "5 of 5 reviewed"
    assert originals.items() <= digests(folder).items()


def test_a_click_strikes_adds_and_restores(open_tab, folder):
    tab = open_tab()
    for _ in range(5):
        tab.get_by_label("Next photograph").click()
    wait_for(tab, "b/own.png")
    assert ticked(tab) == ["Rome", "sea", "red"]
    tab.get_by_role("button", name="Rome").click()
    tab.get_by_label("Add a keyword").fill("bright above")
    tab.get_by_role("button", name="Add", exact=True).click()
    assert ticked(tab) == ["sea", "red", "bright above"]
    assert "bright above" in tab.locator("#labels option").evaluate_all("o => o.map(e => e.value)")
    tab.get_by_role("button", name="Previous photograph").click()  # what is not accepted is not lost
    wait_for(tab, "b/bright.png")
    tab.get_by_role("button", name="Next photograph").click()
    wait_for(tab, "b/own.png")
    assert ticked(tab) == ["sea", "red", "bright above"]
    tab.get_by_role("button", name="Accept 3 keywords").click()
    wait_for(tab, "blue.png")
    assert subjects(folder, "b/own.png") == ["Rome", "Nature|sea", "red", "bright above"]
    assert read_decisions(folder / FILE)["b/own.png"] == Decision(
        True, ("red", "bright above"), ("sea",), ("Rome",)
    )
    tab.get_by_role("button", name="Undo").click()
    wait_for(tab, "b/own.png")
    assert subjects(folder, "b/own.png") == ["Rome", "Nature|sea"]


def test_the_grid_by_keyboard(open_tab, folder):
    tab = open_tab()
    tab.keyboard.press("g")
    tab.locator(".tile").first.wait_for()
    assert tab.input_value("#grid-label") == "red" and tab.locator(".tile").count() == 3
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press("Space")
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press("Space")
    assert tab.inner_text("#grid-accept") == "Accept for 2"
    tab.keyboard.press("a")
    tab.get_by_text("“red” accepted for 2.").wait_for()
    assert tab.locator(".tile").count() == 1
    tab.keyboard.press("s")
    tab.keyboard.press("r")
    tab.get_by_text("“red” rejected for 1.").wait_for()
    decided = read_decisions(folder / FILE)
    assert {photo: d.accepted for photo, d in decided.items()} == {
        "a/red.jpg": ("red",), "b/own.png": ("red",), "b/bright.png": ()
    }  # fmt: skip
    assert decided["b/bright.png"].rejected == ("red",)
    tab.keyboard.press("u")
    tab.get_by_text("The last decision is undone.").wait_for()
    assert "b/bright.png" not in read_decisions(folder / FILE)
    tab.select_option("#grid-shown", "accepted")
    tab.wait_for_function("() => document.querySelectorAll('.tile').length === 2")
    tab.locator(".tile").first.dblclick()
    tab.wait_for_function(
        "() => ['a/red.jpg', 'b/own.png'].includes(document.getElementById('name').textContent)"
    )


def test_nothing_is_decided_while_the_photograph_is_asked_for(open_tab, folder):
    tab, held = open_tab(), []
    tab.route("**/api/photo*", lambda route: held.append(route))
    tab.get_by_label("Next photograph").click()  # blue.png and its keyword stay until the answer
    tab.locator(".keyword").first.click()
    assert ticked(tab) == ["blue"] and tab.is_disabled("#accept")
    tab.keyboard.press("a")
    assert read_decisions(folder / FILE) == {}
    held[0].continue_()
    tab.locator("#unreadable:not([hidden])").wait_for()
    tab.unroute("**/api/photo*")
    tab.get_by_label("Next photograph").click()
    wait_for(tab, "a/green.png")
    assert ticked(tab) == ["green"]


def test_a_late_answer_does_not_replace_that_of_a_later_choice(open_tab):
    tab, held = open_tab(), []
    tab.keyboard.press("g")
    tab.locator(".tile").first.wait_for()
    tab.route("**/api/grid*shown=proposed*", lambda route: held.append(route))
    tab.select_option("#grid-order", "unsure")  # asks for the proposed ones; the answer waits
    tab.wait_for_timeout(100)
    tab.select_option("#grid-shown", "accepted")
    tab.get_by_text("none", exact=True).wait_for()
    with tab.expect_response("**/api/grid*shown=proposed*"):
        held[0].continue_()
    tab.wait_for_timeout(200)
    assert tab.locator(".tile").count() == 0


@pytest.mark.parametrize("viewport", [None, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("view", ["walk", "grid"])
def test_everything_is_named_and_fits(open_tab, viewport, view):
    tab = open_tab(viewport)
    if view == "grid":
        tab.get_by_role("button", name="Grid").click()
        tab.locator(".tile").first.wait_for()
    assert tab.evaluate(UNNAMED) == []
    assert tab.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth")
    accept = tab.locator("#accept" if view == "walk" else "#grid-accept").bounding_box()
    height = tab.viewport_size["height"]
    assert accept["y"] + accept["height"] <= height  # always in reach
    # Large enough for a finger.
    sizes = tab.evaluate(
        "() => [...document.querySelectorAll('.bar button, .keyword')].filter(e => e.offsetParent)"
        ".map(e => e.getBoundingClientRect().height)"
    )
    assert min(sizes) >= 36


def test_a_page_of_an_earlier_start_says_so(open_tab, served):
    tab = open_tab()
    served.token = "another"
    tab.keyboard.press("a")
    tab.get_by_text("open the address that the terminal shows").wait_for()
    # The progress may be refused first, while the decision is still under way.
    tab.wait_for_function("() => !document.querySelector('#accept').disabled")
