"""Packing and opening a data set use no network, neither from Python nor from TensorFlow's file systems.

An audit hook sees Python's sockets. TensorFlow reads buckets (gs://) through libcurl, which no hook sees but
which uses a proxy: here a server that records every request. The tests turn on TFDS' access to its bucket,
which earlier versions use by default.
"""

import os
import socket
import subprocess
import sys
import threading
import time

import pytest

from tests.conftest import ROOT

WATCHED = """
import runpy, sys
def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        raise SystemExit(f"network: {event} {arguments}")
sys.addaudithook(refuse)
from tensorflow_datasets.core.utils import gcs_utils
gcs_utils._is_gcs_disabled = False
"""
COMMAND = (
    WATCHED + "sys.argv = sys.argv[1:]; runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)"
)
# Opens a data set as training does, and reads everything.
OPEN = (
    WATCHED
    + """
from msmm.data import input_pipeline, records
dataset = records.open_dataset(sys.argv[1], sys.argv[2])
dataset.annotations("train"), dataset.report(), dataset.licence, dataset.fingerprint
images = input_pipeline.Images(dataset, "train", 16, cache_gib=0)
next(images.epoch(dataset.num_examples("train") * [0], 4, 0, 0, flip=True))
"""
)
BUCKET = WATCHED + "import tensorflow as tf; tf.io.gfile.exists('gs://tfds-data/dataset_info')"
SOCKET = WATCHED + "import urllib.request; urllib.request.urlopen('http://' + sys.argv[1])"


@pytest.fixture
def proxy():
    """Starts a proxy that never answers; yields its address and the list of received requests."""
    server, requests = socket.create_server(("127.0.0.1", 0)), []

    def serve():
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            requests.append(connection.recv(1000))
            connection.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.getsockname()[1]}", requests
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join()


@pytest.fixture
def start(proxy):
    address, _ = proxy
    proxies = {f"{kind}_proxy": address for kind in ("http", "https", "all")}
    processes, environment = [], {**os.environ, **proxies, "no_proxy": "", "NO_PROXY": ""}

    def start(code, *arguments):
        command = [sys.executable, "-c", code, *map(str, arguments)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        processes.append(subprocess.Popen(command, cwd=ROOT, env=environment, **pipes))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_packing_and_opening_a_data_set_use_no_network(start, proxy, write_manifest, tmp_path):
    rows = [{"image": f"{i}.jpg", "labels": ["a"], "tags": ["t"]} for i in range(12)]
    data_dir = f"--data_dir={tmp_path / 'data'}"
    scenes = ["--dataset=scenes", "--num_train=8", "--num_test=4", "--image_size=16"]
    manifest = ["--dataset=manifest", f"--manifest={write_manifest(rows)}", "--workers=2"]
    for code, *arguments in (
        (COMMAND, "tfrecords_tools.pack", *scenes, data_dir),
        (COMMAND, "tfrecords_tools.pack", *manifest, data_dir),
        (COMMAND, "tfrecords_tools.inspect", "--dataset=my_photos", data_dir),
        (OPEN, tmp_path / "data", "scenes"),
    ):
        process = start(code, *arguments)
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output
    assert proxy[1] == []


def test_proxy_records_requests_of_tensorflow_to_a_bucket(start, proxy):
    process = start(BUCKET)
    deadline = time.monotonic() + 60
    while not proxy[1] and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert proxy[1]


def test_audit_hook_detects_connections_of_python(start, proxy):
    output, _ = start(SOCKET, proxy[0].removeprefix("http://")).communicate(timeout=60)
    assert "network: socket." in output
