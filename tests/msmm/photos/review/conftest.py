"""A folder of photographs and a session that reviews it, with the model of tests/msmm/conftest.py."""

import hashlib
import pathlib
import socket
import time

import pytest

from msmm.photos.review.session import Session
from tests.msmm.conftest import bright_above, picture
from tests.msmm.photos.metadata_test import bag, packet


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for_proposals(session) -> None:
    deadline = time.monotonic() + 60
    while session.proposer.num_ready < len(session.paths):
        assert session.proposer.failure == "" and time.monotonic() < deadline
        time.sleep(0.02)


def digests(folder) -> dict[str, str]:
    """Returns the digests of the photographs of a folder."""
    paths = [p for p in pathlib.Path(folder).rglob("*") if p.suffix in (".jpg", ".png")]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


@pytest.fixture
def folder(photo, tmp_path):
    """Photographs red, green and blue, one with keywords, one bright above, one broken.

    The model proposes the names of the colours.
    """
    (
        photo("photos/a/red.jpg"),
        photo("photos/a/green.png", picture("#00ff00")),
        photo("photos/blue.png", picture("blue")),
    )
    photo("photos/b/bright.png", bright_above())
    keywords = packet(bag("dc:subject", "Rome", "Nature|sea"))
    photo("photos/b/own.png", picture("red"), **{"pnginfo": None})
    (tmp_path / "photos/b/own.png.xmp").write_bytes(keywords)
    (tmp_path / "photos/broken.jpg").write_bytes(b"no photograph")
    return tmp_path / "photos"


@pytest.fixture
def open_session(model, folder):
    """Returns a function that opens a session with computed proposals; sessions are closed at the end.

    below: a folder in the folder, which is reviewed in its place.
    """
    opened = []

    def open_session(wait=True, below=""):
        for session in opened:
            session.close()
        opened.clear()
        session = Session(str(folder / below), model, num_workers=1)
        opened.append(session)
        if wait:
            session.start()
            wait_for_proposals(session)
        return session

    yield open_session
    for session in opened:
        session.close()


@pytest.fixture
def session(open_session):
    return open_session()
