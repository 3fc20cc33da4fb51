"""The same seed on the same machine: the same bits, in whatever process and with however many threads."""

import pytest

from tests.reliability import whole
from tests.reliability.commands import Commands
from tests.reliability.kills_test import EVERYTHING, homes, uninterrupted  # noqa: F401 - a fixture


def test_batches_do_not_depend_on_the_number_of_threads(commands, data_dir):
    hashes = set()
    for cores, threads in ((1, 1), (0, 2), (0, 16)):
        ended = commands.run(data_dir, "tests.reliability.batches", data_dir, threads, cores=cores)
        assert ended.status == 0, ended
        hashes.add(ended.stdout)
    assert len(hashes) == 1 and len(hashes.pop()) == 65


@pytest.mark.slow
def test_every_stage_method_and_output_is_the_same_in_other_processes(tmp_path, homes):  # noqa: F811
    """Also with other hashes of strings, by which sets are ordered."""
    for home in homes:
        with Commands(tmp_path / home.parent.name) as commands:
            uninterrupted(commands, home, EVERYTHING)
    files = whole.assert_same(*homes)
    weights = [path for path in homes[0].rglob("*.weights.h5")]
    print(f"{files} files the same, {len(weights)} of them weights")
    assert len(weights) >= 9 + 8
