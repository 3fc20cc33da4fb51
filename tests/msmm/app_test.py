"""The command `app`; the page itself is tested in page_test."""

import signal
import subprocess
import sys

import pytest
from PIL import Image

from msmm.training import table_predictions
from tests.conftest import STOPPABLE
from tests.msmm.core.command_line_test import process, refused, run
from tests.msmm.photos.page_test import free_port, photograph

gradio_client = pytest.importorskip("gradio_client", reason="gradio is missing: pip install 'msmm[app-test]'")


@pytest.fixture(scope="module")
def saved(trained_run):
    return table_predictions.save_model(trained_run)


def run_code(code, cwd) -> subprocess.CompletedProcess:
    """Runs code in its own process, as two commands cannot define their flags in one process."""
    code = f"import signal; from msmm import app; {code}"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, **process(cwd))


def test_page_examples_are_the_first_six_photographs_of_a_folder(tmp_path):
    names = ["b/2.png", "b/c/3.png", "a/no name", "z.png", ".hidden/0.png", "4", "5", "6"]
    for i, name in enumerate(names):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8 + i, 8)).save(path, "PNG")
    (tmp_path / "photos/1.jpg").write_bytes(b"broken")
    (tmp_path / "scratch").mkdir()
    code = "import pathlib; print(*[p for p, _ in app._load_photographs(pathlib.Path('photos'), 'scratch')])"
    result = run_code(code, tmp_path)
    assert result.returncode == 0, result.stderr
    shown = []
    for path in result.stdout.split():
        with Image.open(tmp_path / path) as image:
            shown.append(names[image.width - 8])
    # Files of a folder come before files of its subfolders; at most six are shown.
    assert shown == ["4", "5", "6", "z.png", "a/no name", "b/2.png"]


def test_two_interrupts_end_the_page_with_one_line(tmp_path):
    code = "e = app._end_at_interrupt(); e.__enter__(); e.__exit__(KeyboardInterrupt, None, None)"
    result = run_code(f"{code}; signal.raise_signal(signal.SIGINT)", tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "\nthe page has ended\n")


@pytest.mark.slow
@pytest.mark.parametrize(("examples", "stop_signal"), [(True, signal.SIGINT), (False, signal.SIGTERM)])
def test_page_serves_until_interrupted_and_keeps_no_photograph(saved, examples, stop_signal, tmp_path):
    (tmp_path / "temporary").mkdir()
    (tmp_path / "photos").mkdir()
    photograph().save(tmp_path / "photos/a.png")
    (tmp_path / "photos/b.jpg").write_bytes(b"broken")
    port, options = free_port(), process(tmp_path)
    options["env"]["TMPDIR"] = str(tmp_path / "temporary")
    command = [sys.executable, "-m", "msmm.app", f"--model={saved}", f"--port={port}"]
    command += ["--examples=photos"] * examples
    app = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options, **STOPPABLE)
    try:
        assert app.stdout.readline().startswith(f"http://127.0.0.1:{port} "), app.stderr.read()
        client = gradio_client.Client(f"http://127.0.0.1:{port}", verbose=False)
        photo = gradio_client.handle_file(tmp_path / "photos/a.png")
        assert client.predict(photo, "beach", api_name="/annotate")["labels"]
        uploads = [p for p in (tmp_path / "temporary").rglob("*.*") if p.is_file()]
        assert any("uploads" in str(p) for p in uploads)
        port_in_use = run("msmm.app", f"--model={saved}", f"--port={port}", cwd=tmp_path)
        assert f"cannot listen on 127.0.0.1:{port}: choose another --port" in refused(port_in_use)
    finally:
        app.send_signal(stop_signal)
        assert app.wait(timeout=30) == 0
        printed = app.stdout.read() + app.stderr.read()
        assert printed.endswith("\nthe page has ended\n") == (stop_signal == signal.SIGINT)
        assert "interrupt" not in printed.lower() and "Traceback" not in printed
    assert [p for p in (tmp_path / "temporary").iterdir() if "msmm" in p.name] == []


def test_root_path_without_a_leading_slash_is_refused(tmp_path):
    line = refused(run("msmm.app", "--model=m", "--root_path=photos", cwd=tmp_path))
    assert "expected --root_path to begin with /, or an address. Received: 'photos'" in line


@pytest.mark.slow
def test_an_examples_folder_without_photographs_is_refused(saved, tmp_path):
    (tmp_path / "notes.txt").write_text("no photograph")
    line = refused(run("msmm.app", f"--model={saved}", f"--examples={tmp_path}", cwd=tmp_path))
    assert "Received: none that can be read" in line
    assert "expected a folder" in refused(run("msmm.app", "--model=x", "--examples=missing", cwd=tmp_path))
