"""Runs a share of the slow tests, chosen by the commit; `.ci/run` calls it after `make test`.

python tests/ci.py [COMMIT]

No test starts after `BUDGET` seconds, or `LATEST` seconds after CI_STARTED, when `.ci/run` began. The shares
are small, so that every test is reached by some commit.
"""

import os
import subprocess
import sys
import time

SHARES = 32  # number of shares of the slow tests; each commit runs one
BUDGET = 150  # seconds; a test that has started runs to its end
LATEST = 640  # seconds; of the 900 of a run, the rest is for the last test and one setting of a processor


def share(commit: str) -> str:
    """Returns the value of pytest's --share for a commit, such as "3/32"."""
    return f"{int(commit, 16) % SHARES}/{SHARES}"


def budget(started: float | None, now: float) -> float:
    """Returns the seconds in which tests may start. started: of the whole run, None if this is all of it."""
    return BUDGET if started is None else max(0, min(BUDGET, started + LATEST - now))


def main() -> None:
    command = ["git", "rev-parse", "HEAD"]
    commit = sys.argv[1] if len(sys.argv) > 1 else subprocess.check_output(command, text=True).strip()
    started = float(os.environ["CI_STARTED"]) if "CI_STARTED" in os.environ else None
    seconds = f"--budget={budget(started, time.time()):.0f}"
    arguments = ["-m", "slow", f"--share={share(commit)}", seconds]
    pytest = [sys.executable, "-m", "pytest", *arguments]
    print("+", *pytest, flush=True)
    status = subprocess.call(pytest)
    sys.exit(0 if status == 5 else status)  # 5: this share has no test


if __name__ == "__main__":
    main()
