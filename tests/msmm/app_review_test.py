"""The command `app --photos` in its own process; the page itself is tested in photos/review."""

import http.client
import json
import signal
import subprocess
import sys
import urllib.parse

import pytest

from tests.conftest import STOPPABLE
from tests.msmm.conftest import picture
from tests.msmm.core.command_line_test import process, refused, run
from tests.msmm.photos.review.conftest import digests, free_port


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--photos=missing", "--model=m"],
            "expected a folder of photographs in --photos. Received: missing",
        ),
        (["--photos=.", "--model=m", "--host=0.0.0.0"], "leave --host out"),
        (["--photos=.", "--model=m", "--examples=."], "leave --examples out"),
        (["--photos=.", "--model=m", "--root_path=/x"], "leave --root_path out"),
    ],
)
def test_a_user_error_of_a_review_is_one_line(arguments, message, tmp_path):
    assert message in refused(run("msmm.app", *arguments, cwd=tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_review_needs_no_gradio_and_ends_without_a_trace(model_directory, tmp_path):
    (tmp_path / "photos").mkdir()
    empty = run("msmm.app", "--photos=photos", f"--model={model_directory}", cwd=tmp_path)
    assert "no photographs in photos" in refused(empty)
    picture().save(tmp_path / "photos/a.jpg")
    (tmp_path / "gradio.py").write_text("raise ImportError")  # in the working directory, which comes first
    before, port = digests(tmp_path), free_port()
    command = [sys.executable, "-m", "msmm.app", "--photos=photos", f"--model={model_directory}"]
    command.append(f"--port={port}")
    app = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **process(tmp_path), **STOPPABLE
    )
    try:
        address = app.stdout.readline().split()[0]
        url = urllib.parse.urlsplit(address)
        assert url.netloc == f"127.0.0.1:{port}"
        connection = http.client.HTTPConnection(url.netloc, timeout=60)
        connection.request("GET", "/api/folder?" + url.query)
        assert json.loads(connection.getresponse().read())["photos"] == 1
        in_use = run("msmm.app", "--photos=photos", f"--model={model_directory}", cwd=tmp_path)
        assert "another process reviews photos: wait for it" in refused(in_use).replace(f"{tmp_path}/", "")
    finally:
        app.send_signal(signal.SIGINT)
        assert app.wait(timeout=60) == 0
        printed = app.stdout.read() + app.stderr.read()
        assert printed.endswith("\nthe page has ended\n") and "Traceback" not in printed
    assert digests(tmp_path) == before and [p.name for p in (tmp_path / "photos").iterdir()] == ["a.jpg"]
