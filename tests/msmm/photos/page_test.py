"""The page and its API, served over HTTP and driven by a real browser."""

import concurrent.futures
import dataclasses
import http.server
import json
import os
import pathlib
import socket
import struct
import threading
import zlib

import numpy as np
import pytest
from PIL import Image

from msmm.inference.model_dir import Model
from tests.msmm.conftest import bright_above
from tests.msmm.tying import SIZE

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # before it is imported
gradio = pytest.importorskip("gradio", reason="gradio is missing: pip install 'msmm[app-test]'")
HOSTILE = "<img src=x onerror=alert(1)>"
TEMPLATE = "${alert(2)} {{alert}}"
UPLOAD_MB = 1


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture(scope="module")
def model(tying_model) -> Model:
    """The tying model, with labels that look like HTML and a template."""
    labels = (HOSTILE, TEMPLATE, *tying_model.labels[2:])
    return Model(tying_model.network, labels, tying_model.tags, {"dataset": HOSTILE})


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """The path of a photograph, and tags for it."""
    path = tmp_path_factory.mktemp("examples") / "example.jpg"
    photograph().save(path)
    return str(path), "dog, x"


@pytest.fixture(scope="module")
def address(model, example, tmp_path_factory):
    """The address of the served page."""
    from msmm.photos import page

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
        built, port = page.build(model, [example]), free_port()
        page.launch(built, "127.0.0.1", port, UPLOAD_MB)
        yield f"http://127.0.0.1:{port}"
        built.close()


def photograph(size=(40, 30)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(3).integers(0, 256, (*size, 3), np.uint8))


def test_the_page_returns_the_annotation_of_the_model(model, example):
    from msmm.photos import page

    annotation = page.annotate_upload(model, example[0], " DOGS,x; Un heard\nx,  New   York,")
    pixels = np.asarray(Image.open(example[0]).convert("RGB"))
    expected = model.annotate([pixels], [["dog", "x", "new york"]])[0]
    # 3 tags of 1.5 each, rounded up.
    assert tuple(annotation["labels"]) == expected.labels and len(expected.labels) == 5
    assert annotation["quantity"] == pytest.approx(4.5) and annotation["rule"] == "regression"
    assert annotation["unknown_tags"] == ["Un heard"]
    by_class = [annotation["probabilities"][label] for label in model.labels]
    np.testing.assert_allclose(by_class, expected.probabilities, atol=1e-6)
    descending = list(annotation["probabilities"].values())
    assert descending == sorted(descending, reverse=True)
    assert annotation["top_3"] == list(annotation["probabilities"])[:3]
    json.dumps(annotation)


def test_page_uses_the_counting_rules_of_the_model(tying_model, example):
    from msmm.photos import page
    from msmm.quantities.fitting import fit_counting_rules
    from msmm.quantities.held_out_predictions import HeldOutPredictions

    rng = np.random.default_rng(0)
    held_out = HeldOutPredictions(
        rng.random((20, 10), np.float32), rng.uniform(1, 4, 20).astype(np.float32), rng.random((20, 10)) < 0.3
    )
    fitted = fit_counting_rules(held_out)
    model = Model(tying_model.network, tying_model.labels, tying_model.tags, {}, fitted)
    annotation = page.annotate_upload(model, example[0], "x, dog")
    assert annotation["rule"] == fitted.best != "regression"
    pixels = np.zeros((SIZE, SIZE, 3), np.uint8)  # this model ignores the pixels
    assert tuple(annotation["labels"]) == model.annotate([pixels], [["x", "dog"]])[0].labels
    assert f"by {fitted.best}." in page.format_html(annotation)
    pixels_alone = dataclasses.replace(fitted, best="expected_f1")
    model = Model(tying_model.network, tying_model.labels, tying_model.tags, {}, fitted, pixels_alone)
    assert page.annotate_upload(model, example[0], "unheard")["rule"] == "expected_f1"
    assert page.annotate_upload(model, example[0], "x")["rule"] == fitted.best


