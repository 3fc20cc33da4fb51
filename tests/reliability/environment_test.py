"""Commands in unusual environments: services, other locales, narrow terminals, read-only folders."""

import importlib.util
import json
import os
import pty
import shutil
import struct
import subprocess
import sys
import termios
import time

import pytest

from tests.architecture_test import IS_COMMAND
from tests.conftest import ROOT
from tests.msmm.conftest import model_directory, picture  # noqa: F401 - a fixture
from tests.msmm.core.command_line_test import refused

ANNOTATE = ["msmm.annotate", "photos", "--model=model", "--workers=1"]
NAME = "Δέλτα café ✓.jpg"
# Commands whose output contains non-ASCII letters or file names.
PRINTING_COMMANDS = {
    "annotate": ANNOTATE,
    "describe": ["msmm.describe", "--dataset=nus_wide"],
    "inspect": ["tfrecords_tools.inspect", "--dataset=scenes", "--record=1"],
    "pack": [
        "tfrecords_tools.pack",
        "--dataset=manifest",
        "--manifest=photos.csv",
        "--name=mine",
        "--data_dir=packed",
    ],
}
NAMES = [
    pytest.param(name, marks=[] if name == "annotate" else [pytest.mark.slow], id=name)
    for name in PRINTING_COMMANDS
]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory, data_dir, model_directory):  # noqa: F811
    """Returns a folder with photographs, a manifest, data and a model converted for OpenVINO."""
    folder = tmp_path_factory.mktemp("environment") / "work"
    (folder / "photos").mkdir(parents=True)
    rows = []
    for number, name in enumerate((NAME, "b.jpg", "c.jpg")):
        picture().save(folder / "photos" / name)
        rows.append(f"photos/{name},côte,ciel,{'test' if number == 2 else 'train'}\n")
    (folder / "photos.csv").write_text("image,labels,tags,split\n" + "".join(rows), encoding="utf-8")
    shutil.copytree(model_directory, folder / "model")
    shutil.copytree(data_dir, folder / "data")
    (folder / "data").chmod(0o755)  # for tests that become another user
    run(folder, *ANNOTATE)
    return folder


def environment(home, **more: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(home), **more}


def run(folder, *arguments, code: str = "", shell: str = "", **more) -> subprocess.CompletedProcess:
    """Runs a command in a folder.

    code: Python code to run first; shell: redirections; more: environment variables.
    """
    before = f"import runpy, sys; sys.argv = sys.argv[1:]; {code}"
    start = ["-c", f"{before}\nrunpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)"]
    line = [sys.executable, *(start if code else ["-m"]), *arguments]
    if shell:
        line = ["sh", "-c", f'exec "$@" {shell}', "sh", *line]
    home = folder.parent / "home"
    home.mkdir(exist_ok=True)
    return subprocess.run(line, cwd=folder, env=environment(home, **more), capture_output=True, timeout=300)


@pytest.fixture
def work(inputs, tmp_path):
    return shutil.copytree(inputs, tmp_path / "work")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "ascii:strict", "cp437", "utf-8"])
def test_characters_missing_in_the_output_encoding_are_escaped(name, encoding, work):
    result = run(work, *PRINTING_COMMANDS[name], PYTHONIOENCODING=encoding)
    assert result.returncode == 0 and b"Traceback" not in result.stderr, result.stderr
    text = result.stdout.decode(encoding.partition(":")[0])
    if name == "annotate":
        assert {"utf-8": NAME, "latin-1": "caf\xe9"}.get(encoding, "\\u0394") in text


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shell", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_command_works_with_closed_standard_streams(name, shell, work):
    result = run(work, *PRINTING_COMMANDS[name], shell=shell)
    assert result.returncode == 0, result.stderr
    assert b"Traceback" not in result.stderr
    for path in work.rglob("*.tfrecord*"):  # no message was written to a file that reused the file descriptor
        assert b"photographs" not in path.read_bytes()


