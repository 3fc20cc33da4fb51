import os
import sys

import pytest

from tests import processors

CHECK = """
import os, time
def test_environment_has_the_setting():
    assert os.environ["TZ"] == "Asia/Kathmandu" and time.tzname == ("+0545", "+0545")
def test_process_may_use_one_core():
    assert len(os.sched_getaffinity(0)) == 1
"""


def run(monkeypatch, capfd, *arguments):
    monkeypatch.setattr(sys, "argv", ["processors", *map(str, arguments)])
    status = processors.main()
    lines = capfd.readouterr().out.splitlines()
    return status, lines[lines.index(next(line for line in lines if line.startswith("seed of"))) :]


def test_setting_reaches_the_tests_and_their_result_is_reported(tmp_path, monkeypatch, capfd):
    (tmp_path / "check_test.py").write_text(CHECK)
    one_core_here = len(os.sched_getaffinity(0)) == 1
    monkeypatch.delenv("TZ", raising=False)
    arguments = ["locale_and_time_zone", "one_core", "--seed=7", "--", "-p", "no:cacheprovider", tmp_path]
    status, (seed, *rows) = run(monkeypatch, capfd, *arguments)
    assert status == 1 and seed == "seed of the random order: 7"
    assert ("2 passed" if one_core_here else "1 failed, 1 passed") in rows[0]
    assert rows[0].split()[1] == ("passed:" if one_core_here else "FAILED:")
    assert "FAILED" in rows[1] and "1 failed, 1 passed" in rows[1]
    status, (_, row) = run(monkeypatch, capfd, *arguments[1:], "-k", "core")
    assert status == 0 and row.split()[:4] == ["one_core", "passed:", "1", "passed,"]


def test_settings_joined_by_plus_hold_together(tmp_path, monkeypatch, capfd):
    (tmp_path / "check_test.py").write_text(CHECK)
    both = "locale_and_time_zone+one_core"
    status, (_, row) = run(monkeypatch, capfd, both, "--", "-p", "no:cacheprovider", tmp_path)
    assert status == 0 and row.split()[:4] == [both, "passed:", "2", "passed"]


def test_setting_that_the_processor_lacks_is_reported_as_left_out(monkeypatch, capfd):
    setting = processors.Setting(flags=("no_such_instruction",))
    monkeypatch.setattr(processors, "make_settings", lambda seed: {"future": setting})
    status, (_, row) = run(monkeypatch, capfd)
    assert status == 0 and row.split(maxsplit=1)[1] == "left out: this processor has no no_such_instruction"


def test_commits_run_every_possible_setting_in_turn(monkeypatch, capfd):
    taken = []
    monkeypatch.setattr(processors, "run_setting", lambda name, *_: taken.append(name) or (0, "1 passed"))
    for commit in range(64):
        run(monkeypatch, capfd, f"--turn={commit:040x}")
    possible = {n for n, s in processors.make_settings(0).items() if not processors.missing_flags(s)}
    assert set(taken) == possible - {"as_it_is"} and len(taken) == 64


def test_unknown_setting_is_refused(monkeypatch, capfd):
    with pytest.raises(SystemExit):
        run(monkeypatch, capfd, "AVX3")
    assert "expected settings of as_it_is, SSE41" in capfd.readouterr().err


def test_variables_for_started_commands_are_those_of_the_settings():
    names = {name for setting in processors.make_settings(0).values() for name in setting.env}
    assert names == set(processors.OF_PROCESSORS)
    assert not names & {"PATH", "HOME", "PYTHONPATH"}
