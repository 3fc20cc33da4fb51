"""Load test of the web page: concurrent clients get an answer or "busy" quickly, and memory stays flat.

The slow tests, five minutes of 50 clients, print the figures of docs/research/reliability.md:

    python -m pytest -m slow -s tests/reliability/load_test.py
"""

import collections
import io
import json
import pathlib
import re
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from PIL import Image

from msmm.inference import engines, model_dir
from tests.msmm.conftest import figures, tying_model  # noqa: F401
from tests.msmm.core.command_line_test import process

httpx = pytest.importorskip("httpx", reason="gradio is missing: pip install 'msmm[app-test]'")
pytest.importorskip("gradio", reason="gradio is missing: pip install 'msmm[app-test]'")
TIMEOUT = 60  # seconds, limit for an answer
PAUSE = 0.2  # seconds until a client retries after "busy"
GROWTH = 25  # MiB, limit for the growth of the server after the first quarter of the test


@pytest.fixture(scope="module")
def address(tying_model, tmp_path_factory):  # noqa: F811
    """Starts the page as a process; returns its address and process id."""
    from tests.msmm.photos.page_test import free_port

    folder, port = tmp_path_factory.mktemp("load"), free_port()
    info = {"dataset": "made by hand", "msmm": "0", "seed": 0, "images": {"test": 1},
            "test": figures(), "settings": {"backbone": "none", "weights": "none"}}  # fmt: skip
    model_dir.save(folder / "model", tying_model.network, tying_model.labels, tying_model.tags, info)
    # An engine that does not run here is reported in this process.
    model = engines.load(folder / "model")
    model.annotate(np.zeros((1, model.image_size, model.image_size, 3), np.uint8))
    (folder / "photos").mkdir()
    photograph(0).save(folder / "photos/a.jpg")
    command = [sys.executable, "-m", "msmm.app", "--model=model", "--examples=photos", f"--port={port}"]
    options = process(folder)
    app = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    try:
        lines = []
        while not lines or "http://127" not in lines[-1]:  # TensorFlow may print an incomplete line first
            lines.append(app.stdout.readline())
            assert lines[-1], f"the page ended: {lines}"
        yield re.search(r"http://\S+", lines[-1])[0], app.pid
    finally:
        app.terminate()
        app.wait(timeout=30)


def photograph(seed: int) -> Image.Image:
    """Returns a photograph of 2 megapixels, as from a telephone."""
    small = np.random.default_rng(seed).integers(0, 256, (45, 60, 3), np.uint8)
    return Image.fromarray(small).resize((1600, 1200), Image.Resampling.BICUBIC)


def client(address: str, photo: bytes, until: float, answers: list) -> None:
    """Uploads a photograph, waits for the answer and repeats; appends (outcome, seconds) to `answers`."""
    with httpx.Client(base_url=f"{address}/gradio_api", timeout=TIMEOUT) as http:
        while not answers or time.monotonic() < until:
            started = time.monotonic()
            try:
                outcome = request_annotation(http, photo)
            except Exception as error:  # counted as a failure of the page
                outcome = repr(error)
            answers.append((outcome, time.monotonic() - started))
            if outcome == "busy":
                time.sleep(PAUSE)


def request_annotation(http, photo: bytes) -> str:
    path = http.post("/upload", files={"files": ("a.jpg", photo)}).raise_for_status().json()[0]
    data = [{"path": path, "meta": {"_type": "gradio.FileData"}}, "dog, x"]
    response = http.post("/call/annotate", json={"data": data})
    if response.status_code == 503:
        return "busy"
    answer = http.get(f"/call/annotate/{response.raise_for_status().json()['event_id']}").text
    match = re.search(r"event: complete\ndata: (.*)\n\n$", answer)  # heartbeats may precede it
    return "answered" if match and json.loads(match[1])[0]["labels"] else answer


def memory(pid: int) -> float:
    """Resident memory of a process, MiB."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024


def run_load(address, clients: int, seconds: float) -> None:
    address, pid = address
    photos = [jpeg(number) for number in range(4)]
    warm_up = []
    client(address, photos[0], time.monotonic() + 0.1, warm_up)  # the first request builds the graph
    assert warm_up[0][0] == "answered", warm_up
    answers, until, used = [], time.monotonic() + seconds, []
    threads = [
        threading.Thread(target=client, args=(address, photos[number % 4], until, answers))
        for number in range(clients)
    ]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        used.append(memory(pid))
        time.sleep(0.5)
    counts = collections.Counter(outcome for outcome, _ in answers)
    assert set(counts) <= {"answered", "busy"} and counts["answered"] >= clients, counts
    times = [spent for outcome, spent in answers if outcome == "answered"]
    p50, p95, p99, most = np.percentile(times, [50, 95, 99, 100])
    after, end = used[len(used) // 4], max(used[-4:])
    print(
        f"{clients} clients, {seconds:g} s: {counts['answered']} answers "
        f"({counts['answered'] / seconds:.0f} a second), {counts['busy']} told to retry; seconds "
        f"p50 {p50:.2f}, p95 {p95:.2f}, p99 {p99:.2f}, most {most:.2f}; memory {used[0]:.0f} MiB at first, "
        f"{after:.0f} after a quarter, {end:.0f} at the end"
    )
    assert end - after < GROWTH


def jpeg(seed: int) -> bytes:
    buffer = io.BytesIO()
    photograph(seed).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def test_page_answers_five_concurrent_clients_in_flat_memory(address):
    run_load(address, clients=5, seconds=3)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [60, 240])
def test_page_answers_fifty_concurrent_clients_for_minutes_in_flat_memory(address, seconds):
    run_load(address, clients=50, seconds=seconds)