def test_page_applies_the_exif_orientation(model_directory, photo):
    from msmm.inference import model_dir
    from msmm.photos import page

    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned to the right by 90 degrees
    path = photo("turned.jpg", bright_above().rotate(90, expand=True), exif=exif)
    annotation = page.annotate_upload(model_dir.load(model_directory), str(path), "")
    assert annotation["labels"][0] == "bright above" and annotation["probabilities"]["bright above"] > 0.99


def test_hostile_labels_and_tags_are_escaped(model, example):
    from msmm.photos import page

    shown = page.format_html(page.annotate_upload(model, example[0], f"{HOSTILE},{TEMPLATE}"))
    assert "<img" not in shown
    assert shown.count("&lt;img") >= 2


def png(width: int, height: int) -> bytes:
    """Returns a PNG file whose header states a size, with little data."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(10**6))) + chunk(b"IEND", b"")


SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
REFUSED = [
    ("bomb.png", png(50_000, 50_000), "too many pixels: at most 210 million in a JPEG, 160 million else"),
    ("long.png", png(70_000, 10), "too many pixels: at most 210 million in a JPEG, 160 million else"),
    ("drawing.svg", SVG, ".svg is not read: export it as JPEG"),
    ("drawing.jpg", SVG, "not a photograph"),
    ("broken.jpg", b"\xff\xd8\xff" + bytes(100), "the file is damaged"),
    ("empty.jpg", b"", "empty file"),
]


@pytest.fixture(scope="module")
def client(address):
    from gradio_client import Client

    return Client(address, verbose=False)


def test_the_api_returns_the_same_as_the_page(client, model, example):
    from gradio_client import handle_file

    from msmm.photos import page

    annotation = client.predict(handle_file(example[0]), "dog, unheard", api_name="/annotate")
    assert annotation == page.annotate_upload(model, example[0], "dog, unheard")
    assert list(client.view_api(return_format="dict")["named_endpoints"]) == ["/annotate"]


@pytest.mark.parametrize(("name", "data", "message"), REFUSED, ids=[name for name, _, _ in REFUSED])
def test_uploads_that_are_not_photographs_are_refused_with_a_cause(client, tmp_path, name, data, message):
    from gradio_client import handle_file

    (tmp_path / name).write_bytes(data)
    with pytest.raises(Exception, match=message):
        client.predict(handle_file(tmp_path / name), "", api_name="/annotate")


def test_too_large_a_file_or_text_is_refused(client, address, example, tmp_path):
    import httpx
    from gradio_client import handle_file

    (tmp_path / "large.jpg").write_bytes(bytes(UPLOAD_MB * 2**20 + 1))
    with pytest.raises(Exception, match="maximum file size"):
        client.predict(handle_file(tmp_path / "large.jpg"), "", api_name="/annotate")
    with pytest.raises(Exception, match="at most 10,000 characters"):
        client.predict(handle_file(example[0]), "a," * 5001, api_name="/annotate")
    for path in ("upload", "call/annotate"):
        too_large = httpx.post(f"{address}/gradio_api/{path}", content=bytes((UPLOAD_MB + 1) * 2**20 + 1))
        assert too_large.status_code == 413
    in_chunks = (bytes(2**16) for _ in range(33))
    assert httpx.post(f"{address}/gradio_api/call/annotate", content=in_chunks).status_code == 413


def multipart(path) -> bytes:
    """Returns a form with a file, as a browser sends it."""
    head = f'Content-Disposition: form-data; name="files"; filename="{pathlib.Path(path).name}"'
    return f"--x\r\n{head}\r\n\r\n".encode() + pathlib.Path(path).read_bytes() + b"\r\n--x--\r\n"


def upload_in_chunks(address, path, size=1000):
    """Sends a form without its length, as curl and proxies do; returns the response."""
    import httpx

    form = multipart(path)
    chunks = (form[at : at + size] for at in range(0, len(form), size))
    headers = {"content-type": "multipart/form-data; boundary=x"}
    return httpx.post(f"{address}/gradio_api/upload", content=chunks, headers=headers)


def annotate_over_http(address, uploaded: str) -> dict:
    import httpx

    photo = {"path": uploaded, "meta": {"_type": "gradio.FileData"}}
    call = f"{address}/gradio_api/call/annotate"
    event = httpx.post(call, json={"data": [photo, "dog"]}).json()["event_id"]
    text = httpx.get(f"{call}/{event}", timeout=30).text
    assert text.startswith("event: complete"), text
    return json.loads(text.split("data: ", 1)[1].split("\n")[0])[0]


def test_an_upload_in_chunks_is_annotated(address, model, example):
    from msmm.photos import page

    answer = upload_in_chunks(address, example[0])
    assert answer.status_code == 200
    annotated = annotate_over_http(address, answer.json()[0])
    assert annotated == page.annotate_upload(model, example[0], "dog")


def test_an_upload_in_chunks_beyond_the_limit_leaves_no_file(address, tmp_path):
    folder = pathlib.Path(os.environ["GRADIO_TEMP_DIR"])
    before = sorted(folder.rglob("*"))
    (tmp_path / "large.jpg").write_bytes(bytes((UPLOAD_MB + 2) * 2**20))
    assert upload_in_chunks(address, tmp_path / "large.jpg", 2**16).status_code == 413
    assert sorted(folder.rglob("*")) == before


def test_an_endless_upload_is_cut_off_at_the_limit():
    import asyncio

    from msmm.photos import page

    received, sent = [], []

    async def reads_all(scope, receive, send):
        while (message := await receive())["type"] == "http.request":
            received.append(len(message["body"]))
        raise ConnectionError("the client has left")

    async def receive():
        if len(received) == 50:  # in case nothing stops the upload
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": bytes(100), "more_body": True}

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "headers": [(b"transfer-encoding", b"chunked")]}
    with concurrent.futures.ThreadPoolExecutor(1) as thread:  # a browser's event loop may run in this one
        thread.submit(asyncio.run, page.BodyLimit(reads_all, 1000)(scope, receive, send)).result()
    assert sum(received) == 1000 and sent[0]["status"] == 413


class Proxy(http.server.BaseHTTPRequestHandler):
    """Serves another server under the path /photos, as nginx does with `location /photos/`."""

    behind = ""

    def do_GET(self):
        import httpx

        if not self.path.startswith("/photos/"):
            self.send_error(404)
            return
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
        url = self.behind + self.path.removeprefix("/photos")
        answer = httpx.request(self.command, url, content=body, headers=headers, timeout=30)
        self.send_response(answer.status_code)
        self.send_header("content-type", answer.headers.get("content-type", "text/plain"))
        self.send_header("content-length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)

    do_POST = do_GET

    def log_message(self, *_):
        pass


def test_every_address_of_the_page_has_the_path_of_the_proxy(model, example):
    import re

    import httpx

    from msmm.photos import page

    built, port = page.build(model, [example]), free_port()
    page.launch(built, "127.0.0.1", port, UPLOAD_MB, root_path="/photos")
    Proxy.behind = f"http://127.0.0.1:{port}"
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    try:
        text = httpx.get(f"{address}/photos/").text
        assert json.loads(re.search(r"window.gradio_config = (\{.*?\});", text)[1])["root"].endswith(
            "/photos"
        )
        scripts = re.findall(r'(?:src|href)="(\.?/[^"]+\.(?:js|css))"', text)
        assert scripts
        for script in scripts[:5]:
            where = address + script if script.startswith("/") else f"{address}/photos/{script}"
            assert httpx.get(where).status_code == 200, script
        with open(example[0], "rb") as file:
            uploaded = httpx.post(f"{address}/photos/gradio_api/upload", files={"files": file}).json()[0]
        annotated = annotate_over_http(f"{address}/photos", uploaded)
        assert annotated == page.annotate_upload(model, example[0], "dog")
    finally:
        server.shutdown()
        built.close()


@pytest.fixture
def other_server():
    """Another server on this machine, and the paths requested from it."""
    requested = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            requested.append(self.path)
            self.send_error(404)

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/photo.jpg", requested
    server.shutdown()


@pytest.mark.parametrize("meta", [{"meta": {"_type": "gradio.FileData"}}, {}])
@pytest.mark.parametrize("stream", [{}, {"is_stream": True}])
def test_the_api_reads_no_files_and_addresses_of_the_server(address, example, other_server, meta, stream):
    import httpx

    url, requested = other_server
    for path in (example[0], f"{pathlib.Path(example[0]).parent}/../{example[0]}", url):
        photo = {"path": path, **meta, **stream}
        started = httpx.post(f"{address}/gradio_api/call/annotate", json={"data": [photo, ""]}).json()
        answer = httpx.get(f"{address}/gradio_api/call/annotate/{started['event_id']}", timeout=30).text
        assert answer.startswith("event: error") and "labels" not in answer
        assert path != url or meta == {} or stream or "Received: an address" in answer
    assert requested == []


@pytest.fixture
def tab(browser, address):
    """The page in a browser; checks that it requests no other server and runs no injected script."""
    tab, dialogs, other_requests = browser.new_page(viewport={"width": 1100, "height": 900}), [], []
    tab.set_default_timeout(30_000)
    tab.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    tab.on(
        "request",
        lambda r: None if r.url.startswith((address, "data:", "blob:")) else other_requests.append(r.url),
    )
    tab.goto(address)
    yield tab
    assert dialogs == [] and other_requests == []
    tab.close()


def test_a_photograph_is_annotated_in_the_browser(tab, model, tmp_path):
    path = tmp_path / "<img src=x onerror=alert(3)>.png"
    photograph().save(path)
    tab.set_input_files("input[type=file]", path)
    tab.get_by_label("Tags").fill(f"DOG, x, {HOSTILE}, {TEMPLATE}")
    tab.locator("[data-testid=image] img, .image-frame img").first.wait_for()
    tab.get_by_role("button", name="Annotate").click()
    tab.locator(".result .row").first.wait_for()
    expected = model.annotate([np.asarray(photograph())], [["dog", "x"]])[0]
    assert tab.locator(".result .labels b").all_inner_texts() == list(expected.labels)
    assert tab.inner_text(".result .quantity") == "Predicted quantity: 3.000. Kept: 3, by regression."
    order = np.argsort(-expected.probabilities, kind="stable")
    names = [model.labels[i] for i in order]
    assert tab.locator(".result .name").all_inner_texts() == names
    shown = [float(text.rstrip("%")) for text in tab.locator(".result .value").all_inner_texts()]
    np.testing.assert_allclose(shown, 100 * expected.probabilities[order], atol=0.06)
    assert tab.inner_text(".result .top") == f"A fixed top 3 would be: {', '.join(names[:3])}."
    assert tab.locator(".result .row.chosen .name").all_inner_texts() == names[:3]
    assert tab.inner_text(".result .unknown").endswith(f"{HOSTILE}, {TEMPLATE}")
    tab.wait_for_timeout(300)  # time in which an inserted image would run its script


def test_an_example_is_annotated_by_a_click(tab, model, example):
    tab.locator("[id*=dataset] img, .gallery img, .gallery-item img").first.click()
    tab.locator(".result .row").first.wait_for()
    expected = model.annotate([np.asarray(Image.open(example[0]))], [["dog", "x"]])[0]
    assert tab.locator(".result .labels b").all_inner_texts() == list(expected.labels)
    assert tab.get_by_label("Tags").input_value() == example[1]


def test_a_drawing_with_a_script_is_refused_on_the_page(tab, tmp_path):
    (tmp_path / "drawing.svg").write_bytes(SVG)
    tab.set_input_files("input[type=file]", tmp_path / "drawing.svg")
    tab.locator("[data-testid=image] img, .image-frame img").first.wait_for()
    tab.get_by_role("button", name="Annotate").click()
    tab.get_by_text(".svg is not read").first.wait_for()
    assert tab.locator(".result .row").count() == 0