def test_instructions_that_openvino_lacks_are_one_error_line(work):
    result = run(work, *ANNOTATE, ONEDNN_MAX_CPU_ISA="SSE41")
    assert b"Traceback" not in result.stderr
    if result.returncode:  # a processor without AVX-512 computes without it in any case
        assert result.returncode == 2 and b"error: OpenVINO cannot run the network here" in result.stderr
        assert run(work, *ANNOTATE, "--engine=keras", ONEDNN_MAX_CPU_ISA="SSE41").returncode == 0


@pytest.fixture(scope="module")
def turkish(tmp_path_factory):
    """Returns the environment of a Turkish locale, where the capital of i is not I."""
    folder = tmp_path_factory.mktemp("locales")
    command = ["localedef", "-i", "tr_TR", "-f", "UTF-8", folder / "tr_TR.UTF-8"]
    if not shutil.which("localedef") or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("localedef or the sources of locales are missing: apt install locales")
    return {"LOCPATH": str(folder), "LC_ALL": "tr_TR.UTF-8"}


@pytest.mark.slow
def test_data_sets_packed_in_turkey_are_read_elsewhere_and_the_reverse(turkish, work):
    here = run(work, "tfrecords_tools.inspect", "--dataset=scenes")
    there = run(work, "tfrecords_tools.inspect", "--dataset=scenes", **turkish)
    assert there.returncode == 0 and there.stdout == here.stdout, there.stderr
    code = (
        "from tfrecords_tools.datasets import scenes; scenes.pack_scenes('there', num_train=20, num_test=10)"
    )
    packed = run(
        work, "tfrecords_tools.inspect", "--dataset=scenes", "--data_dir=there", code=code, **turkish
    )
    assert packed.returncode == 0, packed.stderr
    info = json.loads((work / "there/scenes/1.0.0/dataset_info.json").read_text())
    assert "redistributionInfo" in info


def test_closed_standard_input_as_photograph_list_is_an_error(work):
    result = run(work, "msmm.annotate", "-", "--model=model", shell="<&-")
    assert result.returncode == 2 and b"error: no photographs in '-'" in result.stderr


def test_read_only_standard_output_is_one_error_line(work):
    result = run(work, *ANNOTATE, shell="1</dev/null")
    assert result.returncode == 2 and b"Traceback" not in result.stderr
    assert b"standard output or error is not open for writing: redirect it elsewhere" in result.stderr


@pytest.mark.parametrize("stream", ["stdin", "stdout", "stderr"])
def test_command_works_if_a_standard_stream_is_none(stream, work):
    """As under pythonw and some services."""
    result = run(work, *ANNOTATE, code=f"sys.{stream} = None")
    assert result.returncode == 0, result.stderr


def test_missing_temporary_directory_is_an_error_only_where_one_is_needed(work):
    code = "import tempfile; tempfile._candidate_tempdir_list = lambda: ['/nowhere']"
    result = run(work, *ANNOTATE, code=code)
    assert result.returncode == 0, result.stderr
    shutil.rmtree(work / "model/engines")
    (work / "model/engines").write_text("in the way")
    for engine in "auto", "openvino", "keras":  # all need a temporary folder
        result = run(work, *ANNOTATE, f"--engine={engine}", code=code)
        assert result.returncode == 2 and b"Traceback" not in result.stderr, result.stderr
        assert b"set TMPDIR to a folder that can be written" in result.stderr


@pytest.mark.parametrize("name", NAMES)
def test_command_works_in_read_only_home_and_current_folders(name, commands, work):
    for folder in (work, *list(work.parents)[:3]):
        folder.chmod(0o755)
    home = work.parent / "home"
    home.mkdir()
    home.chmod(0o555)
    before = sorted(work.rglob("*"))
    work.chmod(0o555)
    result = commands.run(work, *PRINTING_COMMANDS[name], user=0 if os.geteuid() else 65534)
    work.chmod(0o755)
    assert "Traceback" not in result.stderr, result.stderr
    if name == "pack":  # must write
        assert result.status == 2 and "Permission denied" in result.stderr
    else:
        assert result.status == 0, result.stderr
    assert sorted(work.rglob("*")) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_user_without_home_and_passwd_entry_can_annotate(commands, work):
    for folder in (work, *list(work.parents)[:3]):
        folder.chmod(0o755)
    result = commands.run(work, *ANNOTATE, user=54321, unset=["HOME", "USER", "LOGNAME"])
    assert result.status == 0 and result.stdout.count("red") == 3, result


