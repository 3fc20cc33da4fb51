"""Pages, read by another parser and opened in a real browser."""

import html.parser
import io
import os
import re
import shutil
import subprocess
import urllib.parse

import pytest

from msmm.core.errors import UserError
from msmm.photos import gallery
from msmm.photos.annotation_lines import Annotated
from msmm.photos.gallery import Gallery
from tests.msmm.conftest import picture

RUN = "document.title='RAN'"
HOSTILE = (
    f'"><img src=x onerror={RUN}>.jpg',
    f"<script>{RUN}<&#47;script>.jpg",
    f"'onmouseover={RUN} x='.jpg",
    f"javascript:{RUN}",
    "<!-- next -->.jpg",
    '<article id="a.jpg">.jpg',
    "\u202egpj.exe",
    os.fsdecode(b"caf\xe9\n.jpg"),
)


def thumbnail() -> bytes:
    buffer = io.BytesIO()
    picture(size=(8, 6)).save(buffer, "JPEG")
    return buffer.getvalue()


def make_annotation(path, labels=("sea",), tags=(), unknown=()):
    probabilities = {"sea": 0.91, "sky": 0.5, "dog": 0.25, "cat": 0.2, "bus": 0.1} | dict.fromkeys(
        labels, 0.9
    )
    return Annotated(str(path), labels, probabilities, 1.26, tags, unknown, (), thumbnail())


def write_gallery(folder, paths, overwrite=False, **more):
    with Gallery(str(folder), "A model", overwrite) as output:
        for path in paths:
            if not output.find_annotator(str(path)):
                output.write(make_annotation(path, **more))


class Page(html.parser.HTMLParser):
    """The elements of a page with their attributes, and its text."""

    def __init__(self, path):
        super().__init__()
        self.elements, self.text = [], ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data

    def all(self, tag, attribute):
        return [attributes.get(attribute) for name, attributes in self.elements if name == tag]


def test_a_page_shows_labels_probabilities_and_runners_up(tmp_path):
    write_gallery(tmp_path / "g", ["photos/a b.jpg"], labels=("sky", "sea"), tags=["beach"], unknown=["Rex"])
    page = Page(tmp_path / "g" / "page-0001.html")
    assert [re.sub(r"\s", "", t) for t in page.all("rect", "width")] == [
        "90.0",
        "90.0",
        "25.0",
        "20.0",
        "10.0",
    ]
    for text in ("a b.jpg", "sky90%sea90%dog25%", "quantity predicted: 1.3", "tags: beach", "model: Rex"):
        assert text in page.text
    link = page.all("a", "href")[1]
    assert link == urllib.parse.quote("./" + os.path.relpath("photos/a b.jpg", tmp_path / "g"))


def test_pages_are_linked_and_a_second_run_adds_pages(tmp_path, monkeypatch):
    monkeypatch.setattr(gallery, "PHOTOS_A_PAGE", 2)
    write_gallery(tmp_path / "g", ["1.jpg", "2.jpg", "3.jpg"])
    assert sorted(os.listdir(tmp_path / "g")) == ["index.html", "page-0001.html", "page-0002.html"]
    write_gallery(tmp_path / "g", ["1.jpg", "2.jpg", "3.jpg", "4.jpg", "5.jpg"])
    pages = [Page(tmp_path / "g" / f"page-000{n}.html") for n in (1, 2, 3)]
    assert [page.all("article", "id") for page in pages] == [
        ["1.jpg", "2.jpg"],
        ["3.jpg"],
        ["4.jpg", "5.jpg"],
    ]
    links = [{h for h in page.all("a", "href") if h.endswith("html")} for page in pages]
    assert links == [
        {"index.html", "page-0002.html"},
        {"index.html", "page-0001.html", "page-0003.html"},
        {"index.html", "page-0002.html"},
    ]
    index = Page(tmp_path / "g" / "index.html")
    assert index.all("a", "href") == ["page-0001.html", "page-0002.html", "page-0003.html"]
    assert "5 photographs" in index.text


def test_pages_name_their_model_and_the_index_names_all_models(tmp_path):
    for name, model in (("1.jpg", "model <1>"), ("2.jpg", "model 2")):
        with Gallery(str(tmp_path / "g"), model, False) as output:
            output.write(make_annotation(name))
    output = Gallery(str(tmp_path / "g"), "model 3", False)
    assert [output.find_annotator(f"{n}.jpg") for n in (1, 2, 3)] == ["model <1>", "model 2", None]
    headings = {
        "page-0001": "model <1>, page 1",
        "page-0002": "model 2, page 2",
        "index": "model <1> and model 2",
    }
    for name, by in headings.items():
        assert f"Annotated by {by}\n" in Page(tmp_path / "g" / f"{name}.html").text


