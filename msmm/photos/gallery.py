"""Writes a folder of HTML pages: each photograph small, its labels with their probabilities, its tags.

A page has up to 100 photographs with the pixels in it, so pages can be moved, mailed and read without an
internet connection. 100,000 photographs are 1,000 files of about a megabyte. Only links to the originals lead
out. Names, tags and labels come from anywhere: they are escaped here, and no page may run a script or load
anything (its Content-Security-Policy).
"""

import base64
import contextlib
import hashlib
import html
import os
import pathlib
import re
import urllib.parse

from msmm.core.errors import UserError
from msmm.core.files import PARTIAL, lock, make_folder, stamp, write_bytes
from msmm.photos.annotation_lines import Annotated, escape_unprintable

PHOTOS_A_PAGE = 100
RUNNERS_UP = 3  # labels that were not chosen, shown as well
MARK = "<!doctype html><!-- an msmm gallery -->"  # what a page begins with
NEXT = "<!-- next -->"  # the place of the link to the next page
_NAME = re.compile(r"page-(\d{4,})\.html")
_TITLE = re.compile(r"<title>Annotated by (.*?)(?:, page \d+)?</title>")
_PATH = re.compile(r'<article id="([^"]*)">')

STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1c1e21; --soft: #666c75; --line: #d9dce1;
  --card: #f5f6f8; --bar: #2f6fb5; --pale: #b9bfc8; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #16181c; --ink: #e4e6ea; --soft: #9aa1ab; --line: #363b43; --card: #1e2126;
    --bar: #6aa5e8; --pale: #565d68; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 90rem; background: var(--paper); color: var(--ink);
  font: 15px/1.45 system-ui, sans-serif; }
h1 { font-size: 1.35rem; line-height: 1.25; margin: .2rem 0; overflow-wrap: anywhere; }
p { margin: .2rem 0 .8rem; }
nav { display: flex; gap: 1.2rem; margin: .8rem 0; }
a { color: inherit; }
main { display: grid; gap: .8rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 16rem), 1fr)); }
article { background: var(--card); border: 1px solid var(--line); border-radius: 6px; overflow: hidden; }
.picture { display: block; height: 12rem; background: var(--line); }
.picture img { width: 100%; height: 100%; object-fit: contain; display: block; }
.text { padding: .5rem .7rem .7rem; }
h2 { font-size: .85rem; font-weight: 600; margin: 0 0 .4rem; overflow-wrap: anywhere; }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
td { padding: .08rem 0; overflow-wrap: anywhere; }
td:nth-child(2) { width: 35%; padding: 0 .5rem; }
td:nth-child(3) { width: 3rem; text-align: right; white-space: nowrap; }
svg { display: block; width: 100%; height: .5rem; fill: var(--bar); background: var(--line);
  border-radius: 2px; }