def run_on_terminal(folder, columns: int, *arguments, **more) -> tuple[int, str]:
    """Runs a command on a terminal of that width; returns its exit status and the terminal's output."""
    leader, follower = pty.openpty()
    termios.tcsetwinsize(follower, (24, columns)) if hasattr(termios, "tcsetwinsize") else None
    import fcntl

    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=folder, env=environment(folder, TERM="xterm-256color", **more),
        stdin=follower, stdout=follower, stderr=follower,
    )  # fmt: skip
    os.close(follower)
    received, end = b"", time.monotonic() + 120
    while time.monotonic() < end:
        try:
            received += os.read(leader, 65536)
        except OSError:  # the other side is closed
            break
    os.close(leader)
    return process.wait(timeout=60), received.decode()


@pytest.mark.parametrize("more", [{}, {"NO_COLOR": "1"}, {"COLUMNS": "wide"}])
def test_narrow_terminal_gets_bars_that_fit_and_no_colour(more, work):
    status, received = run_on_terminal(work, 40, *ANNOTATE, **more)
    assert status == 0 and received.count("red (1.00)") == 3
    assert "\x1b[3" not in received and "\x1b[1m" not in received
    bars = [part for line in received.split("\n") for part in line.split("\r") if "annotating" in part]
    assert bars and all(len(bar) <= 40 for bar in bars)
    status, received = run_on_terminal(work, 40, "msmm.annotate", "--help", **more)
    assert status == 0 and "--model" in received


def test_keras_json_in_the_home_directory_is_ignored(work):
    (work.parent / "home/.keras").mkdir(parents=True)
    settings = {
        "floatx": "float16",
        "epsilon": 0.1,
        "backend": "torch",
        "image_data_format": "channels_first",
    }
    (work.parent / "home/.keras/keras.json").write_text(json.dumps(settings))
    expected = run(work, *ANNOTATE, "--format=json")
    result = run(work, *ANNOTATE, "--engine=keras", "--format=json")
    assert result.returncode == 0, result.stderr
    for a, b in zip(expected.stdout.splitlines(), result.stdout.splitlines(), strict=True):
        assert json.loads(a)["labels"] == json.loads(b)["labels"]


@pytest.mark.parametrize("backend", ["torch", "no_such_backend"])
def test_missing_keras_backend_is_one_error_line(backend, work):
    if importlib.util.find_spec(backend):
        pytest.skip(f"{backend} is installed")
    result = run(work, *ANNOTATE, "--engine=keras", KERAS_BACKEND=backend)
    assert result.returncode == 2 and b"Traceback" not in result.stderr, result.stderr
    assert f"KERAS_BACKEND={backend}".encode() in result.stderr and b"unset KERAS_BACKEND" in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("command", sorted(IS_COMMAND))
def test_help_of_every_command_works_in_ascii_without_docstrings_and_at_40_columns(command, work):
    for options in ([], ["-OO"]):
        line = [sys.executable, *options, "-m", command, "--help"]
        env = environment(work, PYTHONIOENCODING="ascii", COLUMNS="40", NO_COLOR="1")
        result = subprocess.run(line, cwd=work, env=env, capture_output=True, text=True, timeout=60)
        assert result.returncode == 0 and "Traceback" not in result.stderr, result.stderr


def test_user_error_is_one_line_in_ascii_encoding(work):
    command = [sys.executable, "-m", "msmm.annotate", "photos", "--model=Δ"]
    env = environment(work, PYTHONIOENCODING="ascii")
    result = subprocess.run(command, cwd=work, env=env, capture_output=True, text=True, timeout=60)
    assert "in \\u0394. Received: no such file" in refused(result)
