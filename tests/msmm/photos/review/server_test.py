"""The server of a review, as a program that talks HTTP meets it."""

import http.client
import io
import json
import threading

import pytest
from PIL import Image

from msmm.photos.review import server
from msmm.photos.review.thumbnails import Thumbnails
from tests.msmm.conftest import picture
from tests.msmm.photos.review.conftest import digests


class Client:
    """Sends requests to a server; the right host, token and kind of content are the defaults."""

    def __init__(self, served):
        self.served, self.port = served, served.server_address[1]

    def send(self, method, path, content=None, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        given = {"Host": f"127.0.0.1:{self.port}", "X-Token": self.served.token}
        given |= {"Content-Type": "application/json"} if method == "POST" else {}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        body = content if isinstance(content, bytes) or content is None else json.dumps(content)
        connection.request(method, path, body, {k: v for k, v in given.items() if v is not None})
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        return answer.status, dict(answer.getheaders()), data

    def get(self, path, **headers):
        status, _, data = self.send("GET", path, **headers)
        return status, json.loads(data)

    def post(self, path, content, **headers):
        status, _, data = self.send("POST", path, content, **headers)
        return status, json.loads(data)


@pytest.fixture
def client(session):
    served = server.ReviewServer(session, 0)
    thread = threading.Thread(target=served.serve_forever)
    thread.start()
    yield Client(served)
    served.shutdown()
    thread.join()
    served.server_close()


def test_the_page_needs_the_token_and_the_address(client):
    token, port = client.served.token, client.port
    assert client.served.address == f"http://127.0.0.1:{port}/?token={token}"
    status, headers, body = client.send("GET", f"/?token={token}", X_Token=None)
    assert status == 200 and b"<!doctype html>" in body
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert headers["Cache-Control"] == "no-store" and headers["X-Content-Type-Options"] == "nosniff"
    for path in ("/review.js", "/grid.js", "/review.css"):
        assert client.send("GET", path, X_Token=None)[0] == 200
    refused = [
        ("/", {"X_Token": None}),
        ("/?token=wrong", {"X_Token": None}),
        (f"/?token={token}", {"Host": "evil.example"}),
        (f"/?token={token}", {"Host": f"evil.example:{port}"}),
        ("/api/folder", {"X_Token": "é".encode("latin-1").decode("latin-1")}),
        ("/api/folder", {"Origin": "http://evil.example"}),
        ("/review.js", {"Host": "evil.example"}),
        ("/photo?index=0&size=small", {"X_Token": None}),
    ]
    for path, headers in refused:
        assert client.send("GET", path, **headers)[0] == 403, path


def test_actions_of_other_pages_are_refused(client, folder):
    content = {"index": 0, "keywords": ["x"], "rejected": []}
    before = sorted(folder.rglob("*"))
    token = client.served.token
    for path, headers, status in [
        ("/api/decide", {"X_Token": None}, 403),
        (f"/api/decide?token={token}", {"X_Token": None}, 403),  # which a form could send
        ("/api/decide", {"Origin": "http://evil.example"}, 403),
        ("/api/decide", {"Host": f"localhost.evil.example:{client.port}"}, 403),
        ("/api/decide", {"Content_Type": "text/plain"}, 404),
        ("/api/delete", {}, 404),
    ]:
        assert client.send("POST", path, content, **headers)[0] == status, (path, headers)
    assert sorted(folder.rglob("*")) == before
    assert client.post("/api/decide", content, Origin=f"http://localhost:{client.port}")[0] == 200


@pytest.mark.parametrize(
    "content",
    [
        b"no JSON", [], {}, {"index": 99, "keywords": [], "rejected": []},
        {"index": -1, "keywords": [], "rejected": []},
        {"index": 0, "keywords": "x", "rejected": []}, {"index": 0, "keywords": [1], "rejected": []},
        {"index": "zero", "keywords": [], "rejected": []},
        {"index": True, "keywords": [], "rejected": []}, {"index": None, "keywords": [], "rejected": []},
    ],
)  # fmt: skip
def test_malformed_actions_are_refused_and_change_nothing(client, folder, content):
    before = digests(folder), sorted(folder.rglob("*"))
    assert client.post("/api/decide", content)[0] == 400
    assert (digests(folder), sorted(folder.rglob("*"))) == before


def test_limits_of_requests(client):
    # The length alone decides: nothing of the body is read.
    too_long = str(server.MAX_BODY + 1)
    assert client.send("POST", "/api/decide", b"x", Content_Length=too_long)[0] == 413
    assert client.send("POST", "/api/decide", b"x", Content_Length="-1")[0] == 413
    status, answer = client.post("/api/decide", {"index": 0, "keywords": ["x" * 1000], "rejected": []})
    assert status == 409 and "at most 200 characters" in answer["error"]
    many = [f"keyword {number}" for number in range(1000)]
    assert client.post("/api/decide", {"index": 0, "keywords": many, "rejected": []})[0] == 409


def test_only_photographs_of_the_folder_are_served(client, folder, tmp_path):
    (tmp_path / "secret.txt").write_text("secret")
    for path in (
        "/photo?index=99&size=small",
        "/photo?index=-1&size=small",
        "/photo?index=../../secret.txt&size=small",
        "/photo",
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/msmm_review.jsonl",
        "/static/review.js",
    ):
        status, _, body = client.send("GET", path)
        assert status == 404 and b"secret" not in body.replace(b"secret.txt", b""), path
    token = client.served.token
    status, headers, body = client.send("GET", f"/photo?index=0&size=large&token={token}", X_Token=None)
    assert status == 200 and headers["Content-Type"] == "image/jpeg"
    assert Image.open(io.BytesIO(body)).size == (60, 40)
    broken = client.served.session.names.index("broken.jpg")
    assert client.send("GET", f"/photo?index={broken}&size=small")[0] == 404


def test_a_review_by_the_api(client, folder):
    status, start = client.get("/api/folder")
    assert status == 200 and start["photos"] == 6 and start["progress"]["ready"] == 6
    index = client.served.session.names.index("a/red.jpg")
    photo = client.get(f"/api/photo?index={index}")[1]
    assert photo["keywords"] == [{"label": "red", "probability": 1.0, "source": "proposed", "on": True}]
    content = {"index": index, "keywords": ["red", "car"], "rejected": []}
    status, answer = client.post("/api/decide", content)
    assert status == 200 and answer["progress"]["complete"] == 1 and answer["warnings"] == []
    assert (folder / "a/red.jpg.xmp").exists()
    grid = client.get("/api/grid?label=red&order=surest&shown=proposed&start=0&count=1")[1]
    assert grid["total"] == 2 and len(grid["items"]) == 1
    assert client.get("/api/grid?label=red&order=best&shown=proposed&start=0&count=1")[0] == 400
    indices = [item["index"] for item in grid["items"]]
    assert client.post("/api/label", {"label": "red", "accept": True, "indices": indices})[0] == 200
    assert client.post("/api/label", {"label": " ", "accept": True, "indices": indices})[0] == 400
    assert (
        client.get("/api/labels")[1][0]["label"] == "red" and client.get("/api/order?order=unsure")[0] == 200
    )
    for expected in (indices[0], index):
        status, answer = client.post("/api/undo", {})
        assert status == 200 and answer["index"] == expected
    assert client.post("/api/undo", {})[0] == 409 and not (folder / "a/red.jpg.xmp").exists()


def test_a_full_disk_is_reported_and_nothing_is_acknowledged(client, folder, monkeypatch):
    import errno

    from msmm.photos.review import decisions

    def fail(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(decisions.os, "fsync", fail)
        status, answer = client.post("/api/decide", {"index": 0, "keywords": ["x"], "rejected": []})
    assert status == 507 and answer["error"] == "not saved: No space left on device"
    assert client.get("/api/progress")[1]["complete"] == 0 and not list(folder.rglob("*blue.png.xmp"))


def test_a_failure_of_the_server_is_shown_and_printed(client, monkeypatch, capfd):
    from msmm.photos.review import views

    monkeypatch.setattr(views, "order_photos", lambda *_: 1 / 0)
    status, answer = client.get("/api/order?order=unsure")
    assert status == 500 and answer["error"] == "ZeroDivisionError: division by zero"
    assert "Traceback" in capfd.readouterr().err and client.get("/api/progress")[0] == 200


def test_thumbnails_are_small_upright_and_bounded_in_memory(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned to the right by 90 degrees
    path = tmp_path / "a.jpg"
    picture(size=(2000, 500)).save(path, exif=exif)
    thumbnails = Thumbnails(max_bytes=20_000)
    jpeg = thumbnails.make(str(path), "small")
    assert Image.open(io.BytesIO(jpeg)).size == (90, 360)
    path.unlink()
    assert thumbnails.make(str(path), "small") == jpeg  # from memory
    for number in range(30):
        noise = tmp_path / f"{number}.png"
        Image.effect_noise((80, 80), 90).convert("RGB").save(noise)
        thumbnails.make(str(noise), "small")
    assert 0 < thumbnails._bytes == sum(map(len, thumbnails._kept.values())) <= 20_000
