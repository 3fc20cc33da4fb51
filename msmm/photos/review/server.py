"""Serves the review page to this machine, by the standard library: nothing else is needed, and Gradio's
widgets have no keys, grids or bounded downloads of a folder's files.

Every request names the host under which this server listens (against DNS rebinding) and the token of its
address (against other pages and other users of the machine). Photographs are named by their number, so that
no path can be asked for.
"""

import hmac
import http.server
import json
import pathlib
import secrets
import urllib.parse
from collections.abc import Callable
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
        given = self.headers.get("X-Token", token if self.command == "GET" else "")
        right = hmac.compare_digest(given.encode(), self.server.token.encode())
        from_here = origin is None or origin.removeprefix("http://") in self.server.hosts
        if from_here and (right or (path in FILES and path != "/")):
            return True
        self._refuse(403, "the review has been started anew: open the address that the terminal shows")
        return False

    def _answer(self, action: Callable[[], Any]) -> None:
        try:
            content = action()
        except Refused as error:
            self._refuse(409, str(error))
        except (KeyError, ValueError, TypeError, IndexError, AttributeError):
            self._refuse(400, "a request that this server does not understand")
        except OSError as error:
            self._refuse(507, f"not saved: {error.strerror or error}")
        else:
            self._send(200, json.dumps(content).encode("ascii"), "application/json")

    def _send_photo(self, query: dict[str, str]) -> None:
        try:
            path = self.server.session.paths[_index(self.server.session, query["index"])]
            jpeg = self.server.thumbnails.make(path, query["size"] if query["size"] in SIZES else "small")
        except images.BrokenImage as error:
            self._refuse(404, str(error))
        except (KeyError, ValueError):
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


def _index(session: Session, number: str | int) -> int:
    index = int(number)
    if not 0 <= index < len(session.paths):
        raise ValueError
    return index


def _words(content: Any) -> list[str]:
    if not isinstance(content, list) or not all(isinstance(word, str) for word in content):
        raise ValueError
    return content


def _read_grid(session: Session, query: dict[str, str]) -> dict[str, Any]:
    start, count = max(0, int(query["start"])), min(MAX_PAGE, max(1, int(query["count"])))
    return views.show_grid(session, query["label"], query["order"], query["shown"], start, count)


def _decide(session: Session, content: dict[str, Any]) -> dict[str, Any]:
    index = _index(session, content["index"])
    warnings = session.decide(index, _words(content["keywords"]), _words(content["rejected"]))
    return {"warnings": warnings, "next": session.find_start(), "progress": views.show_progress(session)}


def _decide_label(session: Session, content: dict[str, Any]) -> dict[str, Any]:
    indices = [_index(session, number) for number in content["indices"]]
    label, accept = content["label"], content["accept"]
    if not isinstance(label, str) or not label.strip() or not isinstance(accept, bool):
        raise ValueError
    warnings = session.decide_label(label, accept, indices)
    return {"warnings": warnings, "progress": views.show_progress(session)}


def _undo(session: Session, content: dict[str, Any]) -> dict[str, Any]:
    index, warnings = session.undo()
    return {"index": index, "warnings": warnings, "progress": views.show_progress(session)}


_READ: dict[str, Callable[[Session, dict[str, str]], Any]] = {
    "/api/folder": lambda session, query: views.show_folder(session),
    "/api/progress": lambda session, query: views.show_progress(session),
    "/api/photo": lambda session, query: views.show_photo(session, _index(session, query["index"])),
    "/api/order": lambda session, query: views.order_photos(session, query["order"]),
    "/api/labels": lambda session, query: views.list_labels(session),
    "/api/grid": _read_grid,
}
_WRITE: dict[str, Callable[[Session, dict[str, Any]], Any]] = {
    "/api/decide": _decide,
    "/api/label": _decide_label,
    "/api/undo": _undo,
}
