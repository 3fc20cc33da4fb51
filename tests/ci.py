"""Runs a share of the slow tests, chosen by the commit; `.ci/run` calls it after `make test`.

python tests/ci.py [COMMIT]
"""

import subprocess
import sys

SHARES = 8  # number of shares of the slow tests; each commit runs one


def share(commit: str) -> str:
    """Returns the value of pytest's --share for a commit, such as "3/8"."""
    return f"{int(commit, 16) % SHARES}/{SHARES}"


def main() -> None:
    command = ["git", "rev-parse", "HEAD"]
    commit = sys.argv[1] if len(sys.argv) > 1 else subprocess.check_output(command, text=True).strip()
    pytest = [sys.executable, "-m", "pytest", "-m", "slow", f"--share={share(commit)}"]
    print("+", *pytest, flush=True)
    sys.exit(subprocess.call(pytest))


if __name__ == "__main__":
    main()
