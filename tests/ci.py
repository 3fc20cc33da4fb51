"""Runs a share of the slow tests, chosen by the commit; `.ci/run` calls it after `make test`.

python tests/ci.py [COMMIT]

No test starts after `BUDGET` seconds. The shares are small, so that every test is reached by some commit.
"""

import subprocess
import sys

SHARES = 32  # number of shares of the slow tests; each commit runs one
BUDGET = 150  # seconds; a test that has started runs to its end


def share(commit: str) -> str:
    """Returns the value of pytest's --share for a commit, such as "3/32"."""
    return f"{int(commit, 16) % SHARES}/{SHARES}"


def main() -> None:
    command = ["git", "rev-parse", "HEAD"]
    commit = sys.argv[1] if len(sys.argv) > 1 else subprocess.check_output(command, text=True).strip()
    arguments = ["-m", "slow", f"--share={share(commit)}", f"--budget={BUDGET}"]
    pytest = [sys.executable, "-m", "pytest", *arguments]
    print("+", *pytest, flush=True)
    status = subprocess.call(pytest)
    sys.exit(0 if status == 5 else status)  # 5: this share has no test


if __name__ == "__main__":
    main()
