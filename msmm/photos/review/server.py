"""Serves the review page to this machine, by the standard library: nothing else is needed, and Gradio's
widgets have no keys, grids or bounded downloads of a folder's files.

Every request names the host under which this server listens, which stops DNS rebinding. It also has the token
of the address, which stops other pages and other users of the machine. Photographs are named by their number,
so that no path can be asked for.
"""

import hmac
import http.server
import json
import pathlib
import secrets
import traceback
import urllib.parse
from collections.abc import Callable, Iterable
from typing import Any

from msmm.core import images
from msmm.photos.review import views
from msmm.photos.review.session import Refused, Session
from msmm.photos.review.thumbnails import SIZES, Thumbnails

STATIC = pathlib.Path(__file__).parent / "static"
FILES = {
    "/": ("review.html", "text/html; charset=utf-8"),
    "/review.css": ("review.css", "text/css; charset=utf-8"),
    "/review.js": ("review.js", "text/javascript; charset=utf-8"),
    "/grid.js": ("grid.js", "text/javascript; charset=utf-8"),
}
MAX_BODY = 1 << 20  # bytes
MAX_PAGE = 200  # photographs of a grid
POLICY = (
    "default-src 'none'; img-src 'self'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class BadRequest(Exception):
    """Raised for a request that the page does not send."""


class ReviewServer(http.server.ThreadingHTTPServer):
    """The server of a session, on this machine only.

    Args:
      session: the review.
      port: to listen on; 0 for any that is free.

    Attributes:
      address: where the page is, with the token.

    Raises:
      OSError: the port is taken.
    """

    daemon_threads = True

    def __init__(self, session: Session, port: int):
        super().__init__(("127.0.0.1", port), _Handler)
        self.session, self.thumbnails, self.token = session, Thumbnails(), secrets.token_urlsafe(18)
        number = self.server_address[1]
        self.hosts = {f"127.0.0.1:{number}", f"localhost:{number}"}
        self.address = f"http://127.0.0.1:{number}/?token={self.token}"

    def handle_error(self, request, client_address) -> None:
        """Passes over clients that have gone."""


class _Handler(http.server.BaseHTTPRequestHandler):
    server: ReviewServer
    protocol_version = "HTTP/1.1"
    timeout = 60  # seconds that an idle connection is kept

    def do_GET(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        if not self._is_allowed(query.get("token", ""), url.path):
            return
        if url.path in FILES:
            name, kind = FILES[url.path]
            self._send(200, (STATIC / name).read_bytes(), kind)
        elif url.path == "/photo":
            self._send_photo(query)
        elif url.path in _READ:
            self._answer(lambda: _READ[url.path](self.server.session, query))
        else:
            self._refuse(404, "there is no such page")

    def do_POST(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        if not self._is_allowed("", url.path):
            return
        size = self.headers.get("Content-Length", "")
        if not size.isdecimal() or int(size) > MAX_BODY:
            self._refuse(413, f"expected a request of at most {MAX_BODY:,} bytes")
        elif self.headers.get_content_type() != "application/json" or url.path not in _WRITE:
            self._refuse(404, "there is no such action")
        else:
            try:
                content = json.loads(self.rfile.read(int(size)))
            except ValueError:
                self._refuse(400, "expected JSON")
                return
            self._answer(lambda: _WRITE[url.path](self.server.session, content))

    def _is_allowed(self, token: str, path: str) -> bool:
        """Returns whether a request comes from the page, and answers it otherwise.

        The scripts and styles, which everyone has, need no token. The others have it in a header, or, where
        a browser sends none, in the address.
        """
        if self.headers.get("Host", "") not in self.server.hosts:
            self._refuse(403, "expected the address that the terminal shows")
            return False
        origin = self.headers.get("Origin")
        given = self.headers.get("X-Token", token)
        right = hmac.compare_digest(given.encode(), self.server.token.encode())
        from_here = origin is None or origin.removeprefix("http://") in self.server.hosts
        if from_here and (right or (path in FILES and path != "/")):
            return True
        self._refuse(403, "the review was restarted: open the address that the terminal shows")
        return False

    def _answer(self, action: Callable[[], Any]) -> None:
        try:
            content = action()
        except Refused as error:
            self._refuse(409, str(error))
        except BadRequest:
            self._refuse(400, "a request that this server does not understand")
        except OSError as error:
            self._refuse(507, f"not saved: {error.strerror or error}")
        except Exception as error:
            traceback.print_exc()  # on the terminal; the page must not wait for ever
            self._refuse(500, f"{type(error).__name__}: {error}")
        else:
            self._send(200, json.dumps(content).encode("ascii"), "application/json")

    def _send_photo(self, query: dict[str, str]) -> None:
        try:
            path = self.server.session.paths[_index(self.server.session, query)]
            jpeg = self.server.thumbnails.make(path, _choice(query, "size", SIZES))
        except images.BrokenImage as error:
            self._refuse(404, str(error))
        except BadRequest:
            self._refuse(404, "there is no such photograph")
        else:
            self._send(200, jpeg, "image/jpeg", "private, max-age=600")

    def _refuse(self, status: int, message: str) -> None:
        self.close_connection = True  # what else the request holds is not read
        self._send(status, json.dumps({"error": message}).encode("ascii"), "application/json")

    def _send(self, status: int, body: bytes, kind: str, caching: str = "no-store") -> None:
        self.send_response(status)
        headers = {
            "Content-Type": kind,
            "Content-Length": str(len(body)),
            "Cache-Control": caching,
            **HEADERS,
        }
        for name, value in headers.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def version_string(self) -> str:
        """Returns the name of the server in answers."""
        return "msmm"

    def log_message(self, *_) -> None:
        """Keeps requests off the terminal."""


def _field(content: Any, name: str, kind: type) -> Any:
    """Returns a field of a request. Raises BadRequest where it is missing or of another type."""
    value = content.get(name) if isinstance(content, dict) else None
    if type(value) is not kind:
        raise BadRequest
    return value


def _number(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 9:
        raise BadRequest
    return int(text)


def _choice(query: dict[str, str], name: str, choices: Iterable[str]) -> str:
    value = _field(query, name, str)
    if value not in choices:
        raise BadRequest
    return value


def _words(content: Any, name: str, kind: type = str) -> list:
    values = _field(content, name, list)
    if not all(type(value) is kind for value in values):
        raise BadRequest
    return values


def _check_index(session: Session, index: int) -> int:
    if not 0 <= index < len(session.paths):
        raise BadRequest
    return index


def _index(session: Session, query: dict[str, str]) -> int:
    return _check_index(session, _number(_field(query, "index", str)))


def _read_grid(session: Session, query: dict[str, str]) -> dict[str, Any]:
    order, shown = _choice(query, "order", views.ORDERS), _choice(query, "shown", views.SHOWN)
    start, count = (_number(_field(query, name, str)) for name in ("start", "count"))
    return views.show_grid(session, _field(query, "label", str), order, shown, start, min(count, MAX_PAGE))


def _decide(session: Session, content: Any) -> dict[str, Any]:
    index = _check_index(session, _field(content, "index", int))
    warnings = session.decide(index, _words(content, "keywords"), _words(content, "rejected"))
    return {"warnings": warnings, "next": session.find_start(), "progress": views.show_progress(session)}


def _decide_label(session: Session, content: Any) -> dict[str, Any]:
    indices = [_check_index(session, number) for number in _words(content, "indices", int)]
    label, accept = _field(content, "label", str), _field(content, "accept", bool)
    if not label.strip():
        raise BadRequest
    warnings = session.decide_label(label, accept, indices)
    return {"warnings": warnings, "progress": views.show_progress(session)}


def _undo(session: Session, content: Any) -> dict[str, Any]:
    index, warnings = session.undo()
    return {"index": index, "warnings": warnings, "progress": views.show_progress(session)}


_READ: dict[str, Callable[[Session, dict[str, str]], Any]] = {
    "/api/folder": lambda session, query: views.show_folder(session),
    "/api/progress": lambda session, query: views.show_progress(session),
    "/api/photo": lambda session, query: views.show_photo(session, _index(session, query)),
    "/api/order": lambda session, query: views.order_photos(session, _choice(query, "order", views.ORDERS)),
    "/api/labels": lambda session, query: views.list_labels(session),
    "/api/grid": _read_grid,
}
_WRITE: dict[str, Callable[[Session, Any], Any]] = {
    "/api/decide": _decide,
    "/api/label": _decide_label,
    "/api/undo": _undo,
}
