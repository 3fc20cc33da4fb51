import io
import os
import pty
import select
import sys
import time
import types

import pytest

from msmm.core import progress
from msmm.core.progress import ProgressBar


@pytest.fixture
def log(monkeypatch):
    """Standard error that is no terminal, as in a service; calling the fixture returns the lines."""

    def lines():
        return stream.getvalue().splitlines()

    stream = io.StringIO()
    monkeypatch.setattr(progress, "sys", types.SimpleNamespace(stderr=stream, stdout=sys.stdout))
    return lines


def wait_for(condition) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_log_lines_show_count_folder_rate_and_time_left(log, monkeypatch):
    monkeypatch.setattr(progress, "FIRST", 0.01)
    monkeypatch.setattr(progress, "EVERY", 1.0)
    with ProgressBar(description="computing maps", total=4000, unit="images", where="runs/x") as bar:
        wait_for(log)
        bar.update(1200)
        wait_for(lambda: len(log()) > 1)
    first, second, *_, last = log()
    assert first == "computing maps: 0 of 4,000 images, into runs/x"
    assert second.startswith("computing maps: 1,200 of 4,000 images, ") and second.endswith(" left")
    assert last.startswith("computing maps: 1,200 images in ")


def test_short_work_logs_no_line(log):
    assert list(ProgressBar(range(1000), "computing", unit="rows")) == list(range(1000))
    assert log() == []


def test_log_interval_is_one_minute_after_the_first_line():
    assert progress.FIRST <= 2 and progress.EVERY == 60


def test_no_log_line_follows_the_end_of_the_work(log, monkeypatch):
    monkeypatch.setattr(progress, "FIRST", 0.01)
    monkeypatch.setattr(progress, "EVERY", 0.01)
    with ProgressBar(description="computing"):
        wait_for(log)
    lines = log()
    time.sleep(0.1)
    assert log() == lines


def test_no_log_line_follows_an_exception(log, monkeypatch):
    monkeypatch.setattr(progress, "FIRST", 0.05)
    with pytest.raises(ZeroDivisionError):
        for number in ProgressBar([1, 0], "dividing"):
            1 / number
    time.sleep(0.2)
    assert log() == []


@pytest.mark.parametrize("closed", [False, True])
def test_a_missing_or_closed_stream_does_not_stop_the_work(monkeypatch, closed):
    stream = io.StringIO() if closed else None
    monkeypatch.setattr(progress, "sys", types.SimpleNamespace(stderr=stream))
    monkeypatch.setattr(progress, "FIRST", 0.001)
    with ProgressBar(description="computing") as bar:
        if closed:
            stream.close()
        time.sleep(0.05)
        bar.update()
    assert bar.count == 1


@pytest.mark.parametrize("columns", [40, 200])
def test_progress_bar_fits_the_terminal_width(monkeypatch, columns):
    import fcntl
    import struct
    import termios

    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with open(follower, "w", encoding="utf-8") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        with ProgressBar(description="computing visual-train", total=4000, unit="images", leave=True) as bar:
            bar.update(4000)
        terminal.flush()
        shown = ""
        while select.select([leader], [], [], 0.5)[0]:
            shown += os.read(leader, 100_000).decode()
    os.close(leader)
    last = shown.rstrip().rpartition("\r")[2]
    assert "4000/4000" in last or columns == 40
    assert len(last) <= columns and "computing" in last
