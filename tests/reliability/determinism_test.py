"""Determinism: equal seeds on one machine give bit-equal files in any process, with any number of threads."""

import pytest

from tests.commands import Commands
from tests.reliability import snapshots
from tests.reliability.kills_test import WRITING_COMMANDS, directories, run_undisturbed  # noqa: F401 - a fixture


def test_training_batches_do_not_depend_on_the_number_of_threads(commands, data_dir):
    hashes = set()
    for cores, threads in ((1, 1), (0, 2), (0, 16)):
        result = commands.run(data_dir, "tests.reliability.batches", data_dir, threads, cores=cores)
        assert result.status == 0, result
        hashes.add(result.stdout)
    assert len(hashes) == 1 and len(hashes.pop()) == 65


@pytest.mark.slow
def test_every_stage_baseline_and_output_is_bit_equal_in_a_second_process(tmp_path, directories):  # noqa: F811
    """The processes also differ in their string hashes, which determine the order of sets."""
    for directory in directories:
        with Commands(tmp_path / directory.parent.name) as commands:
            run_undisturbed(commands, directory, WRITING_COMMANDS)
    files = snapshots.assert_same(*directories)
    weights = [path for path in directories[0].rglob("*.weights.h5")]
    print(f"{files} files the same, {len(weights)} of them weights")
    assert len(weights) >= 9 + 8