.not td { color: var(--soft); font-size: .85rem; }
.not svg { fill: var(--pale); }
small, li { color: var(--soft); font-size: .82rem; overflow-wrap: anywhere; }
small { display: block; margin-top: .4rem; }
ul { padding-left: 1.1rem; }
"""
_POLICY = (
    "default-src 'none'; img-src data:; form-action 'none'; base-uri 'none'; style-src 'sha256-"
    + base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    + "'"
)


class Gallery:
    """The output --format=html: pages in a folder, each whole or not at all."""

    def __init__(self, folder: str, model: str, overwrite: bool):
        self._folder, self._model, self._overwrite = (
            pathlib.Path(folder),
            escape_unprintable(model),
            overwrite,
        )
        if self._folder.exists() and not self._folder.is_dir():
            raise UserError(f"{folder} exists and is not a folder: name another --output")
        strange = [p.name for p in self._folder.glob("*") if not _is_ours(p)] if self._folder.exists() else []
        if strange:
            raise UserError(
                f"{folder} holds other files than a gallery's ({escape_unprintable(strange[0])}): name "
                "another --output"
            )
        self._waiting: list[Annotated] = []
        self._read_pages()

    def _read_pages(self) -> None:
        """Reads which photographs the pages show, by which model. With overwrite there is nothing to keep."""
        self._pages: list[tuple[int, int, str, str, str]] = []  # number, photographs, first and last, model
        self._done: dict[int, str] = {}  # a path's hash -> the model
        self._stamps = self._stamp_pages()
        for path in [] if self._overwrite else self._page_files():
            text = _read(path)
            paths, title = [_read_path(m) for m in _PATH.findall(text)], _TITLE.search(text)
            if not paths or not title:
                raise UserError(
                    f"{path} is damaged, it has no photographs or no title: make it again with --overwrite"
                )
            model = html.unescape(title[1])
            self._done.update(dict.fromkeys(map(hash, paths), model))
            number = int(_NAME.sub(r"\1", path.name))
            self._pages.append((number, len(paths), paths[0], paths[-1], model))

    def __enter__(self) -> "Gallery":
        make_folder(self._folder, "name another --output")
        with contextlib.ExitStack() as closing:
            self._locked = os.open(self._folder, os.O_RDONLY)
            closing.callback(os.close, self._locked)
            if lock(self._locked) is False:
                raise UserError(f"another process writes the gallery {self._folder}: wait for it")
            if self._stamps != self._stamp_pages():  # one that has ended meanwhile
                self._read_pages()
            for path in [*self._page_files(), *self._folder.glob("index.html")] if self._overwrite else []:
                path.unlink()
            closing.pop_all()
        return self

    def __exit__(self, failed, *_) -> None:
        if not failed:
            if self._waiting:
                self._write_page()
            models = dict.fromkeys(model for *_, model in self._pages)
            self._write("index.html", self._index(), " and ".join(models or [self._model]))
        os.close(self._locked)

    def find_annotator(self, path: str) -> str | None:
        """Returns the model that annotated a photograph which a page shows already, or None."""
        return self._done.get(hash(path))

    def write(self, photo: Annotated) -> None:
        """Adds a photograph to the page."""
        self._waiting.append(photo)
        if len(self._waiting) == PHOTOS_A_PAGE:
            self._write_page()

    def _page_files(self) -> list[pathlib.Path]:
        return sorted(self._folder.glob("page-*.html"), key=lambda path: (len(path.name), path.name))

    def _stamp_pages(self) -> dict[str, object]:
        return {path.name: stamp(path) for path in self._page_files()}

    def _write_page(self) -> None:
        photos, self._waiting = self._waiting, []
        before = self._pages[-1][0] if self._pages else 0
        number = before + 1
        links = ['<a href="index.html">all pages</a>']
        if before:
            links.append(f'<a href="{_page(before)}">← page {before}</a>')
        nav = f"<nav>{''.join(links)}{NEXT}</nav>"
        cards = "\n".join(self._card(photo) for photo in photos)
        if before:  # first, so that after a kill no page is left without its link
            path = self._folder / _page(before)
            link = f'<a href="{_page(number)}">page {number} →</a>'
            _replace(path, _read(path).replace(NEXT, link))
        self._write(_page(number), f"{nav}\n<main>\n{cards}\n</main>\n{nav}", f"{self._model}, page {number}")
        self._pages.append((number, len(photos), photos[0].path, photos[-1].path, self._model))

    def _card(self, photo: Annotated) -> str:
        chosen = set(photo.labels)
        others = [name for name in photo.probabilities if name not in chosen][:RUNNERS_UP]
        rows = [_row(name, photo.probabilities[name], name in chosen) for name in (*photo.labels, *others)]
        notes = [f"quantity predicted: {photo.quantity:.1f}"]
        if photo.tags:
            notes.append(f"tags: {', '.join(photo.tags)}")
        if photo.unknown:
            notes.append(f"not known to the model: {', '.join(photo.unknown)}")
        name = _text(os.path.basename(photo.path))
        picture = base64.b64encode(photo.thumbnail).decode()
        link = urllib.parse.quote(os.fsencode(os.path.relpath(photo.path, self._folder)))
        return (
            f'<article id="{urllib.parse.quote(os.fsencode(photo.path))}">'
            f'<a class="picture" href="./{link}" rel="noreferrer">'
            f'<img src="data:image/jpeg;base64,{picture}" alt="" loading="lazy"></a>\n'
            f'<div class="text"><h2 title="{_text(photo.path)}">{name}</h2>\n'
            f"<table>{''.join(rows)}</table>\n"
            f"{''.join(f'<small>{_text(note)}</small>' for note in notes)}</div></article>"
        )

    def _index(self) -> str:
        total = sum(count for _, count, *_ in self._pages)
        lines = [
            f'<li><a href="{_page(number)}">page {number}</a>: {count} photographs, '
            f"{_text(first)} … {_text(last)}</li>"
            for number, count, first, last, _ in self._pages
        ]
        return f"<p>{total:,} photographs</p>\n<ul>\n{chr(10).join(lines)}\n</ul>"

    def _write(self, name: str, body: str, by: str) -> None:
        title = _text(f"Annotated by {by}")
        _replace(
            self._folder / name,
            f"{MARK}\n"
            '<html lang="en"><head><meta charset="utf-8">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{title}</title>\n<style>{STYLE}</style></head>\n"
            f"<body><h1>{title}</h1>\n{body}\n</body></html>\n",
        )


def _row(name: str, probability: float, chosen: bool) -> str:
    percent = 100 * probability
    return (
        f"<tr{'' if chosen else ' class=not'}><td>{_text(name)}</td>"
        f'<td><svg viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect width="{percent:.1f}" height="1"/></svg></td><td>{percent:.0f}%</td></tr>'
    )


def _text(text: str) -> str:
    return html.escape(escape_unprintable(text))


def _page(number: int) -> str:
    return f"page-{number:04d}.html"


def _read(page: pathlib.Path) -> str:
    try:
        return page.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{page} is damaged ({error.reason}): make it again with --overwrite") from None


def _read_path(quoted: str) -> str:
    return os.fsdecode(urllib.parse.unquote_to_bytes(quoted))


def _replace(path: pathlib.Path, text: str) -> None:
    write_bytes(path, text.encode())


def _is_ours(path: pathlib.Path) -> bool:
    name = path.name.removeprefix(PARTIAL)
    if not (_NAME.fullmatch(name) or name == "index.html") or not path.is_file():
        return False
    with open(path, encoding="utf-8", errors="replace") as file:
        return path.name.startswith(PARTIAL) or file.read(len(MARK)) == MARK
