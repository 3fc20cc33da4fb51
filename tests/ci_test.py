from tests import ci


def test_every_share_of_the_slow_tests_is_reached_by_some_commit():
    assert {ci.share(f"{commit:040x}") for commit in range(64)} == {f"{i}/{ci.SHARES}" for i in range(32)}


def test_slow_tests_start_only_while_the_run_has_time_left():
    begin = 1_000_000.0
    assert ci.budget(None, begin) == ci.BUDGET
    assert ci.budget(begin, begin + 100) == ci.BUDGET
    assert ci.budget(begin, begin + ci.LATEST - 40) == 40
    assert ci.budget(begin, begin + ci.LATEST + 40) == 0