def test_a_killed_run_repeats_only_the_unfinished_page(tmp_path, monkeypatch):
    monkeypatch.setattr(gallery, "PHOTOS_A_PAGE", 2)
    with pytest.raises(KeyboardInterrupt), Gallery(str(tmp_path / "g"), "A model", False) as output:
        for name in ("1.jpg", "2.jpg", "3.jpg"):
            output.write(make_annotation(name))
        raise KeyboardInterrupt
    assert os.listdir(tmp_path / "g") == ["page-0001.html"]
    (tmp_path / "g" / "partial-page-0002.html").write_text("<!doc")
    output = Gallery(str(tmp_path / "g"), "A model", False)
    assert [output.find_annotator(f"{n}.jpg") for n in (1, 2, 3)] == ["A model", "A model", None]
    write_gallery(tmp_path / "g", ["1.jpg", "2.jpg", "3.jpg"])
    assert sorted(os.listdir(tmp_path / "g")) == ["index.html", "page-0001.html", "page-0002.html"]


def test_overwrite_removes_old_pages(tmp_path, monkeypatch):
    monkeypatch.setattr(gallery, "PHOTOS_A_PAGE", 1)
    write_gallery(tmp_path / "g", ["1.jpg", "2.jpg"])
    write_gallery(tmp_path / "g", ["3.jpg"], overwrite=True)
    assert sorted(os.listdir(tmp_path / "g")) == ["index.html", "page-0001.html"]
    assert Page(tmp_path / "g" / "page-0001.html").all("article", "id") == ["3.jpg"]


@pytest.mark.parametrize("before", [[], ["1.jpg"]])
def test_pages_that_another_run_writes_meanwhile_are_not_lost(tmp_path, before):
    if before:
        write_gallery(tmp_path / "g", before)
    late = Gallery(str(tmp_path / "g"), "A model", False)
    with Gallery(str(tmp_path / "g"), "A model", False) as output:
        output.write(make_annotation("2.jpg"))
        with pytest.raises(UserError, match="another process writes the gallery"), late:
            pass
    with late as output:
        assert output.find_annotator("2.jpg") == "A model"
        output.write(make_annotation("3.jpg"))
    pages = sorted((tmp_path / "g").glob("page-*"))
    shown = [*before, "2.jpg", "3.jpg"]
    assert [name for page in pages for name in Page(page).all("article", "id")] == shown
    assert f"{len(shown)} photographs" in Page(tmp_path / "g" / "index.html").text


@pytest.mark.parametrize("name", ["notes.txt", "index.html", "page-0001.html"])
def test_a_folder_with_foreign_files_is_not_written_to(tmp_path, name):
    (tmp_path / "g").mkdir()
    (tmp_path / "g" / name).write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(UserError, match="name another --output"):
            Gallery(str(tmp_path / "g"), "A model", overwrite)
    assert (tmp_path / "g" / name).read_text() == "mine"


@pytest.mark.parametrize("name", ["a.jpg", "a.jpg/g", "a.jpg/g/h"])
def test_a_gallery_in_place_of_a_file_is_refused(tmp_path, name):
    (tmp_path / "a.jpg").write_bytes(b"mine")
    with pytest.raises(UserError, match="name another --output"):
        write_gallery(tmp_path / name, ["1.jpg"])
    assert os.listdir(tmp_path) == ["a.jpg"] and (tmp_path / "a.jpg").read_bytes() == b"mine"


def hostile_gallery(folder):
    write_gallery(folder, HOSTILE, labels=HOSTILE[:2], tags=HOSTILE, unknown=HOSTILE)
    return folder / "page-0001.html"


def test_hostile_text_is_escaped(tmp_path):
    path = hostile_gallery(tmp_path / "g")
    page = Page(path)
    allowed = {"html", "head", "meta", "title", "style", "body", "h1", "nav", "a", "main", "article", "img",
               "div", "h2", "table", "tr", "td", "svg", "rect", "small"}  # fmt: skip
    assert {tag for tag, _ in page.elements} <= allowed
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert all(h.startswith("./") or h == "index.html" for h in page.all("a", "href"))
    assert all(src.startswith("data:image/jpeg;base64,") for src in page.all("img", "src"))
    for name in HOSTILE[:4]:
        assert page.text.count(os.path.basename(name)) >= len(HOSTILE)
    assert len(page.all("article", "id")) == len(HOSTILE)
    output = Gallery(str(tmp_path / "g"), "A model", False)
    assert all(output.find_annotator(name) for name in HOSTILE)


@pytest.mark.skipif(not shutil.which("chromium"), reason="chromium is not installed")
def test_no_script_runs_in_a_real_browser(tmp_path):
    def title(path):
        command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom",
                   f"--user-data-dir={tmp_path / 'profile'}", path.as_uri()]  # fmt: skip
        result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        return re.search("<title>(.*?)</title>", result.stdout)[1]

    path = hostile_gallery(tmp_path / "g")
    assert title(path) == "Annotated by A model, page 1"
    # Control: unescaped names run a script without the content policy, and none with it.
    text = path.read_text(encoding="utf-8")
    unescaped = text.replace("</main>", f"{HOSTILE[0]}<script>{RUN}</script></main>")
    path.write_text(re.sub(r"<meta http-equiv=.*\n", "", unescaped), encoding="utf-8")
    assert title(path) == "RAN"
    path.write_text(unescaped, encoding="utf-8")
    assert title(path) == "Annotated by A model, page 1"
