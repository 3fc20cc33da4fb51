"""Kills the review while a person decides, and the removal of keywords: nothing is lost or torn."""

import http.client
import json
import pathlib
import random
import threading
import time
import urllib.parse

import pytest

from msmm.core.text import normalise_tag
from msmm.photos import sidecars, xmp
from msmm.photos.review.decisions import FILE, Decision, read_decisions
from tests.commands import kill
from tests.msmm.photos.metadata_test import bag, packet
from tests.msmm.photos.review.conftest import digests, free_port
from tests.reliability.kills_test import NUM_PHOTOS, make_directory

KILLS = 30
PHOTOS = 24
WORDS = ("sea", "sky", "dog", "Käse & <Brot>", "red")


class Reviewer:
    """Decides at random over HTTP until the server is gone; remembers what was acknowledged."""

    def __init__(self, rng: random.Random):
        self._rng = rng
        self.acknowledged: dict[int, Decision | None] = {}  # None where an undo has brought another back
        self.asked: tuple[int, Decision] | None = None
        self.answers = 0

    def run(self, address: str) -> None:
        """Sends decisions; returns when the server does not answer any more."""
        url = urllib.parse.urlsplit(address)
        token = urllib.parse.parse_qs(url.query)["token"][0]
        connection = http.client.HTTPConnection(url.netloc, timeout=30)
        headers = {"X-Token": token, "Content-Type": "application/json"}
        while True:
            number = self._rng.randrange(PHOTOS)
            words = self._rng.sample(WORDS, 3)
            self.asked = number, Decision(True, tuple(words[:2]), ("Rome",) * (number % 2), (words[2],))
            content = {"index": number, "keywords": [*words[:2], *self.asked[1].kept], "rejected": words[2:]}
            try:
                connection.request("POST", "/api/decide", json.dumps(content), headers)
                answer = connection.getresponse()
                body = json.loads(answer.read())
            except (OSError, http.client.HTTPException, ValueError):
                return
            if answer.status == 409 and "not computed yet" in body["error"]:
                time.sleep(0.02)
                continue
            assert answer.status == 200 and body["warnings"] == [], body
            self.acknowledged[number] = self.asked[1]
            self.answers += 1


def wait_for_address(output: pathlib.Path) -> str:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        text = pathlib.Path(f"{output}.out")
        if text.exists() and (line := text.read_text()).endswith("\n"):
            return line.split()[0]
        time.sleep(0.02)
    raise AssertionError(pathlib.Path(f"{output}.err").read_text())


@pytest.mark.slow
def test_thirty_kills_lose_no_decision_and_tear_no_sidecar(commands, model_directory, tmp_path):
    folder = make_directory(tmp_path) / "photos"
    for number, path in enumerate(sorted(folder.iterdir())):
        if number >= PHOTOS:
            path.unlink()
        elif number % 2:  # some have sidecars of another program
            pathlib.Path(f"{path}.xmp").write_bytes(packet(bag("dc:subject", "Rome")))
    names = [path.name for path in sorted(folder.glob("*.jpg"))]
    assert len(names) == PHOTOS < NUM_PHOTOS
    originals, rng = digests(folder), random.Random(0)
    reviewer, kills = Reviewer(rng), 0
    while kills < KILLS:
        arguments = (f"--photos={folder}", f"--model={model_directory}", f"--port={free_port()}")
        started = commands.start(tmp_path, "msmm.app", *arguments)
        address = wait_for_address(started[1])
        check_sidecars_follow(folder, names)  # what a kill had left undone is done
        answers = reviewer.answers
        deciding = threading.Thread(target=reviewer.run, args=[address])
        deciding.start()
        while reviewer.answers < answers + 2 and deciding.is_alive():
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.3))
        kill(started)
        deciding.join()
        assert commands.wait(started).status < 0
        kills += 1
        decided = read_decisions(folder / FILE)
        for number, expected in reviewer.acknowledged.items():
            asked = [reviewer.asked[1]] * (reviewer.asked[0] == number)
            assert decided[names[number]] in (expected, *asked), (kills, number)
            reviewer.acknowledged[number] = decided[names[number]]
        for path in folder.glob("*.xmp"):
            xmp.parse(path.read_bytes())
    assert digests(folder) == originals and reviewer.answers >= 2 * KILLS


def check_sidecars_follow(folder: pathlib.Path, names: list[str]) -> None:
    """Checks that the sidecar of each decided photograph has its keywords, and those of its photographer."""
    for name, decision in read_decisions(folder / FILE).items():
        keywords = set(map(normalise_tag, sidecars.read_sidecars(str(folder / name))[0].words))
        theirs = ("Rome",) * (names.index(name) % 2)
        assert keywords == set(map(normalise_tag, (*decision.accepted, *theirs))), name
        assert sidecars.read_record(str(folder / name)).rejected == decision.rejected


@pytest.mark.slow
def test_removal_that_was_killed_goes_on_and_restores_every_file(commands, tmp_path):
    folder = make_directory(tmp_path) / "photos"
    paths = sorted(folder.iterdir())
    for path in paths[::2]:
        pathlib.Path(f"{path}.xmp").write_bytes(packet(bag("dc:subject", "Rome")))
    before = {path: path.read_bytes() for path in folder.iterdir()}
    for path in paths:
        sidecars.write_labels(str(path), ["Rome"], ["sea", "sky"], "a model", normalise_tag, "msmm")
    rng, killed = random.Random(1), 0
    for _ in range(8):
        started = commands.start(tmp_path, "msmm.annotate", "photos", "--remove")
        output = pathlib.Path(f"{started[1]}.out")
        deadline, wanted = time.monotonic() + 60, rng.uniform(0, 1500)
        while time.monotonic() < deadline and (not output.exists() or output.stat().st_size < wanted):
            time.sleep(0.001)
        kill(started)
        killed += commands.wait(started).status < 0
        for path in folder.glob("*.xmp"):
            assert xmp.parse(path.read_bytes()).subjects in (["Rome"], ["Rome", "sea", "sky"])
    assert killed >= 4
    assert commands.run(tmp_path, "msmm.annotate", "photos", "--remove").status == 0
    left = {path: path.read_bytes() for path in folder.iterdir() if path.suffix != ".partial"}
    assert left == before
